#!/usr/bin/env python3
"""Holds what is marked "newer than 1.6" in the template, which the Packer that Debian has doesn't know, against the Amazon
plugin's documentation (v1.8.2: MetadataOptions, AMIConfig, and the data source parameterstore): names, types and values.

    newer.py [TEMPLATE]
"""

import pathlib
import re
import sys

EITHER = re.compile(r'"(enabled|disabled)"')
SCHEMA = {
    'data "amazon-parameterstore"': {
        "name": re.compile(r"var\.\w+"), "region": re.compile(r"var\.\w+"), "with_decryption": re.compile("true|false"),
    },
    "metadata_options": {
        "http_endpoint": EITHER, "http_tokens": re.compile(r'"(optional|required)"'), "instance_metadata_tags": EITHER,
        "http_put_response_hop_limit": re.compile("[1-9]|[1-5][0-9]|6[0-4]"),
    },
    "": {"imds_support": re.compile(r'"v2\.0"')},
}
PART = re.compile(r"# newer than 1\.6: begin\n(.*?)# newer than 1\.6: end", re.DOTALL)
# Each must be noticed: a judge that passes anything is none.
WRONG = {'http_tokens  ': "http_token", '"required"': '"always"', '"v2.0"': '"v1.0"', "limit = 1": "limit = 65", "name   =": "nam ="}


def problems(template):
    used = set()
    for part in PART.findall(template):
        block = ""
        for line in map(str.strip, part.splitlines()):
            if line.endswith("{"):
                block = re.sub(r'( "\w+")? {$', "", line)
            elif line == "}":
                block = ""
            elif line and not line.startswith("#"):
                name, _, value = (word.strip() for word in line.partition("="))
                known = SCHEMA.get(block, {}).get(name)
                used.add((block, name))
                if known is None:
                    yield f"{block or 'amazon-ebs'} has no {name}"
                elif not known.fullmatch(value):
                    yield f"{block or 'amazon-ebs'}: {name} = {value}"
    for needed in (('data "amazon-parameterstore"', "name"), ("metadata_options", "http_tokens"), ("", "imds_support")):
        if needed not in used:
            yield f"{' '.join(needed).strip()} is not given"


def main():
    given = sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).parent / "spotblock.pkr.hcl"
    template = pathlib.Path(given).read_text()
    found = list(problems(template))
    for right, wrong in WRONG.items():
        if right not in template or not list(problems(template.replace(right, wrong))):
            found.append(f"{wrong!r} in the place of {right!r} is not noticed")
    print("\n".join(found) or "packer: what is newer than 1.6 is as the Amazon plugin's documentation has it")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
