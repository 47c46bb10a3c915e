# Brings the agent, which reads the settings above through the metadata service, and starts it. cloud-init runs this on an
# instance's first boot only: until it is through, it is to be run again on the next.
b=/var/lib/cloud/scripts/per-boot/spotblock
ln -sf "$0" $b
# Only the agent starts the ECS agent, once ecs.config is written: the start that this boot has queued is cancelled.
# Nothing here waits for a systemd job: jobs wait for cloud-init, and cloud-init waits for this script.
systemctl disable --now --no-block ecs
f=/run/spotblock.tgz
@GET@
n=0
until get; do
    n=$((n + 3))
    [ $n -lt 21 ] || fail "can't fetch $u"
    sleep $n
done
echo "@SHA256@  $f" | sha256sum -c --status || fail "$u has another SHA-256"
# `enable` also has systemd read the new units. The guard is started with the ECS agent.
{
    tar xzf $f -C / --no-same-owner &&
        systemctl enable spotblock-agent spotblock-guard &&
        systemctl --no-block start spotblock-agent
} || fail "can't install $u"
rm $f
rm $b
