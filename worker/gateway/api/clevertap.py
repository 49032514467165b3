"""`POST /1/upload`, compatible with CleverTap's own clients and server."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson

from worker.producer.encoder import Rejected
from worker.settings.settings import Settings
from worker.vendors.clevertap.account import CleverTapAccount
from worker.vendors.protocol import Kind

from ..auth import credentials
from ..auth.credentials import Credentials
from ..server.endpoint import Endpoint, Headers, HttpError, HttpRequest, HttpResponse, parameter
from ..server.request_body import dump_json
from .request_handler import AuthorizedRequest, RequestHandler, find_destination

MAX_RECORDS = 1000  # vendor page "Upload Events API"
MALFORMED = "Malformed request"  # the vendor's text for HTTP 400
# A rule without a vendor code is answered with the vendor's code for a wrong structure.
_STRUCTURE, _TOKEN_STRUCTURE = 512, 531
_TYPE = b"application/json;charset=utf-8"
# The vendor's own texts where they have been recorded; ours, which name the field, follow them.
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

# A rejected record's position from 1, code and text; the record itself is in the request.
RecordError = tuple[int, int, str]


class CleverTapUpload(Endpoint):
    """Events, profiles and tokens, up to 1000 in a call, for one destination."""

    path = "/1/upload"
    method = "POST"

    def __init__(self, handler: RequestHandler, settings: Settings) -> None:
        self._handler = handler
        self._destinations = settings.at(CleverTapAccount)
        default = settings.destinations[settings.default_destination]
        choices = [default] if default in self._destinations else self._destinations
        self._default = next(iter(choices), None)

    async def handle(self, request: HttpRequest) -> HttpResponse:
        authorized = await self._authorized(request)
        dry_run = _is_dry_run(request)
        records = self._records(authorized.body)
        batches, rejections = await self._handler.validate(authorized, records)
        errors = [_record_error(records[each.position], each) for each in rejections]
        if dry_run:
            return _response(records, errors)
        return _response(records, *await self._handler.enqueue(authorized, batches, errors))

    async def _authorized(self, request: HttpRequest) -> AuthorizedRequest:
        """Check the passcode before the account, so that no one can probe for accounts."""
        account = request.header(b"x-clevertap-account-id")
        secret = credentials.bearer(request.header(b"authorization"))
        if not secret:
            if not account:
                raise HttpError(401, "12 digit account ID mandatory")
            secret = request.header(b"x-clevertap-passcode")
        producer = None
        if secret:
            presented = Credentials(account, secret)
            producer = await self._handler.authenticate(presented, self._destinations)
        if producer is None:
            raise HttpError(401, "Passcode Invalid")
        destination = find_destination(self._destinations, account) if account else self._default
        if destination is None:
            raise HttpError(401, "Account ID is not valid")
        return await self._handler.authorize(request, producer, destination)

    def _records(self, body: bytes) -> list[Any]:
        try:
            envelope = self._handler.bodies.parse(body)
        except ValueError:
            raise HttpError(400, MALFORMED) from None
        records = envelope.get("d") if isinstance(envelope, dict) else None
        if not isinstance(records, list):
            raise HttpError(400, f"{MALFORMED}: needs an array d of records")
        if len(records) > MAX_RECORDS:
            raise HttpError(400, f"{MALFORMED}: d holds more than {MAX_RECORDS} records")
        return records

    def error_response(self, error: HttpError) -> HttpResponse:
        """Return the vendor's response to a request that fails as a whole."""
        body = {"status": "fail", "error": error.text, "code": error.status}
        return HttpResponse(error.status, orjson.dumps(body), error.headers, _TYPE)


def _is_dry_run(request: HttpRequest) -> bool:
    """Return whether to validate only; an unclear value is an error: guessing would be costly."""
    given = {value.lower() for value in parameter(request.query, "dryRun")}
    if given <= {"0", "false"}:
        return False
    if given <= {"1", "true"}:
        return True
    raise HttpError(400, f"{MALFORMED}: dryRun must be 1 or 0")


def _record_error(record: Any, rejected: Rejected) -> RecordError:
    """Report a rejection in the vendor's form: with its code, and the position at the end."""
    position, error = rejected.position + 1, rejected.error
    code = error.code
    if code is None:
        is_token = isinstance(record, dict) and record.get("type") == Kind.TOKEN
        code = _TOKEN_STRUCTURE if is_token else _STRUCTURE
    rules = "; ".join(f"{field}: {' '.join(texts)}" for field, texts in error.errors.items())
    return position, code, f"{_RECORDED.get(code, '')}{rules}. Skipped record number : {position}"


def _response(
    records: Sequence[Any], errors: Sequence[RecordError], headers: Headers = ()
) -> HttpResponse:
    processed = len(records) - len(errors)
    if not errors:
        body = b'{"status":"success","processed":%d,"unprocessed":[]}' % processed
        return HttpResponse(200, body, headers, _TYPE)
    unprocessed = [
        {"status": "fail", "code": code, "error": text, "record": records[position - 1]}
        for position, code, text in errors
    ]
    status = "partial" if processed else "fail"
    answer = {"status": status, "processed": processed, "unprocessed": unprocessed}
    return HttpResponse(200, dump_json(answer), headers, _TYPE)
