# Both ways begin with this. Comments are for readers of the source: they are left out of the user data.

# Where EC2's console output shows it, and in cloud-init's own log.
say() {
    echo "spotblock: $*" | tee /dev/console
}
# An instance without its agent joins nothing and costs money.
fail() {
    say "$*: powering off"
    systemctl --no-block poweroff
    exit 1
}
# If all else fails, this ends the host after its block. The agent writes these two anew when it knows the block's exact
# end: where they are already, it is the agent's or an earlier boot's.
t=/etc/systemd/system/spotblock-poweroff
[ -e $t.timer ] || {
    cat >$t.service <<E
[Unit]
DefaultDependencies=no
[Service]
Type=oneshot
ExecStart=-systemctl poweroff
ExecStart=-sleep 60
ExecStart=-systemctl poweroff -ff
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
