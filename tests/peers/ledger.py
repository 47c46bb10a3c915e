"""Drives operations and writes down what was found about each."""

import time
from collections import Counter, defaultdict
from collections.abc import Callable
from typing import Any

import validate
from botocore import xform_name
from botocore.awsrequest import AWSResponse
from botocore.client import BaseClient
from botocore.exceptions import ClientError, WaiterError
from botocore.model import OperationModel
from cloud import Cloud


class Ledger:
    """What was driven in a run, and what was found. Operations are called `service.Operation`."""

    def __init__(self) -> None:
        self.answers: Counter[str] = Counter()
        self.refusals: defaultdict[str, set[str]] = defaultdict(set)
        self.findings: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self.paged: set[str] = set()
        self.waited: set[str] = set()

    def find(self, name: str, what: str) -> None:
        self.findings[name][what] += 1

    def watch(self, client: BaseClient) -> None:
        """Has every answer to this client validated before botocore's caller sees it."""
        client.meta.events.register("after-call", self._seen)

    def _seen(self, http_response: AWSResponse, parsed: dict, model: OperationModel, **_: object) -> None:
        name = f"{model.service_model.service_name}.{model.name}"
        status, headers = http_response.status_code, http_response.headers
        if status >= 300:
            self.refusals[name].add(parsed["Error"]["Code"])
            findings = validate.refusal(model, status, headers, http_response.content)
        else:
            self.answers[name] += 1
            raw = b"" if model.has_streaming_output else http_response.content
            findings = validate.answer(model, headers, raw)
        for finding in findings:
            self.find(name, finding)


class Service:
    """One service, as a scenario drives it. Operations have AWS's own names."""

    def __init__(self, cloud: Cloud, service: str, ledger: Ledger, **options: Any) -> None:
        self.name = service
        self.ledger = ledger
        self.client = cloud.client(service, **options)
        # botocore refuses by itself much of what the cloud ought to refuse.
        self._careless = cloud.client(service, parameter_validation=False, **options)
        for client in [self.client, self._careless]:
            ledger.watch(client)

    def call(self, operation: str, **parameters: Any) -> dict:
        return getattr(self.client, xform_name(operation))(**parameters)

    def check(self, operation: str, holds: bool, otherwise: str) -> None:
        """Something that must hold of the meaning of an answer; its form is validated anyway."""
        if not holds:
            self.ledger.find(f"{self.name}.{operation}", otherwise)

    def refused(self, operation: str, code: str, **parameters: Any) -> str:
        """A call that AWS refuses with this code; gives the message."""
        try:
            getattr(self._careless, xform_name(operation))(**parameters)
        except ClientError as error:
            given = error.response["Error"]
            self.check(operation, given["Code"] == code, f"{given['Code']} ({given['Message']}) instead of {code}")
            return given["Message"]
        self.check(operation, False, f"taken, and not refused with {code}: {parameters}")
        return ""

    def pages(self, operation: str, size: int, at_least: int = 2, **parameters: Any) -> list:
        """All entries, in pages of `size`, which have to be what one page holds."""
        paginator = self.client.get_paginator(xform_name(operation))
        [key] = [key.expression for key in paginator.result_keys][:1]
        whole = paginator.paginate(**parameters).build_full_result().get(key, [])
        pages = list(paginator.paginate(**parameters, PaginationConfig={"PageSize": size}))
        entries = [entry for page in pages for entry in page.get(key, [])]
        self.check(operation, len(pages) >= at_least, f"{len(pages)} pages of {size}, not {at_least} of them")
        self.check(operation, entries == whole, f"{len(entries)} entries in pages differ from {len(whole)} at once")
        self.check(operation, all(len(page.get(key, [])) <= size for page in pages), f"a page of more than {size}")
        self.ledger.paged.add(f"{self.name}.{operation}")
        return entries

    def until(self, operation: str, wanted: Callable[[dict], bool], **parameters: Any) -> dict:
        """Asks until the answer is the wanted one, where botocore has no waiter for it."""
        answer = self.call(operation, **parameters)
        for _ in range(100):
            if wanted(answer):
                return answer
            time.sleep(0.05)
            answer = self.call(operation, **parameters)
        raise TimeoutError(f"{operation} {parameters}: still {answer}")

    def wait(self, waiter: str, **parameters: Any) -> None:
        """botocore's waiter, which knows the states and errors to expect on the way."""
        waiting = self.client.get_waiter(waiter)
        self.ledger.waited.add(f"{self.name}.{waiter}")
        try:
            waiting.wait(**parameters, WaiterConfig={"Delay": 1, "MaxAttempts": 10})
        except WaiterError as error:
            self.check(waiting.config.operation, False, f"waiter {waiter}: {error}")
