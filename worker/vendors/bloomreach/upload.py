"""Bloomreach's tracking API: requests, and what became of each record. Pure: it sends nothing.

A success (HTTP 200) says nothing of the records: each command of a batch has a result of its own,
and ``success`` for the whole stays true whatever they are. Results carry the ``command_id`` of
their command, here its position in the batch. A record is delivered only if the response leaves no
doubt about it. All calls are queues: "delivered" means that the vendor queued the record, no more.
"""

from __future__ import annotations

import json
import re
from base64 import b64encode
from collections.abc import Mapping, Sequence
from typing import Any, Final
from urllib.parse import quote

from worker.errors import SettingsError, VendorError

from ..protocol import (
    DELIVERED,
    UNCONFIRMED,
    Kind,
    Outcome,
    Request,
    Response,
    ResponseClass,
    UploadResult,
    Verdict,
)
from ..reasons import DeadLetterReason
from ..responses import MAX_ERROR_CHARS, failure, garbled, one_line, open_upload
from ..secret import SecretHeaders, credential

#: Said of the whole request, with HTTP 400 (page "Tracking API authorization errors"): not a word
#: about the records, so the destination is parked. The last three come with 401 and 403.
_DENIALS: Final = re.compile(
    r"could not authenticate|invalid project id|access key not (?:provided|found)|invalid secret",
    re.IGNORECASE,
)
_ERROR_KEYS: Final = ("errors", "error", "message", "description", "_global")
_TEXTS: Final = 5  # quoted of one refusal; the rest adds nothing
_DEPTH: Final = 4
_NO_REASON: Final = "refused without a reason"


class Bloomreach:
    """One project at Bloomreach: builds its requests, reads its responses; holds no state."""

    def __init__(
        self, base_url: str, project_token: str, api_key_id: str, api_secret: str = ""
    ) -> None:
        """Without a secret the key is a token of public access; ``base_url`` is scheme and host.

        Raises SettingsError for what cannot stand in a header or path.
        """
        self.base_url = base_url.rstrip("/")
        token = credential("Bloomreach's project token", project_token)
        self._project = f"/track/v2/projects/{quote(token, safe='')}"
        authorization = _authorization(api_key_id, api_secret)
        self._headers = SecretHeaders(
            {"Authorization": authorization, "Content-Type": "application/json"},
            secrets=(api_key_id, api_secret, authorization.partition(" ")[2]),
        )

    def upload(self, kind: str, bodies: Sequence[bytes], *, dry_run: bool = False) -> Request:
        """Return one request: a call of its own for one record, a batch for several.

        VendorError for a dry run: the vendor has none and stores whatever it is sent.
        """
        if dry_run:
            raise VendorError("Bloomreach has no dry run: it stores whatever it is sent")
        name = "customers/events" if kind == Kind.EVENT else "customers"
        if len(bodies) == 1:
            return Request("POST", f"{self._project}/{name}", self._headers, bodies[0])
        commands = b",".join(
            b'{"name":"%b","command_id":"%d","data":%b}' % (name.encode(), position, body)
            for position, body in enumerate(bodies, 1)
        )
        content = b'{"commands":[' + commands + b"]}"
        return Request("POST", f"{self._project}/batch", self._headers, content)

    def probe(self) -> Request:
        """Return a request for the vendor's clock, which needs valid credentials.

        It needs no permission, so a lack of one (403) shows at the next upload, not here.
        """
        return Request("GET", f"{self._project}/system/time", self._headers)

    def read_probe(self, response: Response) -> UploadResult:
        """Return ANSWERED when the project is open again."""
        result = self.read(Kind.EVENT, 1, response)
        if result.verdicts and result.verdicts[0] is not DELIVERED:
            return UploadResult(ResponseClass.DENIED, (), response.status, result.verdicts[0].error)
        return result

    def read(self, kind: str, size: int, response: Response) -> UploadResult:
        """Return a verdict for each of the ``size`` records sent, or one for the request."""
        del kind
        return self._headers.hidden_in(_read(size, response))


def _read(size: int, response: Response) -> UploadResult:
    result, body = open_upload(response, lambda body: _refusal(body)[0])
    is_refused = body.get("success") is False and "results" not in body
    error = result.error if result else _refusal(body)[0] if is_refused else ""
    is_refusal = is_refused or (result and result.response_class is ResponseClass.REFUSED)
    if is_refusal and _DENIALS.search(error):
        return failure(response, ResponseClass.DENIED, error)
    if result is not None:
        return result
    if is_refused and size > 1:
        return UploadResult(ResponseClass.REFUSED, (), response.status, error or _NO_REASON)
    verdicts: Sequence[Verdict]
    if size == 1 and "results" not in body:
        verdicts, flaw = (_verdict(body),), "not in the documented form"
    elif isinstance(results := body.get("results"), list):
        verdicts, flaw = _placed(size, results), "no result for any command"
    else:
        return garbled(response, "success, but `results` is not a list")
    if body.get("success") is False:
        # The whole and its parts contradict each other: only what was refused is sure.
        verdicts = [UNCONFIRMED if each is DELIVERED else each for each in verdicts]
    if all(verdict is UNCONFIRMED for verdict in verdicts):
        return garbled(response, f"success, but {flaw}")
    return UploadResult(ResponseClass.ANSWERED, verdicts, response.status)


def _refusal(failed: Mapping[str, Any]) -> tuple[str, int | None]:
    """Return the text and the code of a failure, in any of the shapes that the vendor uses.

    ``errors`` as text, list, object of lists by field, or code and description; ``error``;
    ``message``. Both are empty when there is none of these.
    """
    for key in _ERROR_KEYS[:3]:
        value = failed.get(key)
        if texts := _texts(value, _DEPTH):
            code = value.get("code") if isinstance(value, dict) else None
            is_code = type(code) is int and 0 <= code < 10**9
            return one_line("; ".join(texts)[: 4 * MAX_ERROR_CHARS]), code if is_code else None
    return "", None


def _texts(value: Any, depth: int) -> list[str]:
    """Return the first few texts in ``value``, each with the field it is about."""
    if isinstance(value, str):
        return _texts_in(value, depth)
    if depth == 0 or not value:
        return []
    if isinstance(value, list):
        return [text for each in value[:_TEXTS] for text in _texts(each, depth - 1)][:_TEXTS]
    if not isinstance(value, dict):
        return []
    if description := _texts(value.get("description"), 1) or _texts(value.get("message"), 1):
        return description
    found = []
    for field, inner in list(value.items())[:_TEXTS]:
        prefix = "" if field in {"_global", "code"} else f"{one_line(field)}: "
        found += [prefix + text for text in _texts(inner, depth - 1)]
    return found[:_TEXTS]


def _texts_in(text: str, depth: int) -> list[str]:
    """Return the texts in JSON that came as a text, else the text itself.

    Of an object only what is an error by name counts, for the rest may be a record.
    """
    if depth and text.lstrip()[:1] in ("[", "{"):
        try:
            value = json.loads(text)
        except (ValueError, RecursionError):
            value = None
        if isinstance(value, dict):
            value = [value[key] for key in _ERROR_KEYS if key in value][:1]
        if found := _texts(value, depth - 1):
            return found
    return [line] if (line := one_line(text)) else []


def _verdict(result: Any) -> Verdict:
    """Return one result's verdict. The vendor: "Retrying will not help, look for a mistake"."""
    success = result.get("success") if isinstance(result, dict) else None
    if success is not False:
        return DELIVERED if success is True else UNCONFIRMED
    error, code = _refusal(result)
    return Verdict(Outcome.DEAD, DeadLetterReason.REFUSED, code, error or _NO_REASON)


def _placed(size: int, results: Sequence[Any]) -> list[Verdict]:
    """Return a verdict for each command, in order.

    The order of the results counts only if none of them names its command and none is missing. An
    id that is named twice is wrong once, so it proves nothing.
    """
    positions = [_position(result) for result in results]
    if positions.count(None) == len(results):
        return [*map(_verdict, results)] if len(results) == size else [UNCONFIRMED] * size
    verdicts = [UNCONFIRMED] * size
    seen: set[int] = set()
    for position, result in zip(positions, results, strict=True):
        if position is not None and 1 <= position <= size:
            verdicts[position - 1] = UNCONFIRMED if position in seen else _verdict(result)
            seen.add(position)
    return verdicts


def _position(result: Any) -> int | None:
    """Return the position in a result's command_id: 0 if it is not ours, None without an id."""
    command_id = result.get("command_id") if isinstance(result, dict) else None
    if command_id is None or type(command_id) is int:
        return command_id
    is_ours = isinstance(command_id, str) and re.fullmatch("[1-9][0-9]{0,8}", command_id)
    return int(command_id) if is_ours else 0


def _authorization(api_key_id: str, api_secret: str) -> str:
    key = credential("Bloomreach's API key id", api_key_id)
    if not api_secret:
        return f"Token {key}"
    if ":" in key:
        raise SettingsError("Bloomreach's API key id must be without a colon")
    pair = f"{key}:{credential('Bloomreach API secret', api_secret)}"
    return "Basic " + b64encode(pair.encode()).decode()
