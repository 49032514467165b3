"""Bloomreach's tracking API: what is asked, and what became of each record. Pure: it sends nothing.

A success (HTTP 200) says nothing of the records: each command of a batch has a result of its own,
and ``success`` for the whole stays true whatever they are. Results carry the ``command_id`` of
their command, here its position in the batch. What an answer does not tell for sure is never called
delivered. All calls are queues: a record that is delivered was queued by the vendor, no more.
"""

from __future__ import annotations

import json
import re
from base64 import b64encode
from collections.abc import Mapping, Sequence
from typing import Any, Final
from urllib.parse import quote

from worker.errors import SettingsError, VendorError
from worker.vendors.protocol import (
    DELIVERED,
    Kind,
    Outcome,
    Request,
    Response,
    ResponseClass,
    UploadResult,
    Verdict,
)
from worker.vendors.reasons import DeadLetterReason
from worker.vendors.responses import (
    MAX_ERROR_CHARS,
    json_object,
    one_line,
    response_class_of,
    retry_after_s,
)
from worker.vendors.secret_headers import SecretHeaders, credential

#: Said of the whole request, with HTTP 400 (page "Tracking API authorization errors"): not a word
#: about the records, so the destination is parked. The last three come with 401 and 403.
_DENIALS: Final = re.compile(
    r"could not authenticate|invalid project id|access key not (?:provided|found)|invalid secret",
    re.IGNORECASE,
)
_ERROR_KEYS: Final = ("errors", "error", "message", "description", "_global")
_TEXTS: Final = 5  # told of one refusal; the rest says no more
_DEPTH: Final = 4
_UNCONFIRMED: Final = Verdict(
    Outcome.RETRY, DeadLetterReason.UNCONFIRMED, None, "the answer does not tell"
)


class Bloomreach:
    """One project at Bloomreach: builds its requests, reads its answers; holds no state."""

    def __init__(
        self, base_url: str, project_token: str, api_key_id: str, api_secret: str = ""
    ) -> None:
        """Private access with a secret; without one the key is a token of public access.

        ``base_url`` is scheme and host. SettingsError for what cannot stand in a header or path.
        """
        self.base_url = base_url.rstrip("/")
        token = credential("Bloomreach's project token", project_token)
        self._project = f"/track/v2/projects/{quote(token, safe='')}"
        authorization = _authorization(api_key_id, api_secret)
        self._headers = SecretHeaders(
            {"Authorization": authorization, "Content-Type": "application/json"},
            secrets=(api_key_id, api_secret, authorization.partition(" ")[2]),
        )

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.base_url!r})"

    def upload(self, kind: str, bodies: Sequence[bytes], *, dry_run: bool = False) -> Request:
        """One request for these records: a call of its own for one, a batch for several.

        VendorError for a dry run: the vendor has none, and stores whatever it is sent.
        """
        if dry_run:
            raise VendorError("Bloomreach has no dry run: it cannot be asked without storing")
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
        """The vendor's clock: told to whom our credentials open the project. It asks for no
        permission, so a lack of one (403) shows again at the next upload, not here."""
        return Request("GET", f"{self._project}/system/time", self._headers)

    def read_probe(self, response: Response) -> UploadResult:
        """The project is open again when the meaning is ANSWERED."""
        answer = self.read(Kind.EVENT, 1, response)
        if answer.response_class is ResponseClass.ANSWERED and answer.verdicts[0] is not DELIVERED:
            return UploadResult(ResponseClass.DENIED, (), response.status, answer.verdicts[0].error)
        return answer

    def read(self, kind: str, size: int, response: Response) -> UploadResult:
        """What became of the ``size`` records sent: a verdict for each, or one for the request.

        Raises nothing, whatever the answer.
        """
        del kind
        return self._headers.hidden_in(_read(size, response))


def _read(size: int, response: Response) -> UploadResult:
    body = json_object(response.content)
    response_class = response_class_of(response.status)
    error, _ = refusal(body or {})
    if response_class is ResponseClass.ANSWERED and body is None:
        return UploadResult(
            ResponseClass.GARBLED, (), response.status, "success, but no JSON object"
        )
    is_refused = response_class is ResponseClass.REFUSED or _is_refused(body or {})
    if is_refused and _DENIALS.search(error):
        response_class = ResponseClass.DENIED
    if body is None or response_class is not ResponseClass.ANSWERED:
        wait_s = retry_after_s(response.headers)
        return UploadResult(
            response_class, (), response.status, error or f"HTTP {response.status}", wait_s
        )
    return _read_one(response, body) if size == 1 else _read_batch(size, response, body)


def refusal(told_of: Mapping[str, Any]) -> tuple[str, int | None]:
    """The text and the code of a failure, in any of the shapes the vendor tells one in.

    ``errors`` as text, list, object of lists by field, or code and description; ``error``;
    ``message``. Both are empty when there is none of these.
    """
    for key in _ERROR_KEYS[:3]:
        if texts := _texts(told_of.get(key), _DEPTH):
            return one_line("; ".join(texts)[: 4 * MAX_ERROR_CHARS]), _code(told_of[key])
    return "", None


def _texts(value: Any, depth: int) -> list[str]:
    """The texts in ``value``, each with the field it is about, the first few of them."""
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
    """The texts in JSON that came as a text; of an object only what is an error by name, for the
    rest may be a record. What is no JSON is the text itself."""
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


def _code(value: Any) -> int | None:
    code = value.get("code") if isinstance(value, dict) else None
    return code if type(code) is int and 0 <= code < 10**9 else None


def _is_refused(body: Mapping[str, Any]) -> bool:
    """Whether a body is a failure of the request as a whole."""
    return body.get("success") is False and "results" not in body


def _verdict(told_of: Any) -> Verdict:
    """The verdict of one result. The vendor: "Retrying will not help, look for a mistake"."""
    if not isinstance(told_of, dict):
        return _UNCONFIRMED
    success = told_of.get("success")
    if success is True:
        return DELIVERED
    if success is not False:
        return _UNCONFIRMED
    error, code = refusal(told_of)
    return Verdict(Outcome.DEAD, DeadLetterReason.REFUSED, code, error or "refused without a word")


def _read_one(response: Response, body: Mapping[str, Any]) -> UploadResult:
    """A single call's answer; one with results is read as a batch of one."""
    if "results" in body:
        return _read_batch(1, response, body)
    verdict = _verdict(body)
    if verdict is _UNCONFIRMED:
        return UploadResult(
            ResponseClass.GARBLED, (), response.status, "success, but not in its own words"
        )
    return UploadResult(ResponseClass.ANSWERED, (verdict,), response.status)


def _read_batch(size: int, response: Response, body: Mapping[str, Any]) -> UploadResult:
    """Verdicts by command_id; a command without a result of its own is unconfirmed."""
    if _is_refused(body):
        error, _ = refusal(body)
        return UploadResult(
            ResponseClass.REFUSED, (), response.status, error or "refused without a word"
        )
    results = body.get("results")
    if not isinstance(results, list):
        return UploadResult(
            ResponseClass.GARBLED, (), response.status, "success, but `results` is no list"
        )
    verdicts = _placed(size, results)
    if body.get("success") is False:
        # The whole and its parts contradict each other: only what was refused is sure.
        verdicts = [_UNCONFIRMED if each is DELIVERED else each for each in verdicts]
    if all(verdict is _UNCONFIRMED for verdict in verdicts):
        return UploadResult(
            ResponseClass.GARBLED, (), response.status, "success, but no result for any command"
        )
    return UploadResult(ResponseClass.ANSWERED, verdicts, response.status)


def _placed(size: int, results: Sequence[Any]) -> list[Verdict]:
    """A verdict for each command, in order.

    The order of the results counts only when none of them names its command, and none is missing.
    An id that is named twice is wrong once: it tells nothing for sure.
    """
    positions = [_position(result) for result in results]
    if positions.count(None) == len(results):
        return [*map(_verdict, results)] if len(results) == size else [_UNCONFIRMED] * size
    verdicts = [_UNCONFIRMED] * size
    seen: set[int] = set()
    for position, result in zip(positions, results, strict=True):
        if position is None or not 1 <= position <= size:
            continue
        verdicts[position - 1] = _UNCONFIRMED if position in seen else _verdict(result)
        seen.add(position)
    return verdicts


def _position(result: Any) -> int | None:
    """The position that a result's command_id stands for: 0 for one that is none of ours, None for
    no id at all."""
    command_id = result.get("command_id") if isinstance(result, dict) else None
    if command_id is None:
        return None
    if type(command_id) is int:
        return command_id
    if isinstance(command_id, str) and re.fullmatch("[1-9][0-9]{0,8}", command_id):
        return int(command_id)
    return 0


def _authorization(api_key_id: str, api_secret: str) -> str:
    key = credential("Bloomreach's API key id", api_key_id)
    if not api_secret:
        return f"Token {key}"
    if ":" in key:
        raise SettingsError("Bloomreach's API key id must be without a colon")
    pair = f"{key}:{credential('Bloomreach API secret', api_secret)}"
    return "Basic " + b64encode(pair.encode()).decode()
