"""`POST /1/upload`, as CleverTap's own clients call it and as its server answers them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import orjson

from worker.errors import InvalidRecord
from worker.producer.encoder import Rejected
from worker.settings.destination import Destination
from worker.settings.settings import Settings
from worker.vendors.clevertap.account import CleverTapAccount
from worker.vendors.protocol import Kind

from ..auth import credentials
from ..auth.credentials import Credentials
from ..server.endpoint import Endpoint, Headers, HttpResponse, Request, parameter
from ..server.errors import HttpError
from ..server.request_body import written
from .request_handler import AuthorizedRequest, RequestHandler, named

MOST_RECORDS = 1000  # vendor page "Upload Events API"
MALFORMED = "Malformed request"  # the vendor's words for HTTP 400
# Rules that the vendor's list has no code for are answered with its code for a wrong structure.
_STRUCTURE, _TOKEN_STRUCTURE = 512, 531
_TYPE = b"application/json;charset=utf-8"
# The vendor's own words where they have been recorded; ours, which name the field, come after them.
_PROFILE, _EVENT_NAME = "Profile data is incorrect. ", "Event Name is incorrect. ErrorCode: "
_RECORDED = {
    509: f"{_EVENT_NAME}509 - Event name is mandatory. ",
    513: f"{_EVENT_NAME}513 - Trying to raise a restricted system event. ",
    515: f"{_PROFILE}Email is not valid. ",
    516: f"{_PROFILE}Phone number is not valid. ",
    517: f"{_PROFILE}Employed needs to be Y/N. ",
    518: f"{_PROFILE}Education needs to be School/College/Graduate. ",
    519: f"{_PROFILE}Married needs to be Y/N. ",
    520: f"{_PROFILE}Age is invalid. ",
    525: "Timestamp should be present in the Unix Epoch format. ",
}

# Position from 1, code, text: what an answer says of a refused record beside the record itself.
Verdict = tuple[int, int, str]


class Upload(Endpoint):
    """Events, profiles and tokens, up to 1000 in a call, for one destination."""

    path = "/1/upload"
    method = "POST"

    def __init__(self, handler: RequestHandler, settings: Settings) -> None:
        self._handler = handler
        self._destinations = settings.at(CleverTapAccount)
        usual = settings.destinations[settings.default_destination]
        self._usual = usual if usual in self._destinations else None
        if self._usual is None and self._destinations:
            self._usual = self._destinations[0]

    async def answer(self, request: Request) -> HttpResponse:
        """HTTP 200 with a verdict for each record, or Refused."""
        authorized = await self._entered(request)
        dry = _is_dry_run(request)
        records = self._records(authorized.body)
        self._handler.charge(authorized, len(records))
        prepare = partial(self._handler.encoder.prepare, authorized.destination)
        validated = await self._handler.validator.validate(authorized.destination, records, prepare)
        request.seen.refused = len(validated.rejections)
        verdicts = [_verdict(records[each.position], each) for each in validated.rejections]
        if dry:
            return _response(records, verdicts)
        return _response(
            records, *await self._handler.enqueue(authorized, validated.calls, verdicts)
        )

    async def _entered(self, request: Request) -> AuthorizedRequest:
        """Let a request in: the passcode before the account, so that nobody can try accounts."""
        account = request.header(b"x-clevertap-account-id")
        secret = credentials.bearer(request.header(b"authorization"))
        if not secret:
            if not account:
                raise HttpError(401, "12 digit account ID mandatory")
            secret = request.header(b"x-clevertap-passcode")
        producer = None
        if secret:
            producer = await self._handler.known(Credentials(account, secret), self._destinations)
        if producer is None:
            raise HttpError(401, "Passcode Invalid")
        destination = self._destination(account)
        if destination is None:
            raise HttpError(401, "Account ID is not valid")
        return await self._handler.let_in(request, producer, destination)

    def _destination(self, account: str) -> Destination | None:
        if not account:
            return self._usual
        return named(self._destinations, account)

    def _records(self, body: bytes) -> list[Any]:
        try:
            envelope = self._handler.bodies.parse(body)
        except ValueError:
            raise HttpError(400, MALFORMED) from None
        records = envelope.get("d") if isinstance(envelope, dict) else None
        if not isinstance(records, list):
            raise HttpError(400, f"{MALFORMED}: needs an array d of records")
        if len(records) > MOST_RECORDS:
            raise HttpError(400, f"{MALFORMED}: d holds more than {MOST_RECORDS} records")
        return records

    def error_response(self, refused: HttpError) -> HttpResponse:
        """The vendor's answer to a request that is refused as a whole."""
        body = {"status": "fail", "error": refused.text, "code": refused.status}
        return HttpResponse(refused.status, orjson.dumps(body), refused.headers, _TYPE)


def _is_dry_run(request: Request) -> bool:
    """Whether to validate only; what is not clear is refused: the mistake would be costly."""
    given = {value.lower() for value in parameter(request.query, "dryRun")}
    if given <= {"0", "false"}:
        return False
    if given <= {"1", "true"}:
        return True
    raise HttpError(400, f"{MALFORMED}: dryRun must be 1 or 0")


def _verdict(record: Any, rejected: Rejected) -> Verdict:
    """The refusal in the vendor's form: its code, and the position, from 1, at the text's end."""
    position, error = rejected.position + 1, rejected.error
    code = error.code
    if code is None:
        is_token = isinstance(record, dict) and record.get("type") == Kind.TOKEN
        code = _TOKEN_STRUCTURE if is_token else _STRUCTURE
    words = _RECORDED.get(code, "") + _words(error)
    return position, code, f"{words}. Skipped record number : {position}"


def _words(error: InvalidRecord) -> str:
    return "; ".join(f"{field}: {' '.join(rules)}" for field, rules in error.errors.items())


def _response(
    records: Sequence[Any], verdicts: Sequence[Verdict], headers: Headers = ()
) -> HttpResponse:
    processed = len(records) - len(verdicts)
    if not verdicts:
        body = b'{"status":"success","processed":%d,"unprocessed":[]}' % processed
        return HttpResponse(200, body, headers, _TYPE)
    unprocessed = [
        {"status": "fail", "code": code, "error": text, "record": records[position - 1]}
        for position, code, text in verdicts
    ]
    status = "partial" if processed else "fail"
    told = {"status": status, "processed": processed, "unprocessed": unprocessed}
    return HttpResponse(200, written(told), headers, _TYPE)
