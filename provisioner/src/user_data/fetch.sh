# Brings the agent, which reads the settings above through the metadata service, and starts it.
set -u
url='@URL@'
sha256='@SHA256@'
agent=/usr/local/bin/spotblock-agent
unit=/etc/systemd/system/spotblock-agent.service

say() {
    echo "spotblock: $*" >&2
    echo "spotblock: $*" >/dev/console 2>/dev/null || :
}

# An instance without its agent joins nothing and costs money.
fail() {
    say "$*: powering off"
    rm -f "$agent.new"
    systemctl --no-block poweroff || poweroff || shutdown -h now
    exit 1
}

# Only the agent starts the ECS agent, once ecs.config is written: the start that this boot has queued is cancelled.
# Nothing here waits for a systemd job: jobs wait for cloud-init, and cloud-init waits for this script.
systemctl disable ecs.service || :
systemctl --no-block stop ecs.service || :

curl --fail --silent --show-error --location --retry 5 --retry-delay 2 --retry-connrefused \
    --connect-timeout 10 --max-time 120 --output "$agent.new" "$url" || fail "the agent can't be fetched from $url"
echo "$sha256  $agent.new" | sha256sum -c - >/dev/null || fail "what $url gave is not the agent: its SHA-256 differs"
chmod 755 "$agent.new" || fail "the agent can't be made executable"
mv -f "$agent.new" "$agent" || fail "the agent can't be installed"

cat >"$unit" <<'UNIT' || fail "the agent's unit can't be written"
[Unit]
Description=spotblock agent: joins the ECS cluster and leaves before the block ends
Wants=network-online.target
After=network-online.target docker.service
Before=ecs.service
StartLimitIntervalSec=0

[Service]
Type=notify
ExecStart=/usr/local/bin/spotblock-agent run
Restart=always
RestartSec=2
WatchdogSec=60
KillMode=process
StateDirectory=spotblock

[Install]
WantedBy=multi-user.target
UNIT

systemctl daemon-reload || fail "systemd can't read its units"
systemctl enable spotblock-agent.service || fail "the agent can't be enabled"
systemctl --no-block start spotblock-agent.service || fail "the agent can't be started"
