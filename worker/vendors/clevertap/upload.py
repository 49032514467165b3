"""CleverTap's upload API: what is asked, and what became of each record. Pure: it sends nothing.

An answer names the records it did not take by their position in the request, in words:
``Skipped record number : 2`` is the second. The record it echoes is not always the one that was
sent (8 of 18 recorded echoes differ: a phone number comes back as a number), so echoes are never
looked at. What an answer does not tell for sure is never called delivered.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from worker.vendors.protocol import (
    DELIVERED,
    Outcome,
    Request,
    Response,
    ResponseClass,
    UploadResult,
    Verdict,
)
from worker.vendors.reasons import DeadLetterReason
from worker.vendors.responses import (
    error_text,
    json_object,
    one_line,
    response_class_of,
    retry_after_s,
)
from worker.vendors.secret_headers import SecretHeaders, credential

#: Codes of the page "Errors" that another attempt cannot change; 528 until someone allows the
#: event again. The vendor calls none of them permanent or passing: that is our reading.
PERMANENT_CODES: Final = frozenset((509, *range(512, 521), *range(522, 527), 528, *range(530, 536)))
SERVER_ERROR_CODE: Final = 555

#: A success (HTTP 200) may carry a failure of the whole request as its code, and no counts.
_WHOLE_REQUEST_CODES: Final = frozenset(
    (400, 401, 402, 403, 404, 405, 413, 429, 500, 502, 503, 504)
)

_POSITION: Final = re.compile(r"\s*Skipped record number\s*:\s*([0-9]{1,9})[\s.]*$")
_CODE_IN_TEXT: Final = re.compile(r"ErrorCode\s*:\s*([0-9]{3,5})\b")

_UNCONFIRMED: Final = Verdict(
    Outcome.RETRY, DeadLetterReason.UNCONFIRMED, None, "the answer does not tell"
)
_PROBE: Final = (
    b'{"identity":"ingestion-probe","type":"event","evtName":"Ingestion probe","evtData":{}}'
)


class CleverTap:
    """One account at CleverTap: builds its requests, reads its answers; holds no state."""

    def __init__(self, base_url: str, account_id: str, passcode: str) -> None:
        """``base_url`` is scheme and host, without ``/1``; SettingsError for unusable headers."""
        self.base_url = base_url.rstrip("/")
        self._headers = SecretHeaders(
            {
                "X-CleverTap-Account-Id": credential("CleverTap's account id", account_id),
                "X-CleverTap-Passcode": credential("CleverTap's passcode", passcode),
                "Content-Type": "application/json; charset=utf-8",
            },
            secrets=(passcode,),
        )

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.base_url!r})"

    def upload(self, kind: str, bodies: Sequence[bytes], *, dry_run: bool = False) -> Request:
        """One request for these records, in this order; a dry run is validated and not stored.

        ``kind`` makes no difference here: all kinds share the address.
        """
        del kind
        path = "/1/upload?dryRun=1" if dry_run else "/1/upload"
        content = b"".join((b'{"d":[', b",".join(bodies), b"]}"))
        return Request("POST", path, self._headers, content)

    def probe(self) -> Request:
        """A dry run of one harmless record: does the account answer at all?"""
        return self.upload("event", (_PROBE,), dry_run=True)

    def read_probe(self, response: Response) -> UploadResult:
        """The account works again when the meaning is ANSWERED, whatever became of the record."""
        return self.read("event", 1, response)

    def read(self, kind: str, size: int, response: Response) -> UploadResult:
        """What became of the ``size`` records sent: a verdict for each, or one for the request.

        Raises nothing, whatever the answer.
        """
        del kind
        return self._headers.hidden_in(_read(size, response))


def _read(size: int, response: Response) -> UploadResult:
    body = json_object(response.content)
    response_class = response_class_of(response.status)
    if response_class is not ResponseClass.ANSWERED:
        return _whole(response_class, response, body)
    if body is None:
        return UploadResult(
            ResponseClass.GARBLED, (), response.status, "success, but no JSON object"
        )
    if (code := _whole_request_code(body)) is not None:
        return _whole(response_class_of(code), response, body)
    return _read_success(size, response.status, body)


def _whole(
    response_class: ResponseClass, response: Response, body: dict[str, Any] | None
) -> UploadResult:
    error = error_text(body.get("error")) if body else ""
    wait_s = retry_after_s(response.headers)
    return UploadResult(
        response_class, (), response.status, error or f"HTTP {response.status}", wait_s
    )


def _whole_request_code(body: Mapping[str, Any]) -> int | None:
    """The HTTP-like code of a failure that says nothing of records, or None."""
    code = _number(body.get("code"))
    if "processed" in body or "unprocessed" in body or body.get("status") != "fail":
        return None
    return code if code in _WHOLE_REQUEST_CODES else None


def _read_success(size: int, status: int, body: Mapping[str, Any]) -> UploadResult:
    """Verdicts by position; what neither a position nor the counts make sure is unconfirmed."""
    entries = body.get("unprocessed")
    entries = [] if entries is None else entries
    if not isinstance(entries, list):
        return UploadResult(
            ResponseClass.GARBLED, (), status, "success, but `unprocessed` is no list"
        )
    named, unplaced = _placed(size, entries)
    others = _of_the_others(size, body, entries, unplaced)
    if others is _UNCONFIRMED and all(verdict is _UNCONFIRMED for verdict in named.values()):
        return UploadResult(
            ResponseClass.GARBLED, (), status, "success, but the counts do not add up"
        )
    verdicts = [others] * size
    for position, verdict in named.items():
        verdicts[position - 1] = verdict
    return UploadResult(ResponseClass.ANSWERED, verdicts, status)


def _placed(size: int, entries: Sequence[Any]) -> tuple[dict[int, Verdict], list[Verdict]]:
    """The verdict of each position that is named, and the verdicts that name none of ours.

    A position that is named twice is wrong once: it tells nothing for sure.
    """
    named: dict[int, Verdict] = {}
    unplaced: list[Verdict] = []
    for entry in entries:
        position, verdict = _read_entry(entry)
        if not 1 <= position <= size:
            unplaced.append(verdict)
        elif position in named:
            named[position] = _UNCONFIRMED
            unplaced.append(_UNCONFIRMED)
        else:
            named[position] = verdict
    return named, unplaced


def _of_the_others(
    size: int, body: Mapping[str, Any], entries: Sequence[Any], unplaced: Sequence[Verdict]
) -> Verdict:
    """The verdict of every record that is not named.

    Delivered when each entry names a record, the counts agree, and the word for the whole does
    not contradict them. When nothing was taken and all that is unplaced says the same, each of
    the others was refused with just that. Unconfirmed in every other case.
    """
    processed, word = body.get("processed"), body.get("status")
    if type(processed) is not int or processed < 0 or processed + len(entries) != size:
        return _UNCONFIRMED
    if unplaced:
        all_refused = processed == 0 and word in ("fail", None)
        return unplaced[0] if all_refused and len(set(unplaced)) == 1 else _UNCONFIRMED
    if word == "partial":
        return DELIVERED if entries else _UNCONFIRMED
    return DELIVERED if word in ("success", None) else _UNCONFIRMED


def _read_entry(entry: Any) -> tuple[int, Verdict]:
    """The position (0: not told) and the verdict of one entry of ``unprocessed``.

    The position is cut off the text: dead letters are grouped by it.
    """
    if not isinstance(entry, dict):
        return 0, _UNCONFIRMED
    text = entry.get("error")
    text = text if isinstance(text, str) else ""
    match = _POSITION.search(text[-200:])
    code = _number(entry.get("code"))
    if code is None and (in_text := _CODE_IN_TEXT.search(text[:200])):
        code = int(in_text[1])
    error = one_line(text[: len(text) - len(match[0])] if match else text)
    return int(match[1]) if match else 0, _verdict(code, error)


def _verdict(code: int | None, error: str) -> Verdict:
    if code in PERMANENT_CODES:
        return Verdict(Outcome.DEAD, DeadLetterReason.REFUSED, code, error)
    if code == SERVER_ERROR_CODE:
        return Verdict(Outcome.RETRY, DeadLetterReason.SERVER_ERROR, code, error)
    return Verdict(Outcome.RETRY, DeadLetterReason.UNKNOWN_CODE, code, error)


def _number(value: Any) -> int | None:
    """A code as an integer, also when it comes as a string."""
    if type(value) is int:
        return value
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 9:
        return int(value)
    return None
