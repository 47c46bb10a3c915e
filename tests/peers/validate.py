"""Holds the raw bytes of an answer against the shape that botocore's model of the service gives for it.

botocore's own parser forgives: it skips members that it doesn't know, and turns whatever it can into what it expects.
A client in another language may not, so nothing is forgiven here. Every function yields findings: what is wrong, and
where.
"""

import base64
import binascii
import json
import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from email.utils import parsedate_to_datetime
from xml.etree import ElementTree

from botocore.model import ListShape, OperationModel, Shape, StructureShape

JSON_CONTENT = {"json": "application/x-amz-json-1.1", "rest-json": "application/json"}
BITS = {"integer": 32, "long": 64}
ISO_8601 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")
DECIMAL = re.compile(r"-?\d+(\.\d+)?([eE][-+]?\d+)?")

# Codes that any operation may give although no model declares them: AWS's lists of "common errors", and what S3 says
# of any bucket.
COMMON_CODES = {
    "AccessDenied", "InvalidAction", "InvalidRange", "MissingParameter", "NoSuchBucket", "NotImplemented",
    "SerializationException", "SlowDown", "Throttling", "ThrottlingException", "TooManyRequestsException",
    "UnknownOperationException", "ValidationError", "ValidationException",
}

# EC2's model leaves these answers empty; its API reference has them give `return`.
TRUTHS_OF_EC2 = {"CreateTags", "DeleteTags"}


def answer(operation: OperationModel, headers: Mapping[str, str], raw: bytes) -> Iterator[str]:
    """Findings about an answer that says all went well. Streamed bytes have no shape, so give none of them."""
    protocol, shape = operation.service_model.protocol, operation.output_shape
    yield from _request_id(protocol, headers)
    if protocol in JSON_CONTENT:
        yield from _content_type(headers, JSON_CONTENT[protocol])
        yield from _json_body(shape, raw)
    elif protocol == "rest-xml":
        yield from _header_members(shape, headers)
        if raw:
            yield f"a body of {len(raw)} bytes where all is in the headers"
    else:
        yield from _content_type(headers, "text/xml")
        yield from _xml_body(operation, raw)


def refusal(operation: OperationModel, status: int, headers: Mapping[str, str], raw: bytes) -> Iterator[str]:
    """Findings about an answer that says what went wrong."""
    protocol = operation.service_model.protocol
    yield from _request_id(protocol, headers)
    if protocol in JSON_CONTENT:
        yield from _content_type(headers, JSON_CONTENT[protocol])
        code, members = yield from _json_error(protocol, headers, raw)
    elif operation.http["method"] == "HEAD":
        if raw:
            yield "an answer to HEAD with a body"
        return
    else:
        code, members = yield from _xml_error(protocol, raw)
    if not code:
        yield "an error without a code"
    elif declared := next((shape for shape in operation.error_shapes if shape.error_code == code), None):
        if not declared.members:
            # CloudWatch Logs' errors have a text that its model leaves out; botocore reads it all the same.
            members.pop("message", None)
        yield from _as_declared(declared, protocol, status, members)
    elif operation.error_shapes and code not in COMMON_CODES:
        yield f"{code}: no error that the model declares for this operation"


def _request_id(protocol: str, headers: Mapping[str, str]) -> Iterator[str]:
    name = "x-amz-request-id" if protocol == "rest-xml" else "x-amzn-requestid"
    if not headers.get(name):
        yield f"no {name} among the headers"


def _content_type(headers: Mapping[str, str], wanted: str) -> Iterator[str]:
    given = headers.get("content-type", "")
    if given.split(";")[0] != wanted:
        yield f"content type {given!r} instead of {wanted}"


# JSON


def _json_body(shape: StructureShape | None, raw: bytes) -> Iterator[str]:
    try:
        value = json.loads(raw)
    except ValueError as error:
        yield f"not JSON: {error}"
        return
    if shape is not None:
        yield from _json(shape, value, "")
    elif value != {}:
        yield f"{value} where the model has nothing"


def _json(shape: Shape, value: object, path: str) -> Iterator[str]:
    match shape.type_name, value:
        case "structure", dict():
            by_name = {_name(member, name): member for name, member in shape.members.items()}
            yield from _names(shape, value.keys(), path)
            for name in by_name.keys() & value.keys():
                yield from _json(by_name[name], value[name], f"{path}.{name}")
        case "list", list():
            for at, item in enumerate(value):
                yield from _json(shape.member, item, f"{path}[{at}]")
        case "map", dict():
            for key, item in value.items():
                yield from _json(shape.key, key, f"{path} key {key!r}")
                yield from _json(shape.value, item, f"{path}[{key!r}]")
        case ("structure" | "list" | "map") as kind, _:
            yield f"{path}: {_shown(value)} is no {kind}"
        case _:
            yield from _json_leaf(shape, value, path)


def _json_leaf(shape: Shape, value: object, path: str) -> Iterator[str]:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    match shape.type_name:
        case "string" | "character":
            fits = isinstance(value, str)
            if fits:
                yield from _enum(shape, value, path)
        case "integer" | "long" as kind:
            fits = number and isinstance(value, int) and -(2 ** (BITS[kind] - 1)) <= value < 2 ** (BITS[kind] - 1)
        case "float" | "double":
            fits = number
        case "boolean":
            fits = isinstance(value, bool)
        case "timestamp":
            # Seconds since the epoch unless the shape says otherwise. A time outside of this range is in milliseconds.
            fits = number and 0 <= value < 2**33 if _format(shape) is None else _iso(value)
        case "blob":
            fits = isinstance(value, str) and _base64(value)
        case other:
            raise NotImplementedError(f"{path}: no check of {other} in JSON")
    if not fits:
        yield f"{path}: {_shown(value)} is no {shape.type_name}"


def _json_error(protocol: str, headers: Mapping[str, str], raw: bytes) -> Iterator[str]:
    """Gives the code and the body's other members."""
    try:
        members = json.loads(raw)
    except ValueError as error:
        yield f"not JSON: {error}"
        return "", {}
    code = headers.get("x-amzn-errortype", "")
    if protocol == "json":
        in_body = members.pop("__type", None)
        if in_body != code:
            yield f"__type {in_body!r} differs from the header's {code!r}"
    return code, members


# XML


def _xml_body(operation: OperationModel, raw: bytes) -> Iterator[str]:
    shape, protocol = operation.output_shape, operation.service_model.protocol
    root = yield from _tree(raw, f"{operation.name}Response", operation.service_model.metadata["xmlNamespace"])
    if root is None:
        return
    if protocol == "ec2":
        requests = root.findall("requestId")
        yield from _one("requestId", requests)
        for element in requests:
            root.remove(element)
        if operation.name in TRUTHS_OF_EC2 and (truth := root.find("return")) is not None:
            yield from _leaf_text(truth.text == "true", truth, "return", "boolean")
            root.remove(truth)
        yield from _xml_members(shape, root, "")
        return
    metadata = root.findall("ResponseMetadata")
    yield from _one("ResponseMetadata/RequestId", root.findall("ResponseMetadata/RequestId"))
    wrapper = shape.serialization.get("resultWrapper") if shape is not None else None
    results = root.findall(wrapper) if wrapper else []
    if wrapper:
        yield from _one(wrapper, results)
    for result in results:
        yield from _xml_members(shape, result, "")
    for element in root:
        if element not in metadata and element not in results:
            yield f"{element.tag}: unknown beside the result"


def _tree(raw: bytes, name: str, namespace: str | None) -> Iterator[str]:
    """Gives the root, with names freed of their namespace; nothing when it is another one."""
    try:
        root = ElementTree.fromstring(raw)
    except ElementTree.ParseError as error:
        yield f"not XML: {error}"
        return None
    if namespace is not None and not root.tag.startswith("{" + namespace.rstrip("/")):
        yield f"<{root.tag}> is outside of the namespace {namespace}"
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
        if element.attrib:
            yield f"{element.tag}: attributes {sorted(element.attrib)}"
    if root.tag != name:
        yield f"<{root.tag}> where <{name}> belongs"
        return None
    return root


def _one(path: str, found: list[ElementTree.Element]) -> Iterator[str]:
    if len(found) != 1:
        yield f"{path}: {len(found)} times instead of once"
    elif found[0].text is None and len(found[0]) == 0 and path.endswith("Id"):
        yield f"{path}: empty"


def _xml_members(shape: StructureShape | None, element: ElementTree.Element, path: str) -> Iterator[str]:
    by_name = {_name(member, name): member for name, member in shape.members.items()} if shape is not None else {}
    children: dict[str, list[ElementTree.Element]] = {}
    for child in element:
        children.setdefault(child.tag, []).append(child)
    if element.text and element.text.strip():
        yield f"{path}: text {element.text!r} in a structure"
    yield from _names(shape, children.keys(), path)
    for name in by_name.keys() & children.keys():
        member, found, below = by_name[name], children[name], f"{path}.{name}"
        if _flattened(member):
            for at, item in enumerate(found):
                yield from _xml(member.member, item, f"{below}[{at}]")
        else:
            if len(found) > 1:
                yield f"{below}: {len(found)} elements for one member"
            yield from _xml(member, found[0], below)


def _xml(shape: Shape, element: ElementTree.Element, path: str) -> Iterator[str]:
    match shape.type_name:
        case "structure":
            yield from _xml_members(shape, element, path)
        case "list":
            entry = shape.member.serialization.get("name", "member")
            if element.text and element.text.strip():
                yield f"{path}: text {element.text!r} in a list"
            for at, item in enumerate(element):
                if item.tag != entry:
                    yield f"{path}: <{item.tag}> in a list of <{entry}>"
                else:
                    yield from _xml(shape.member, item, f"{path}[{at}]")
        case "map":
            raise NotImplementedError(f"{path}: no check of maps in XML")
        case kind:
            yield from _xml_leaf(shape, kind, element, path)


def _xml_leaf(shape: Shape, kind: str, element: ElementTree.Element, path: str) -> Iterator[str]:
    text = element.text or ""
    if len(element):
        yield f"{path}: elements {[child.tag for child in element]} in a {kind}"
    elif kind in ("string", "character"):
        yield from _enum(shape, text, path)
    else:
        yield from _leaf_text(_text_fits(shape, kind, text), element, path, kind)


def _text_fits(shape: Shape, kind: str, text: str) -> bool:
    match kind:
        case "integer" | "long":
            return re.fullmatch(r"-?\d+", text) is not None and abs(int(text)) < 2 ** (BITS[kind] - 1)
        case "float" | "double":
            return DECIMAL.fullmatch(text) is not None
        case "boolean":
            return text in ("true", "false")
        case "timestamp":
            return _iso(text) if _format(shape) in (None, "iso8601") else DECIMAL.fullmatch(text) is not None
        case "blob":
            return _base64(text)
    raise NotImplementedError(f"no check of {kind} in XML")


def _leaf_text(fits: bool, element: ElementTree.Element, path: str, kind: str) -> Iterator[str]:
    if not fits:
        yield f"{path}: {element.text!r} is no {kind}"


def _xml_error(protocol: str, raw: bytes) -> Iterator[str]:
    """Gives the code and what stands beside it."""
    root_name, error_path, request_id = {
        "ec2": ("Response", "Errors/Error", "RequestID"),
        "query": ("ErrorResponse", "Error", "RequestId"),
        "rest-xml": ("Error", ".", "RequestId"),
    }[protocol]
    root = yield from _tree(raw, root_name, None)
    if root is None:
        return "", {}
    yield from _one(request_id, root.findall(request_id))
    error = root.find(error_path)
    members = {child.tag: child.text for child in error} if error is not None else {}
    if not members.get("Message"):
        yield "an error without a message"
    if protocol == "query" and members.get("Type") not in ("Sender", "Receiver"):
        yield f"Type {members.get('Type')!r} of an error"
    return members.get("Code", ""), members


# What the protocols share


def _as_declared(shape: StructureShape, protocol: str, status: int, members: Mapping[str, object]) -> Iterator[str]:
    wanted = shape.metadata.get("error", {}).get("httpStatusCode", 400)
    if status != wanted:
        yield f"{shape.error_code}: status {status} instead of {wanted}"
    if protocol in JSON_CONTENT:
        yield from _json(shape, members, shape.error_code)


def _header_members(shape: StructureShape, headers: Mapping[str, str]) -> Iterator[str]:
    """S3 gives most of what it gives in headers."""
    for member in shape.members.values():
        name = member.serialization.get("name", "").lower()
        text = headers.get(name)
        if member.serialization.get("location") != "header" or text is None:
            continue
        if member.type_name == "timestamp" and _format(member) is None:
            fits = _http_date(text)
        elif member.type_name == "string":
            yield from _enum(member, text, name)
            continue
        else:
            fits = _text_fits(member, member.type_name, text)
        if not fits:
            yield f"{name}: {text!r} is no {member.type_name}"
    if not headers.get("etag"):
        yield "no etag among the headers"


def _names(shape: StructureShape | None, given: object, path: str) -> Iterator[str]:
    """Members that the shape doesn't have, and those that it requires."""
    members = {name: _name(member, name) for name, member in shape.members.items()} if shape is not None else {}
    for name in set(given) - set(members.values()):
        yield f"{path}.{name}: unknown to the model"
    for name in shape.required_members if shape is not None else []:
        if members[name] not in given:
            yield f"{path}.{members[name]}: missing, and required by the model"


def _name(shape: Shape, member: str) -> str:
    """A member's name on the wire. Entries of a flattened list carry their own."""
    if _flattened(shape) and "name" in shape.member.serialization:
        return shape.member.serialization["name"]
    return shape.serialization.get("name", member)


def _flattened(shape: Shape) -> bool:
    return isinstance(shape, ListShape) and bool(shape.serialization.get("flattened"))


def _enum(shape: Shape, text: str, path: str) -> Iterator[str]:
    allowed = getattr(shape, "enum", None)
    if allowed and text not in allowed:
        yield f"{path}: {text!r} is none of the model's values {allowed if len(allowed) < 12 else '(many)'}"


def _format(shape: Shape) -> str | None:
    return shape.serialization.get("timestampFormat")


def _iso(value: object) -> bool:
    if not isinstance(value, str) or not ISO_8601.fullmatch(value):
        return False
    try:
        return bool(datetime.fromisoformat(value))
    except ValueError:
        return False


def _http_date(text: str) -> bool:
    try:
        return text.endswith(" GMT") and bool(parsedate_to_datetime(text))
    except ValueError:
        return False


def _base64(text: str) -> bool:
    try:
        return base64.b64decode(text, validate=True) is not None
    except binascii.Error:
        return False


def _shown(value: object) -> str:
    text = json.dumps(value)
    return text if len(text) < 60 else f"{text[:57]}..."
