#!/bin/sh
# Makes an image's file system ready: installs the agent, sees to it that nobody but the agent starts the ECS agent, and
# takes away what belongs to the instance that the image is made of. Run as root, on that instance or in its root folder.
#
#   bake.sh PACKAGE      the .rpm, .deb or .tar.gz that `make dist` made
#
# Can be run again. check.sh tells whether the result is right.
set -eu

package=$1
say() { echo "bake: $*"; }

case $package in
*.rpm) if command -v dnf >/dev/null; then dnf install -y "$package"; else rpm --upgrade --replacepkgs "$package"; fi ;;
*.deb) dpkg --install "$package" ;;
*.tar.gz)
    tar --extract --gzip --no-same-owner --file "$package" --directory /
    systemctl --no-reload enable spotblock-agent.service spotblock-guard.service
    ;;
*)
    say "$package is neither an .rpm nor a .deb nor a .tar.gz" >&2
    exit 2
    ;;
esac
say "installed $(spotblock-agent --version)"

# The agent starts it, when it has written the cluster into ecs.config.
if [ -d /run/systemd/system ]; then systemctl stop ecs.service || :; fi
systemctl --no-reload disable ecs.service

# Of the ECS agent's settings those go that name a cluster or an instance; what else somebody set stays.
for file in /etc/ecs/ecs.config /var/lib/ecs/ecs.config; do
    if [ -f "$file" ]; then sed -i '/^ECS_CLUSTER=/d; /^ECS_INSTANCE_ATTRIBUTES=/d' "$file"; fi
done
# With its registration every copy would fail (amazon-ecs-agent#2738).
rm -rf /var/lib/ecs/data/*

# What the agent wrote, if a block ran here. A power-off timer of this instance must not end another.
rm -rf /var/lib/spotblock /run/spotblock
rm -f /etc/systemd/system/timers.target.wants/spotblock-poweroff.timer
rm -f /etc/systemd/system/spotblock-poweroff.timer /etc/systemd/system/spotblock-poweroff.service
rm -f /var/lib/systemd/timers/stamp-spotblock-poweroff.timer /var/lib/cloud/scripts/per-boot/spotblock

# What makes two hosts the same that must differ, and what nobody else should see.
if command -v cloud-init >/dev/null; then cloud-init clean --logs; fi
rm -rf /var/lib/cloud/instance /var/lib/cloud/instances /var/lib/cloud/data
: >/etc/machine-id
rm -f /var/lib/dbus/machine-id /var/lib/systemd/random-seed
rm -f /etc/ssh/ssh_host_*
rm -f /root/.bash_history /home/*/.bash_history /root/.ssh/authorized_keys /home/*/.ssh/authorized_keys
rm -rf /var/log/journal/* /var/log/ecs/*
sync
say "done"
