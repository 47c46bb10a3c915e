#!/usr/bin/env bash
# Builds the last commit's packages again, in another folder and from nothing, and compares them with target/dist: the
# same bytes, wherever they are built. Takes as long as a cold build.
set -euo pipefail
cd "$(dirname "$0")/.."
arch=${1:-$(uname -m)}
[[ -s target/dist/SHA256SUMS ]] || packaging/dist.sh "$arch"

elsewhere=$(mktemp -d)
trap 'rm -rf "$elsewhere"' EXIT
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct)
export SOURCE_DATE_EPOCH
git archive HEAD | tar --extract --directory "$elsewhere"
(unset CARGO_TARGET_DIR DIST_DIR && "$elsewhere/packaging/dist.sh" "$arch") >/dev/null
if ! diff target/dist/SHA256SUMS "$elsewhere/target/dist/SHA256SUMS"; then
    echo "reproducible: two builds differ" >&2
    exit 1
fi
echo "reproducible: two builds in two folders are the same, byte by byte"
