#!/usr/bin/env bash
# Makes the .deb out of a tree of files; dist.sh calls it.
set -euo pipefail
tree=$1 version=$2 arch=$3 out=$4
here=$(dirname "$0")/agent

case $arch in
x86_64) debian=amd64 ;;
aarch64) debian=arm64 ;;
*) echo "deb: what does Debian call $arch?" >&2 && exit 1 ;;
esac

stage=$(mktemp -d)
trap 'rm -rf "$stage"' EXIT
cp --archive "$tree" "$stage/deb"
doc=$stage/deb/usr/share/doc/spotblock-agent
# Debian has the licence's text already.
rm "$doc/LICENSE"
install -m644 "$here/deb/copyright" "$doc/copyright"
install -Dm644 "$here/deb/lintian-overrides" "$stage/deb/usr/share/lintian/overrides/spotblock-agent"
{
    echo "spotblock-agent ($version) unstable; urgency=medium"
    printf '\n  * See CHANGELOG.md in the source.\n\n'
    echo " -- The spotblock authors <noreply@example.com>  $(date --utc --date="@$SOURCE_DATE_EPOCH" --rfc-email)"
} | gzip -9n >"$doc/changelog.gz"

mkdir "$stage/deb/DEBIAN"
for script in postinst prerm postrm; do install -m755 "$here/deb/$script" "$stage/deb/DEBIAN/$script"; done
size=$(du --apparent-size --summarize --block-size=1024 "$stage/deb/usr" | cut -f1)
sed -e "s/@VERSION@/$version/" -e "s/@ARCH@/$debian/" -e "s/@SIZE@/$size/" "$here/deb/control" >"$stage/deb/DEBIAN/control"
(cd "$stage/deb" && find usr -type f -print0 | sort --zero-terminated | xargs --null md5sum) >"$stage/deb/DEBIAN/md5sums"
find "$stage/deb" -newermt "@$SOURCE_DATE_EPOCH" -exec touch --no-dereference --date="@$SOURCE_DATE_EPOCH" {} +
dpkg-deb --root-owner-group --threads-max=1 --build "$stage/deb" "$out/spotblock-agent_${version}_$debian.deb" >/dev/null
