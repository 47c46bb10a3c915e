"""What AWS documents, moto lacks, and the provisioner stands on: done in front of moto's server, on loopback.

Each mend is an entry of `GAPS`, which docs/peers.md repeats with who is right and why. `still_needed` asks moto without
the mends, so one that moto has closed fails the run and is taken out.
"""

import http.client
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, parse_qsl, urlencode, urlsplit
from xml.etree import ElementTree

from botocore.exceptions import ClientError
from botocore.parsers import ResponseParserError
from cloud import Cloud

GAPS = {
    "DescribeCapacityReservations": "moto doesn't know the operation: an empty list is answered",
    "CreateFleet, ClientToken": "moto launches again for a token that it has seen: the first answer is given again",
    "CreateFleet, aws:ec2launchtemplate": "moto gives a fleet's instances no tags that name their template: they are added",
    "DescribeInstances, spotInstanceRequestId": "moto doesn't say which request brought an instance, and forgets a "
    "request when it is cancelled: the id is put in",
}

_NO_RESERVATIONS = (
    b'<DescribeCapacityReservationsResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15/">'
    b"<requestId>filter</requestId><capacityReservationSet/></DescribeCapacityReservationsResponse>"
)
INSTANCE = re.compile("<instanceId>(i-[0-9a-f]+)</instanceId>")
_XML = [("Content-Type", "text/xml;charset=UTF-8")]


class _Filter(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, behind: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.behind = urlsplit(behind).netloc
        self.fleets: dict[str, tuple[int, list[tuple[str, str]], bytes]] = {}
        self.requests: dict[str, str] = {}  # by the instance that it brought


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Filter

    def _serve(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        is_form = self.headers.get("Content-Type", "").startswith("application/x-www-form-urlencoded")
        action = parse_qs(body.decode()).get("Action", [""])[0] if is_form else ""
        if action == "DescribeCapacityReservations":
            self._answer(200, _XML, _NO_RESERVATIONS)
        elif action == "CreateFleet":
            self._answer(*self._fleet(body))
        elif action == "DescribeSpotInstanceRequests":
            status, headers, text = self._ask(body)
            if status == 200:
                self._learn_requests(text.decode())
            self._answer(status, headers, text)
        elif action == "DescribeInstances":
            status, headers, text = self._ask(body)
            self._answer(status, headers, INSTANCE.sub(self._with_request, text.decode()).encode())
        else:
            self._answer(*self._ask(body))

    do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = _serve

    def _fleet(self, body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
        form = dict(parse_qsl(body.decode()))
        token = form.get("ClientToken", "")
        if token not in self.server.fleets:
            answer = self._ask(urlencode(form | _template_tags(form)).encode())
            if not token or answer[0] != 200:
                return answer
            self.server.fleets[token] = answer
        return self.server.fleets[token]

    def _learn_requests(self, text: str) -> None:
        for entry in ElementTree.fromstring(text).iterfind(".//{*}spotInstanceRequestSet/{*}item"):
            request, instance = entry.findtext("{*}spotInstanceRequestId"), entry.findtext("{*}instanceId")
            if request and instance:
                self.server.requests[instance] = request

    def _with_request(self, instance: re.Match) -> str:
        request = self.server.requests.get(instance[1])
        return instance[0] + (f"<spotInstanceRequestId>{request}</spotInstanceRequestId>" if request else "")

    def _ask(self, body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
        connection = http.client.HTTPConnection(self.server.behind, timeout=60)
        try:
            own = {"host", "content-length", "connection", "transfer-encoding"}
            headers = {name: value for name, value in self.headers.items() if name.lower() not in own}
            connection.request(self.command, self.path, body, headers)
            answer = connection.getresponse()
            kept = [(name, value) for name, value in answer.getheaders() if name.lower() not in own]
            return answer.status, kept, answer.read()
        finally:
            connection.close()

    def _answer(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing: what matters is in the scenario's findings."""


def _template_tags(form: dict[str, str]) -> dict[str, str]:
    """More of the request's tag specifications: AWS puts these two on what a template launched."""
    given = {name.split(".")[1] for name in form if name.startswith("TagSpecification.")}
    prefix = f"TagSpecification.{len(given) + 1}"
    specification = "LaunchTemplateConfigs.1.LaunchTemplateSpecification"
    return {
        f"{prefix}.ResourceType": "instance",
        f"{prefix}.Tag.1.Key": "aws:ec2launchtemplate:id",
        f"{prefix}.Tag.1.Value": form.get(f"{specification}.LaunchTemplateId", ""),
        f"{prefix}.Tag.2.Key": "aws:ec2launchtemplate:version",
        f"{prefix}.Tag.2.Value": form.get(f"{specification}.Version", ""),
    }


@contextmanager
def mended(moto: Cloud) -> Iterator[Cloud]:
    """The same cloud without its gaps."""
    server = _Filter(moto.url)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield Cloud(f"http://127.0.0.1:{server.server_address[1]}")
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def still_needed(moto: Cloud) -> Iterator[tuple[str, bool]]:
    """Asks moto itself. Gives each gap with whether moto still has it."""
    ec2 = moto.client("ec2", read_timeout=60)  # The first call loads more than a thousand images.
    yield "DescribeCapacityReservations", _fails(ec2.describe_capacity_reservations)
    image = ec2.describe_images()["Images"][0]["ImageId"]
    data = {"ImageId": image, "InstanceType": "c5.large"}
    template = ec2.create_launch_template(LaunchTemplateName="gaps", LaunchTemplateData=data)["LaunchTemplate"]
    order = {
        "ClientToken": "once",
        "LaunchTemplateConfigs": [{"LaunchTemplateSpecification": {"LaunchTemplateId": template["LaunchTemplateId"], "Version": "1"}}],
        "TargetCapacitySpecification": {"TotalTargetCapacity": 1, "DefaultTargetCapacityType": "on-demand"},
        "Type": "instant",
    }
    fleets = [ec2.create_fleet(**order) for _ in range(2)]
    yield "CreateFleet, ClientToken", fleets[0]["FleetId"] != fleets[1]["FleetId"]
    ids = [one for fleet in fleets for part in fleet["Instances"] for one in part["InstanceIds"]]
    [reservation, *_] = ec2.describe_instances(InstanceIds=ids)["Reservations"]
    tags = {tag["Key"] for tag in reservation["Instances"][0].get("Tags", [])}
    yield "CreateFleet, aws:ec2launchtemplate", "aws:ec2launchtemplate:id" not in tags
    ec2.delete_fleets(FleetIds=[fleet["FleetId"] for fleet in fleets], TerminateInstances=True)
    ec2.terminate_instances(InstanceIds=ids)
    ec2.delete_launch_template(LaunchTemplateId=template["LaunchTemplateId"])
    [request] = ec2.request_spot_instances(LaunchSpecification=data)["SpotInstanceRequests"]
    instance = request["InstanceId"]
    [shown] = ec2.describe_instances(InstanceIds=[instance])["Reservations"]
    yield "DescribeInstances, spotInstanceRequestId", "SpotInstanceRequestId" not in shown["Instances"][0]
    ec2.cancel_spot_instance_requests(SpotInstanceRequestIds=[request["SpotInstanceRequestId"]])
    ec2.terminate_instances(InstanceIds=[instance])


def _fails(call: Callable[[], object]) -> bool:
    try:
        call()
    except (ClientError, ResponseParserError):
        return True
    return False
