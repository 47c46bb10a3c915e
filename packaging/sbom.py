#!/usr/bin/env python3
"""Writes what a program is made of: a CycloneDX 1.5 document, and the licences of all its crates with their texts.

Both come from Cargo's own resolution (`cargo metadata --locked`), for one target, without what only tests use. Nothing
in them depends on when or where they are made, but SOURCE_DATE_EPOCH.
"""

import argparse
import datetime
import hashlib
import json
import os
import pathlib
import re
import subprocess
import sys
import tomllib
import uuid

NAMESPACE = uuid.UUID("8f3c9c1e-51d8-5b51-9b0e-0c1f3f6d5a11")
TEXTS = re.compile(r"^(licen[sc]e|copying|notice|unlicense)", re.IGNORECASE)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--package", required=True)
    parser.add_argument("--target", required=True)
    parser.add_argument("--binary", required=True, type=pathlib.Path)
    parser.add_argument("--sbom", required=True, type=pathlib.Path)
    parser.add_argument("--licences", required=True, type=pathlib.Path)
    given = parser.parse_args()

    packages, edges, root = resolve(given.package, given.target)
    sums = checksums()
    order = sorted(packages, key=lambda key: (packages[key]["name"], packages[key]["version"]))
    document = sbom(packages, edges, root, order, sums, given.binary)
    given.sbom.write_text(json.dumps(document, indent=1) + "\n")
    given.licences.write_text(licences(given.binary.name, packages, root, order))
    print(f"sbom: {len(order) - 1} crates")


def resolve(package, target):
    """The packages that `package` is built from, by id, and who needs whom."""
    command = ["cargo", "metadata", "--locked", "--format-version", "1", "--filter-platform", target]
    metadata = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    known = {each["id"]: each for each in metadata["packages"]}
    nodes = {each["id"]: each for each in metadata["resolve"]["nodes"]}
    root = next(each["id"] for each in metadata["packages"] if each["name"] == package and each["source"] is None)
    packages, edges, left = {}, {}, [root]
    while left:
        key = left.pop()
        if key in packages:
            continue
        packages[key] = known[key]
        # Build dependencies count: they run where the program is made.
        needs = [each["pkg"] for each in nodes[key]["deps"] if any(kind["kind"] != "dev" for kind in each["dep_kinds"])]
        edges[key] = sorted(set(needs))
        left += needs
    return packages, edges, root


def checksums():
    lock = tomllib.loads(pathlib.Path("Cargo.lock").read_text())
    return {(each["name"], each["version"]): each.get("checksum") for each in lock["package"]}


def purl(package):
    return f"pkg:cargo/{package['name']}@{package['version']}"


def sbom(packages, edges, root, order, sums, binary):
    epoch = int(os.environ["SOURCE_DATE_EPOCH"])
    digest = hashlib.sha256(binary.read_bytes()).hexdigest()
    own = component(packages[root], sums)
    own["type"] = "application"
    own["hashes"] = [{"alg": "SHA-256", "content": digest}]
    own["name"] = binary.name
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.5.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "serialNumber": f"urn:uuid:{uuid.uuid5(NAMESPACE, digest)}",
        "version": 1,
        "metadata": {
            "timestamp": datetime.datetime.fromtimestamp(epoch, datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "component": own,
        },
        "components": [component(packages[key], sums) for key in order if key != root],
        "dependencies": [
            {"ref": purl(packages[key]), "dependsOn": sorted({purl(packages[need]) for need in edges[key]})}
            for key in order
        ],
    }


def component(package, sums):
    made = {
        "type": "library",
        "bom-ref": purl(package),
        "name": package["name"],
        "version": package["version"],
        "purl": purl(package),
        "licenses": [{"expression": licence(package)}],
    }
    checksum = sums.get((package["name"], package["version"]))
    if checksum:
        made["hashes"] = [{"alg": "SHA-256", "content": checksum}]
    return made


def licence(package):
    """An SPDX expression; some crates still write a slash for OR."""
    found = package["license"]
    if not found:
        sys.exit(f"sbom: {package['name']} {package['version']} names no licence")
    return re.sub(r"\s*/\s*", " OR ", found)


def licences(name, packages, root, order):
    """A list, and then each text once, with the crates that come with it."""
    lines = [f"What {name} is made of, and under which licences:", ""]
    texts = {}
    for key in order:
        if key == root:
            continue
        package = packages[key]
        lines.append(f"{package['name']} {package['version']}: {licence(package)}")
        folder = pathlib.Path(package["manifest_path"]).parent
        if package["source"] is None:
            continue
        for file in sorted(folder.iterdir()):
            if file.is_file() and TEXTS.match(file.name):
                text = file.read_text(encoding="utf-8", errors="replace").strip().replace("\r\n", "\n")
                texts.setdefault(text, []).append(f"{package['name']} {package['version']}")
    for text, owners in sorted(texts.items(), key=lambda item: item[1]):
        lines += ["", "=" * 100, "Of " + ", ".join(owners) + ":", "", text]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
