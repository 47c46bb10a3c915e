#!/usr/bin/env bash
# Builds `spotblock` in release mode and packs it with completions, man pages and the licences of what it is made of, into
# target/dist-provisioner. The EC2 SDK makes this a matter of a quarter of an hour and 7.5 GB of memory.
#
#   packaging/dist-provisioner.sh [x86_64|aarch64]        default: this machine's architecture
set -euo pipefail
cd "$(dirname "$0")/.."
top=$PWD
arch=${1:-$(uname -m)}
triple=$arch-unknown-linux-gnu
out=${DIST_DIR:-target/dist-provisioner}
target=${CARGO_TARGET_DIR:-$top/target}
# For a quick look at the packaging alone: `dev` takes what the tests have built.
profile=${PROFILE:-release}
case $profile in dev) folder=debug ;; *) folder=$profile ;; esac

version=$(cargo metadata --locked --no-deps --format-version 1 |
    python3 -c 'import json, sys; print(next(p["version"] for p in json.load(sys.stdin)["packages"] if p["name"] == "provisioner"))')
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct)}
export SOURCE_DATE_EPOCH LC_ALL=C TZ=UTC
umask 022

if [[ $profile == dev ]]; then
    cargo build --locked --package provisioner --bin spotblock
    binary=$target/debug/spotblock
else
    registry=${CARGO_HOME:-$HOME/.cargo}
    RUSTFLAGS="--remap-path-prefix=$registry=/cargo --remap-path-prefix=$top=/spotblock" \
        CFLAGS="-ffile-prefix-map=$registry=/cargo" \
        CARGO_TARGET_DIR=$target \
        cargo build --locked --package provisioner --bin spotblock --profile "$profile" --target "$triple"
    binary=$target/$triple/$folder/spotblock
fi
packaging/glibc.sh "$binary" 2.34

stage=$(mktemp -d)
trap 'rm -rf "$stage"' EXIT
name=spotblock-$version-$arch
tree=$stage/$name
install -Dm755 "$binary" "$tree/bin/spotblock"
install -Dm644 LICENSE "$tree/share/doc/spotblock/LICENSE"
if [[ $arch == "$(uname -m)" ]]; then
    mkdir -p "$tree/share/man/man1"
    "$binary" man "$tree/share/man/man1" >/dev/null
    for shell in bash zsh fish; do
        case $shell in
        bash) completions=share/bash-completion/completions/spotblock ;;
        zsh) completions=share/zsh/site-functions/_spotblock ;;
        fish) completions=share/fish/vendor_completions.d/spotblock.fish ;;
        esac
        mkdir -p "$tree/${completions%/*}"
        "$binary" completions $shell >"$tree/$completions"
    done
else
    echo "dist: no completions and man pages: this machine can't run a program for $arch" >&2
fi
rm -rf "$out"
mkdir -p "$out"
python3 packaging/sbom.py --package provisioner --target "$triple" --binary "$binary" \
    --sbom "$out/$name.cdx.json" --licences "$tree/share/doc/spotblock/THIRD-PARTY-LICENCES"
find "$tree" -exec touch --no-dereference --date="@$SOURCE_DATE_EPOCH" {} +
tar --directory="$stage" --sort=name --owner=0 --group=0 --numeric-owner --format=gnu --create "$name" |
    gzip -9n >"$out/$name.tar.gz"
(cd "$out" && sha256sum spotblock-* >SHA256SUMS && cat SHA256SUMS)
