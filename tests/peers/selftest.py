"""Spoils good answers and looks whether the validator notices: one that finds nothing in anything proves nothing."""

import ast
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import botocore.session
import validate

JSON_HEADERS = {"x-amzn-requestid": "r", "content-type": "application/x-amz-json-1.1"}
REST_HEADERS = JSON_HEADERS | {"content-type": "application/json", "x-amzn-errortype": "ConflictException"}
XML_HEADERS = {"x-amzn-requestid": "r", "content-type": "text/xml;charset=UTF-8"}
ECS_ERROR = JSON_HEADERS | {"x-amzn-errortype": "ServerException"}
S3_HEADERS = {"x-amz-request-id": "r", "etag": '"e"', "last-modified": "Tue, 24 Nov 2026 12:00:00 GMT"}

TASK = {"desiredStatus": "RUNNING", "createdAt": 1800000000.5, "launchType": "EC2", "version": 1, "containers": []}
TASKS = json.dumps({"tasks": [TASK], "failures": []})
JOB = {"jobId": "j", "jobName": "n", "jobQueue": "q", "jobDefinition": "d", "status": "RUNNING", "startedAt": 0}
JOBS = json.dumps({"jobs": [JOB]})
CONFLICT = '{"Message": "it exists"}'
INSTANCES = (
    '<DescribeInstancesResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15/"><requestId>r</requestId>'
    "<reservationSet><item><instancesSet><item><instanceId>i-1</instanceId><amiLaunchIndex>0</amiLaunchIndex>"
    "<launchTime>2026-11-24T12:00:00.000Z</launchTime><ebsOptimized>false</ebsOptimized>"
    "<instanceState><code>16</code><name>running</name></instanceState></item></instancesSet></item></reservationSet>"
    "</DescribeInstancesResponse>"
)
ROLE = (
    '<GetRoleResponse xmlns="https://iam.amazonaws.com/doc/2010-05-08/"><GetRoleResult><Role><Path>/</Path>'
    "<RoleName>n</RoleName><RoleId>AROA</RoleId><Arn>a</Arn><CreateDate>2026-11-24T12:00:00Z</CreateDate>"
    "<Tags><member><Key>k</Key><Value>v</Value></member></Tags></Role></GetRoleResult>"
    "<ResponseMetadata><RequestId>r</RequestId></ResponseMetadata></GetRoleResponse>"
)
NO_ROLE = (
    '<ErrorResponse xmlns="https://iam.amazonaws.com/doc/2010-05-08/"><Error><Type>Sender</Type>'
    "<Code>NoSuchEntity</Code><Message>none</Message></Error><RequestId>r</RequestId></ErrorResponse>"
)


@dataclass
class Case:
    """A good answer, and replacements that each make a bad one with a finding in these words."""

    service: str
    operation: str
    headers: dict[str, str]
    good: str
    spoiled: list[tuple[str, str, str]]
    status: int = 200


CASES = [
    Case("ecs", "DescribeTasks", JSON_HEADERS, TASKS, [
        ('"version": 1', '"version": "1"', "is no long"),
        ('"version": 1', '"version": true', "is no long"),
        ('"version": 1', '"version": null', "is no long"),
        ('"version": 1', '"versoin": 1', ".versoin: unknown"),
        ("1800000000.5", '"2027-01-15T08:00:00Z"', "is no timestamp"),
        ("1800000000.5", "1800000000500", "is no timestamp"),
        ('"containers": []', '"containers": {}', "is no list"),
        ('"EC2"', '"MOON"', "none of the model's values"),
        ('"RUNNING"', "1", "is no string"),
        ("{", "[", "not JSON"),
    ]),
    Case("batch", "DescribeJobs", JSON_HEADERS | {"content-type": "application/json"}, JOBS, [
        ('"startedAt": 0', '"startedAt": 0.5', "is no long"),
        (', "startedAt": 0', "", ".startedAt: missing"),
        ('"jobId": "j", ', "", ".jobId: missing"),
    ]),
    Case("scheduler", "CreateSchedule", REST_HEADERS, CONFLICT, [
        ("Message", "message", ".Message: missing"),
        ('"it exists"', "{}", "is no string"),
    ], status=409),
    Case("ec2", "DescribeInstances", XML_HEADERS, INSTANCES, [
        ("instanceId>", "instanceID>", ".instanceID: unknown"),
        ("<amiLaunchIndex>0", "<amiLaunchIndex>first", "is no integer"),
        ("2026-11-24T12:00:00.000Z", "1800000000", "is no timestamp"),
        ("2026-11-24T12:00:00.000Z", "2026-11-24 12:00:00", "is no timestamp"),
        ("<ebsOptimized>false", "<ebsOptimized>False", "is no boolean"),
        ("running", "walking", "none of the model's values"),
        ("<code>16</code>", "<code>16</code><code>16</code>", "2 elements for one member"),
        ("<item><instanceId>", "<member><instanceId>", "not XML"),
        ("item>", "member>", "<member> in a list of <item>"),
        ("<item><instancesSet>", "<item>text<instancesSet>", "in a structure"),
        ("<requestId>r</requestId>", "", "requestId: 0 times"),
        ("DescribeInstancesResponse", "DescribeInstanceResponse", "where <DescribeInstancesResponse> belongs"),
        ("2016-11-15", "2011-01-01", "outside of the namespace"),
        ("<item><instancesSet>", '<item kind="new"><instancesSet>', "attributes ['kind']"),
        ("<requestId>r</requestId>", "<requestId/>", "requestId: empty"),
        ("<reservationSet>", "<reservationSet>text", "in a list"),
        ("<instanceId>i-1</instanceId>", "<instanceId><id>i-1</id></instanceId>", "in a string"),
    ]),
    Case("iam", "GetRole", XML_HEADERS, ROLE, [
        ("<Arn>a</Arn>", "", ".Arn: missing"),
        ("member>", "item>", "<item> in a list of <member>"),
        ("<Tags><member>", "<Tags><member><Kind>k</Kind>", ".Kind: unknown"),
        ("GetRoleResult", "GetRoleAnswer", "GetRoleResult: 0 times"),
        ("<RequestId>r</RequestId>", "", "ResponseMetadata/RequestId: 0 times"),
    ]),
    Case("iam", "GetRole", XML_HEADERS, NO_ROLE, [
        ("NoSuchEntity", "NoSuchRole", "no error that the model declares"),
        ("<Code>NoSuchEntity</Code>", "", "an error without a code"),
        ("<Type>Sender</Type>", "", "Type None of an error"),
        ("<Message>none</Message>", "", "an error without a message"),
    ], status=404),
]

# Spoiled beside their bodies.
SPOILED_HEADERS = [
    ("x-amz-request-id", "", "no x-amz-request-id"),
    ("last-modified", "2026-11-24T12:00:00Z", "is no timestamp"),
    ("content-length", "many", "is no long"),
    ("etag", "", "no etag"),
]


# Kinds of faults that no spoiled body shows: service, operation, status, headers, body, and words of the finding.
OTHERS = [
    ("ecs", "DescribeTasks", 200, JSON_HEADERS | {"content-type": "text/html"}, TASKS, "content type 'text/html'"),
    ("ecs", "DescribeTasks", 200, {"content-type": "application/x-amz-json-1.1"}, TASKS, "no x-amzn-requestid"),
    ("ecs", "DescribeTasks", 400, JSON_HEADERS, "<html>", "not JSON"),
    ("ecs", "DescribeTasks", 400, ECS_ERROR, '{"__type": "ClientException"}', "differs from the header's"),
    ("logs", "DeleteLogGroup", 200, JSON_HEADERS, '{"kind": 1}', "where the model has nothing"),
    ("s3", "HeadObject", 200, S3_HEADERS, "body", "a body of 4 bytes where all is in the headers"),
    ("s3", "HeadObject", 404, S3_HEADERS, "body", "an answer to HEAD with a body"),
]


def run() -> Iterator[tuple[str, bool]]:
    """Gives each check with whether it holds; the last one is whether all kinds of findings were seen in them."""
    kinds, given = _kinds_of_findings(), set()

    def watch(frame: FrameType, event: str, _: object) -> object:
        if frame.f_code.co_filename != validate.__file__:
            return None
        if event == "line":
            given.add(frame.f_lineno)
        return watch

    before = sys.gettrace()
    sys.settrace(watch)
    try:
        checks = list(_checks())
    finally:
        sys.settrace(before)
    yield from checks
    for line in sorted(kinds.keys() - given):
        yield f"a spoiled answer for: {kinds[line]}", False
    yield f"all {len(kinds)} kinds of findings were seen", kinds.keys() <= given


def _kinds_of_findings() -> dict[int, str]:
    """Where the validator says what is wrong: every `yield` of a text."""
    text = Path(validate.__file__).read_text()
    yields = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Yield)]
    texts = [node for node in yields if isinstance(node.value, ast.JoinedStr | ast.Constant)]
    return {node.lineno: ast.unparse(node.value) for node in texts}


def _checks() -> Iterator[tuple[str, bool]]:
    session = botocore.session.Session()
    for case in CASES:
        operation = session.get_service_model(case.service).operation_model(case.operation)

        def findings(text: str, case: Case = case, operation: object = operation) -> list[str]:
            if case.status == 200:
                return list(validate.answer(operation, case.headers, text.encode()))
            return list(validate.refusal(operation, case.status, case.headers, text.encode()))

        about = f"{case.service} {case.operation} {case.status}"
        yield f"{about}: nothing is found in a good answer", findings(case.good) == []
        for old, new, words in case.spoiled:
            text = case.good.replace(old, new)
            noticed = text != case.good and any(words in finding for finding in findings(text))
            yield f"{about}: {new or 'nothing'} for {old}", noticed
    head = session.get_service_model("s3").operation_model("HeadObject")
    yield "s3 HeadObject: nothing is found in good headers", not list(validate.answer(head, S3_HEADERS, b""))
    for name, value, words in SPOILED_HEADERS:
        found = list(validate.answer(head, S3_HEADERS | {name: value}, b""))
        yield f"s3 HeadObject: {name} {value!r}", any(words in finding for finding in found)
    role = session.get_service_model("iam").operation_model("GetRole")
    yield "iam GetRole: a declared error with another status", "status 400 instead of 404" in " ".join(
        validate.refusal(role, 400, XML_HEADERS, NO_ROLE.encode())
    )
    for service, name, status, headers, body, words in OTHERS:
        operation = session.get_service_model(service).operation_model(name)
        if status == 200:
            found = list(validate.answer(operation, headers, body.encode()))
        else:
            found = list(validate.refusal(operation, status, headers, body.encode()))
        yield f"{service} {name} {status}: {words}", any(words in finding for finding in found)
