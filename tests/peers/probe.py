"""Finds out which operations a local cloud implements, by asking for each that AWS has.

No list of ours can fall behind the code this way: an operation that gets implemented and isn't driven fails the run.
"""

from botocore import xform_name
from botocore.client import BaseClient
from botocore.exceptions import ClientError
from botocore.model import OperationModel, Shape
from cloud import Cloud
from ledger import Ledger

UNKNOWN = {"InvalidAction", "UnknownOperationException", "NotImplemented"}

# Both ask S3's directory buckets, whose addresses aren't S3's own.
OUT_OF_REACH = {"s3.CreateSession", "s3.ListDirectoryBuckets"}


def known_operations(cloud: Cloud, service: str, ledger: Ledger) -> set[str]:
    """The operations of a service that the cloud implements.

    Each is asked for as emptily as its protocol allows. That changes things, so give it a cloud of its own. The cloud's
    record says what each request was taken for: to take it for another operation is a finding.
    """
    client = cloud.client(service, parameter_validation=False)
    before = len(cloud.control("GET", "calls"))
    asked = [name for name in client.meta.service_model.operation_names if f"{service}.{name}" not in OUT_OF_REACH]
    for name in asked:
        _ask(client, client.meta.service_model.operation_model(name))
    calls = cloud.control("GET", "calls")[before:]
    if len(calls) != len(asked):
        raise RuntimeError(f"{service}: {len(calls)} calls recorded of {len(asked)}")
    known = set()
    for name, call in zip(asked, calls, strict=True):
        if call.get("error") in UNKNOWN:
            continue
        if call["operation"] == name:
            known.add(name)
        else:
            ledger.find(f"{service}.{name}", f"taken for {call['operation'] or 'nothing'}")
    return known


def _ask(client: BaseClient, operation: OperationModel) -> None:
    """What stands in the path, the query string and the headers tells REST operations apart, so it is filled in."""
    shape = operation.input_shape
    required = shape.required_members if shape is not None else []
    outside = {name for name in required if shape.members[name].serialization.get("location")}
    # Left out, botocore would sign one of its own, for a region whose address it doesn't know here.
    outside |= {"PresignedUrl"} & (shape.members.keys() if shape is not None else set())
    parameters = {name: _something(shape.members[name]) for name in outside}
    try:
        getattr(client, xform_name(operation.name))(**parameters)
    except ClientError:
        pass  # Whether it is known is in the cloud's record.


def _something(shape: Shape) -> object:
    enum = getattr(shape, "enum", None)
    match shape.type_name:
        case "string":
            return enum[0] if enum else "probe"
        case "integer" | "long":
            return 1
        case "boolean":
            return True
        case "list":
            return [_something(shape.member)]
        case "timestamp":
            return 0
        case other:
            raise NotImplementedError(f"no value for {other}")
