"""Acme, a third vendor: all that one brings along - account, schema, upload API, and a route.

Its API takes ``{"rows": [...]}`` with a token in a header and answers ``{"refused": [positions]}``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import orjson
from starlette.routing import BaseRoute, Route

from worker.errors import InvalidRecord
from worker.gateway.api.request_handler import find_destination
from worker.gateway.app import Components
from worker.gateway.auth.credentials import Credentials, bearer
from worker.gateway.server.endpoint import Endpoint, HttpError, HttpRequest, HttpResponse
from worker.vendors.protocol import (
    DELIVERED,
    Kind,
    Outcome,
    Prepared,
    Request,
    Response,
    ResponseClass,
    UploadResult,
    VendorAccount,
    Verdict,
)
from worker.vendors.reasons import DeadLetterReason
from worker.vendors.responses import json_object, response_class_of
from worker.vendors.secret import NO_SECRET, Secret, SecretHeaders

NO_USER_CODE = 7
REFUSED = Verdict(Outcome.DEAD, DeadLetterReason.REFUSED, NO_USER_CODE, "no such user")


@dataclass(frozen=True, slots=True)
class AcmeAccount(VendorAccount):
    """An account at Acme: a token, and the name it gives to who did something."""

    vendor = "acme"
    kinds = (Kind.EVENT,)
    credentials = ("token",)
    max_records = 10
    fields_by_code: ClassVar = {NO_USER_CODE: "user"}

    token: Secret = NO_SECRET
    user_field: str = "user"

    def gateway_credentials(self) -> tuple[str | None, str]:
        """Return the token: all that Acme's clients send."""
        return None, self.token.reveal()

    def schema(self) -> AcmeSchema:
        """Return the schema."""
        return AcmeSchema(self.user_field)

    def adapter(self, base_url: str) -> Acme:
        """Return the upload API."""
        return Acme(base_url, self.token.reveal())


class AcmeSchema:
    """Rows with a user and an action."""

    def __init__(self, user_field: str) -> None:
        self._user = user_field

    def prepare(self, record: Mapping[str, Any], *, now_s: float) -> Prepared:
        """Check a row and serialise it."""
        if not record.get(self._user):
            raise InvalidRecord({self._user: ["is required"]}, NO_USER_CODE)
        identity = str(record[self._user]).encode()
        return Prepared(Kind.EVENT, orjson.dumps(record), identity, int(now_s), record["action"])

    def event(
        self, name: str, properties: Mapping[str, Any], *, ids: Mapping[str, str], ts: int | None
    ) -> dict[str, Any]:
        """Return an event as a row."""
        return {self._user: ids.get("identity"), "action": name, "at": ts, **(properties or {})}

    def profile(
        self, properties: Mapping[str, Any], *, ids: Mapping[str, str], ts: int | None
    ) -> dict[str, Any]:
        """Refuse: Acme has no profiles."""
        raise InvalidRecord({"record": ["Acme has no profiles"]})


class Acme:
    """Acme's upload API."""

    def __init__(self, base_url: str, token: str) -> None:
        self.base_url = base_url
        self._headers = SecretHeaders({"X-Acme-Token": token}, secrets=(token,))

    def upload(self, kind: str, bodies: Sequence[bytes], *, dry_run: bool = False) -> Request:
        """Return the request for one batch."""
        del kind, dry_run
        return Request("POST", "/rows", self._headers, b'{"rows":[%b]}' % b",".join(bodies))

    def read(self, kind: str, size: int, response: Response) -> UploadResult:
        """Return a verdict for each row."""
        del kind
        found = response_class_of(response.status)
        if found is not ResponseClass.ANSWERED:
            return UploadResult(found, (), response.status, f"HTTP {response.status}")
        refused = (json_object(response.content) or {})["refused"]
        verdicts = [REFUSED if position in refused else DELIVERED for position in range(size)]
        return UploadResult(found, verdicts, response.status)

    def probe(self) -> Request:
        """Return an empty upload."""
        return self.upload(Kind.EVENT, ())

    def read_probe(self, response: Response) -> UploadResult:
        """Return what became of it."""
        return self.read(Kind.EVENT, 0, response)


class Rows(Endpoint):
    """`POST /acme/{account}/rows`, as Acme's clients call it."""

    path = "/acme/{account}/rows"
    method = "POST"

    def __init__(self, parts: Components) -> None:
        self._handler = parts.handler
        self._destinations = parts.settings.at(AcmeAccount)

    async def handle(self, request: HttpRequest) -> HttpResponse:
        """Answer as Acme does: the positions that were refused."""
        shown = bearer(request.header(b"authorization"))
        producer = await self._handler.authenticate(Credentials("", shown), self._destinations)
        destination = find_destination(self._destinations, request.scope["path_params"]["account"])
        if producer is None or destination is None:
            raise HttpError(401, "no such token")
        authorized = await self._handler.authorize(request, producer, destination)
        rows = self._handler.bodies.parse(authorized.body)["rows"]
        batches, rejections = await self._handler.validate(authorized, rows)
        positions = [each.position for each in rejections]
        refused, headers = await self._handler.enqueue(authorized, batches, positions)
        return HttpResponse(200, orjson.dumps({"refused": refused}), headers)


def acme_routes(components: Components) -> Sequence[BaseRoute]:
    """Return Acme's routes; `create_app` takes them beside the others."""
    return [Route(Rows.path, Rows(components))]
