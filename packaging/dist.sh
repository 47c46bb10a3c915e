#!/usr/bin/env bash
# Builds the agent's packages into target/dist: tarball, .deb, .rpm, SBOM, the licences of what it is made of, and
# SHA256SUMS. Two runs on the same commit give the same bytes.
#
#   packaging/dist.sh [x86_64|aarch64]        default: this machine's architecture
#
# Needs: cargo, readelf (binutils), python3, dpkg-deb, rpmbuild. For another architecture than this machine's also that
# architecture's Rust std and a C compiler for it, or ZIG=1; see docs/releasing.md.
#
#   ZIG=1    compiles by cargo-zigbuild, whose glibc is 2.34 whatever this machine's is
set -euo pipefail
cd "$(dirname "$0")/.."
top=$PWD
arch=${1:-$(uname -m)}
triple=$arch-unknown-linux-gnu
out=${DIST_DIR:-target/dist}
target=${CARGO_TARGET_DIR:-$top/target}
here=packaging/agent

# Said before anything is built or taken away: cargo itself says it by way of each crate that has no std.
if ! std=$(rustc --print target-libdir --target "$triple" 2>/dev/null); then
    echo "dist: Rust knows no target $triple" >&2
    exit 1
fi
if [[ ! -d $std ]]; then
    echo "dist: Rust's std for $triple isn't installed, so nothing for $arch can be built here: rustup target add $triple" >&2
    exit 1
fi
build=(cargo build) for=$triple
if [[ -n ${ZIG:-} ]]; then
    build=(cargo zigbuild) for=$triple.2.34
    if ! command -v cargo-zigbuild >/dev/null; then
        echo "dist: ZIG=1 needs cargo-zigbuild and ziglang: pip install cargo-zigbuild ziglang" >&2
        exit 1
    fi
fi

# The version stands in the workspace's manifest and nowhere else.
version=$(cargo metadata --locked --no-deps --format-version 1 |
    python3 -c 'import json, sys; print(next(p["version"] for p in json.load(sys.stdin)["packages"] if p["name"] == "node-agent"))')
# All times in what is built are the commit's.
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct)}
export SOURCE_DATE_EPOCH LC_ALL=C TZ=UTC
umask 022

missing=()
for tool in cargo readelf python3 dpkg-deb rpmbuild; do command -v "$tool" >/dev/null || missing+=("$tool"); done
if ((${#missing[@]})); then
    echo "dist: missing: ${missing[*]} (on Debian and Ubuntu: apt-get install binutils python3 dpkg rpm)" >&2
    exit 1
fi

echo "dist: spotblock-agent $version for $arch"
registry=${CARGO_HOME:-$HOME/.cargo}
RUSTFLAGS="--remap-path-prefix=$registry=/cargo --remap-path-prefix=$top=/spotblock" \
    CFLAGS="-ffile-prefix-map=$registry=/cargo" \
    CARGO_TARGET_DIR=$target \
    "${build[@]}" --locked --package node-agent --bin spotblock-agent --profile agent --target "$for"
binary=$target/$triple/agent/spotblock-agent
packaging/glibc.sh "$binary" 2.34

stage=$(mktemp -d)
trap 'rm -rf "$stage"' EXIT
tree=$stage/tree
doc=$tree/usr/share/doc/spotblock-agent
install -Dm755 "$binary" "$tree/usr/bin/spotblock-agent"
for unit in packaging/systemd/*.service; do install -Dm644 "$unit" "$tree/usr/lib/systemd/system/${unit##*/}"; done
install -Dm644 $here/spotblock-agent.8 "$tree/usr/share/man/man8/spotblock-agent.8"
gzip -9n "$tree/usr/share/man/man8/spotblock-agent.8"
install -Dm644 LICENSE "$doc/LICENSE"
rm -rf "$out"
mkdir -p "$out"
sbom=spotblock-agent-$version-$arch.cdx.json
python3 packaging/sbom.py --package node-agent --target "$triple" --binary "$binary" \
    --sbom "$out/$sbom" --licences "$doc/THIRD-PARTY-LICENCES"
install -m644 "$out/$sbom" "$doc/sbom.cdx.json"
find "$tree" -exec touch --no-dereference --date="@$SOURCE_DATE_EPOCH" {} +

# The tarball is laid out from the root folder: what fetches it unpacks it there, and the units find the program. It
# holds no folders, so that unpacking it changes nothing of those that are there.
(cd "$tree" && find usr -type f | sort) |
    tar --directory="$tree" --no-recursion --owner=0 --group=0 --numeric-owner --format=gnu --create --files-from=- |
    gzip -9n >"$out/spotblock-agent-$version-$arch.tar.gz"

packaging/deb.sh "$tree" "$version" "$arch" "$out"
packaging/rpm.sh "$tree" "$version" "$arch" "$out"

(cd "$out" && sha256sum spotblock-agent* >SHA256SUMS && cat SHA256SUMS)
