#!/usr/bin/env bash
# Makes the .rpm out of a tree of files; dist.sh calls it.
set -euo pipefail
tree=$1 version=$2 arch=$3 out=$4
here=$(cd "$(dirname "$0")/agent" && pwd)

stage=$(mktemp -d)
trap 'rm -rf "$stage"' EXIT
# Nothing of the machine that builds gets in: neither its name, nor its time, nor its own macros for what was installed.
rpmbuild --quiet -bb --target "$arch-linux" \
    --define "_topdir $stage" --define "_rpmdir $stage/out" --define "_rpmfilename %{NAME}-%{VERSION}-%{RELEASE}.%{ARCH}.rpm" \
    --define "_buildhost localhost" --define "use_source_date_epoch_as_buildtime 1" \
    --define "clamp_mtime_to_source_date_epoch 1" --define "_binary_payload w9.gzdio" \
    --define "__os_install_post %{nil}" --define "_build_id_links none" --define "debug_package %{nil}" \
    --define "spotblock_version $version" --define "spotblock_tree $tree" \
    "$here/spotblock-agent.spec"
cp "$stage"/out/*.rpm "$out/"
