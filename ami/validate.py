#!/usr/bin/env python3
"""Holds the Image Builder component against the document's schema, as AWS's user guide for the component application gives
it: which keys there are, which are required, and what the actions used here take. Needs PyYAML."""

import pathlib
import re
import sys

import yaml

KEYS = {"name", "description", "schemaVersion", "parameters", "constants", "phases"}
STEP = {"name", "action", "timeoutSeconds", "onFailure", "maxAttempts", "loop", "if", "inputs"}
DOWNLOAD = {"source", "destination", "expectedBucketOwner", "overwrite"}


def problems(document):
    yield from (f"unknown key {key}" for key in set(document) - KEYS)
    if document.get("schemaVersion") != 1.0:
        yield "schemaVersion is 1.0"
    given = set()
    for parameter in document.get("parameters", []):
        [(name, value)] = parameter.items()
        given.add(name)
        if value.get("type") != "string" or set(value) - {"type", "description", "default", "allowedValues"}:
            yield f"parameter {name}"
    phases = [phase["name"] for phase in document["phases"]]
    if not set(phases) <= {"build", "validate", "test"} or len(set(phases)) != len(phases):
        yield f"phases {phases}"
    for phase in document["phases"]:
        for step in phase["steps"]:
            yield from step_problems(step)
    used = set(re.findall(r"{{ *(\w+) *}}", str(document)))
    if used != given:
        yield f"parameters given and used differ: {used ^ given}"


def step_problems(step):
    name = step.get("name")
    yield from (f"{name}: unknown key {key}" for key in set(step) - STEP)
    if step.get("onFailure", "Abort") not in ("Abort", "Continue", "Ignore"):
        yield f"{name}: onFailure"
    if step["action"] == "S3Download":
        for each in step["inputs"]:
            if set(each) - DOWNLOAD or not {"source", "destination"} <= set(each):
                yield f"{name}: {each}"
    elif step["action"] == "ExecuteBash":
        commands = step["inputs"].get("commands")
        if set(step["inputs"]) != {"commands"} or not all(isinstance(command, str) for command in commands):
            yield f"{name}: commands"
    else:
        yield f"{name}: {step['action']} is not looked at here"


found = list(problems(yaml.safe_load((pathlib.Path(__file__).parent / "image-builder.yaml").read_text())))
print("\n".join(found) or "Image Builder: the component is as its schema has it")
sys.exit(bool(found))
