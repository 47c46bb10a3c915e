# Both ways begin with this. Comments are for readers of the source: they are left out of the user data.

# An instance without its agent joins nothing and costs money. The reason goes where EC2's console output shows it, and into
# cloud-init's own log.
fail() {
    echo "spotblock: $*: powering off" | tee /dev/console
    systemctl --no-block poweroff
    exit 1
}
# If all else fails, this ends the host after its block. The agent writes these two anew when it knows the block's exact
# end: where they are already, it is the agent's or an earlier boot's. An empty one is what a full disk leaves.
t=/etc/systemd/system/spotblock-poweroff
[ -s $t.timer ] || {
    cat >$t.service <<E
[Unit]
DefaultDependencies=no
[Service]
ExecStart=sh -c 'systemctl poweroff;sleep 60;systemctl poweroff -ff'
E
    cat >$t.timer <<E
[Unit]
DefaultDependencies=no
[Timer]
OnCalendar=$(date -ud '@AT@' '+%F %T UTC')
Persistent=true
[Install]
WantedBy=timers.target
E
    systemctl enable --now --no-block spotblock-poweroff.timer
}
