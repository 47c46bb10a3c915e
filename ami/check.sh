#!/bin/sh
# Tells whether a file system is right as an image for blocks: a verdict a line, exit code 1 if one is not "ok". Run as
# root in the file system that the image is made of, after bake.sh; nothing is changed.
set -u
failed=0

verdict() {
    if [ "$1" = ok ]; then echo "ok    $2"; else
        echo "WRONG $2: $3"
        failed=1
    fi
}
# holds TEXT REMEDY COMMAND...: the command succeeds
holds() {
    text=$1 remedy=$2
    shift 2
    if "$@" >/dev/null 2>&1; then verdict ok "$text"; else verdict wrong "$text" "$remedy"; fi
}
# gone TEXT PATH...: none of the paths is there
gone() {
    text=$1
    shift
    left=
    for path in "$@"; do if [ -e "$path" ] || [ -L "$path" ]; then left="$left $path"; fi; done
    if [ -z "$left" ]; then verdict ok "$text"; else verdict wrong "$text" "remove$left"; fi
}
# shellcheck disable=SC2317 # called by name, through holds
enabled() { [ "$(systemctl is-enabled "$1" 2>/dev/null)" = enabled ]; }
# shellcheck disable=SC2317
not_enabled() { ! enabled "$1"; }
# shellcheck disable=SC2317
empty() { [ ! -s "$1" ]; }

holds "the agent runs" "install the package" spotblock-agent --version
holds "the agent is enabled" "systemctl enable spotblock-agent" enabled spotblock-agent.service
holds "the guard is enabled" "systemctl enable spotblock-guard" enabled spotblock-guard.service
holds "the ECS agent is there" "this is no ECS-optimised image" sh -c "systemctl is-enabled ecs.service | grep -q abled"
holds "the ECS agent is left to spotblock-agent" "systemctl disable ecs" not_enabled ecs.service
holds "no cluster in ecs.config" "remove ECS_CLUSTER from /etc/ecs/ecs.config and /var/lib/ecs/ecs.config" \
    sh -c '! cat /etc/ecs/ecs.config /var/lib/ecs/ecs.config 2>/dev/null | grep -q ^ECS_CLUSTER='
gone "no registration of another instance" /var/lib/ecs/data/*
gone "no state of a block" /var/lib/spotblock/*
gone "no power-off timer" /etc/systemd/system/spotblock-poweroff.* /etc/systemd/system/timers.target.wants/spotblock-poweroff.timer
holds "cloud-init is there" "install cloud-init" sh -c 'command -v cloud-init'
gone "no instance in cloud-init" /var/lib/cloud/instance /var/lib/cloud/instances/*
holds "no machine-id" "truncate -s 0 /etc/machine-id" empty /etc/machine-id
gone "no SSH host keys" /etc/ssh/ssh_host_*
gone "no shell history, no keys" /root/.bash_history /root/.ssh/authorized_keys /home/*/.bash_history /home/*/.ssh/authorized_keys
# It asks systemd and Docker, which answer on the instance that is baked, and not in a root folder alone.
if [ -d /run/systemd/system ]; then
    holds "the agent's own check" "spotblock-agent check --offline says what is wrong" spotblock-agent check --offline
fi
exit $failed
