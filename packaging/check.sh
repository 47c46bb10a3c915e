#!/usr/bin/env bash
# Holds what dist.sh made against what packages have to be. What a tool is missing for is named and left out, except
# where CI is set.
#
#   packaging/check.sh [FOLDER]
set -euo pipefail
cd "$(dirname "$0")/.."
dist=${1:-target/dist}
failed=0

wrong() {
    echo "WRONG: $*"
    failed=1
}
has() {
    command -v "$1" >/dev/null && return
    if [[ -n ${CI:-} ]]; then wrong "$1 is missing, and CI must check $2"; else echo "left out: $2 (no $1)"; fi
    return 1
}
only() { compgen -G "$dist/$1" | head -n 1; }

deb=$(only 'spotblock-agent_*.deb') rpm=$(only 'spotblock-agent-*.rpm') tarball=$(only 'spotblock-agent-*.tar.gz')
sbom=$(only 'spotblock-agent-*.cdx.json')
version=$(sed -n '/^\[workspace.package\]/,/^$/s/^version = "\(.*\)"/\1/p' Cargo.toml)
stage=$(mktemp -d)
trap 'rm -rf "$stage"' EXIT

(cd "$dist" && sha256sum --quiet --check SHA256SUMS) || wrong "SHA256SUMS"
wanted=$(printf '%s\n' "$deb" "$rpm" "$tarball" "$sbom" | sed 's|.*/||' | sort)
[[ $(cut -c67- "$dist/SHA256SUMS" | sort) == "$wanted" ]] || wrong "SHA256SUMS doesn't name each file once"
for file in "$deb" "$rpm" "$tarball" "$sbom"; do
    [[ ${file##*/} == *"$version"* ]] || wrong "$file is not of version $version"
done

# The same three files in each of them, and nothing outside /usr: /etc/ecs/ecs.config is never a package's.
needed='usr/bin/spotblock-agent usr/lib/systemd/system/spotblock-agent.service usr/lib/systemd/system/spotblock-guard.service'
holds() {
    local what=$1 list=$2 file
    for file in $needed; do grep --quiet --line-regexp "$file" <<<"$list" || wrong "$what lacks $file"; done
    if grep --quiet --invert-match '^usr/' <<<"$list"; then wrong "$what has files outside /usr"; fi
}
holds tarball "$(tar --list --file "$tarball")"
dpkg-deb --fsys-tarfile "$deb" | tar --list >"$stage/deb-list"
holds deb "$(sed -n 's|^\./||; /[^/]$/p' "$stage/deb-list")"
if has rpm "the .rpm"; then
    holds rpm "$(rpm --query --package --list "$rpm" | sed 's|^/||')"
    [[ $(rpm --query --package --queryformat '%{VERSION}' "$rpm") == "$version" ]] || wrong "the .rpm's version"
    requires=$(rpm --query --package --requires "$rpm")
    grep --quiet 'glibc >= 2.34' <<<"$requires" || wrong "the .rpm doesn't say which glibc it needs"
    # What they do on a host with a task running, tests/boot shows.
    rpm --query --package --scripts "$rpm" >"$stage/rpm-scripts"
    if grep --quiet -E -e 'systemctl.* (start|restart) ' -e '--now' "$stage/rpm-scripts"; then wrong "the .rpm restarts or starts units"; fi
fi
if has lintian "the .deb"; then
    lintian --allow-root --fail-on error,warning "$deb" || wrong "lintian has complaints"
fi
if has shellcheck "the maintainer scripts"; then
    shellcheck packaging/agent/deb/postinst packaging/agent/deb/prerm packaging/agent/deb/postrm packaging/*.sh ||
        wrong "shellcheck has complaints"
fi

tar --extract --file "$tarball" --directory "$stage"
packaging/glibc.sh "$stage/usr/bin/spotblock-agent" 2.34 || wrong "glibc"
if grep --quiet --text --fixed-strings --regexp="$PWD" --regexp="${CARGO_HOME:-$HOME/.cargo}" "$stage/usr/bin/spotblock-agent"; then
    wrong "the program holds paths of the machine that built it"
fi
if [[ $(uname -m) == $(readelf --file-header "$stage/usr/bin/spotblock-agent" | sed -n 's/.*Machine:.*X86-64/x86_64/p; s/.*Machine:.*AArch64/aarch64/p') ]]; then
    [[ $("$stage/usr/bin/spotblock-agent" --version) == "spotblock-agent $version" ]] || wrong "the program's version"
fi
python3 - "$sbom" "$stage/usr/bin/spotblock-agent" "$stage/usr/share/doc/spotblock-agent/THIRD-PARTY-LICENCES" <<'PY' || wrong "the SBOM"
import hashlib, json, sys
document = json.load(open(sys.argv[1]))
refs = [part["bom-ref"] for part in document["components"]] + [document["metadata"]["component"]["bom-ref"]]
assert document["bomFormat"] == "CycloneDX" and document["specVersion"] == "1.5"
assert len(refs) == len(set(refs)) and {each["ref"] for each in document["dependencies"]} == set(refs)
assert all(need in refs for each in document["dependencies"] for need in each["dependsOn"])
assert any(part["name"] == "tokio" and part["hashes"] and part["licenses"] for part in document["components"])
digest = hashlib.sha256(open(sys.argv[2], "rb").read()).hexdigest()
assert document["metadata"]["component"]["hashes"] == [{"alg": "SHA-256", "content": digest}], "another program's"
licences = open(sys.argv[3]).read().splitlines()
assert all(any(line.startswith(f"{part['name']} {part['version']}: ") for line in licences) for part in document["components"]), "licences"
PY

if ((failed)); then exit 1; fi
echo "packages: as they should be"
