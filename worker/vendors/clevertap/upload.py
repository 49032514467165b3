"""CleverTap's upload API: requests, and what became of each record. Pure: it sends nothing.

A response names the records that were not taken by their position in the request, in words:
``Skipped record number : 2`` is the second. The record it echoes is not always the one that was
sent (8 of 18 recorded echoes differ: a phone number comes back as a number), so echoes are not
used. A record is delivered only if the response leaves no doubt about it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from ..protocol import (
    DELIVERED,
    UNCONFIRMED,
    Outcome,
    Request,
    Response,
    ResponseClass,
    UploadResult,
    Verdict,
)
from ..reasons import DeadLetterReason
from ..responses import error_text, failure, garbled, one_line, open_upload, response_class_of
from ..secret import SecretHeaders, credential

#: Codes of the page "Errors" that another attempt cannot change; 528 until someone allows the
#: event again. The vendor does not say which are permanent: that is our interpretation.
PERMANENT_CODES: Final = frozenset((509, *range(512, 521), *range(522, 527), 528, *range(530, 536)))
SERVER_ERROR_CODE: Final = 555

#: A success (HTTP 200) may carry a failure of the whole request as its code, and no counts.
_WHOLE_REQUEST_CODES: Final = frozenset((*range(400, 406), 413, 429, 500, 502, 503, 504))

_POSITION: Final = re.compile(r"\s*Skipped record number\s*:\s*([0-9]{1,9})[\s.]*$")
_CODE_IN_TEXT: Final = re.compile(r"ErrorCode\s*:\s*([0-9]{3,5})\b")

_PROBE: Final = (
    b'{"identity":"ingestion-probe","type":"event","evtName":"Ingestion probe","evtData":{}}'
)


class CleverTap:
    """One account at CleverTap: builds its requests, reads its responses; holds no state."""

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

    def upload(self, kind: str, bodies: Sequence[bytes], *, dry_run: bool = False) -> Request:
        """Return one request for these records, in order; all kinds share the address."""
        del kind
        path = "/1/upload?dryRun=1" if dry_run else "/1/upload"
        content = b"".join((b'{"d":[', b",".join(bodies), b"]}"))
        return Request("POST", path, self._headers, content)

    def probe(self) -> Request:
        """Return a dry run of one harmless record."""
        return self.upload("event", (_PROBE,), dry_run=True)

    def read_probe(self, response: Response) -> UploadResult:
        """Return ANSWERED when the account works again, whatever became of the record."""
        return self.read("event", 1, response)

    def read(self, kind: str, size: int, response: Response) -> UploadResult:
        """Return a verdict for each of the ``size`` records sent, or one for the request."""
        del kind
        return self._headers.hidden_in(_read(size, response))


def _read(size: int, response: Response) -> UploadResult:
    result, body = open_upload(response, lambda body: error_text(body.get("error")))
    if result is not None:
        return result
    # A failure that names no records has an HTTP-like code.
    code = _number(body.get("code"))
    names_records = "processed" in body or "unprocessed" in body
    if code and code in _WHOLE_REQUEST_CODES and body.get("status") == "fail" and not names_records:
        return failure(response, response_class_of(code), error_text(body.get("error")))
    # Else there are verdicts by position; a record without a certain verdict is unconfirmed.
    if (entries := body.get("unprocessed")) is None:
        entries = []
    if not isinstance(entries, list):
        return garbled(response, "success, but `unprocessed` is not a list")
    named, unplaced = _placed(size, entries)
    others = _verdict_of_unnamed(size, body, entries, unplaced)
    if others is UNCONFIRMED and all(verdict is UNCONFIRMED for verdict in named.values()):
        return garbled(response, "success, but the counts do not add up")
    verdicts = [others] * size
    for position, verdict in named.items():
        verdicts[position - 1] = verdict
    return UploadResult(ResponseClass.ANSWERED, verdicts, response.status)


def _placed(size: int, entries: Sequence[Any]) -> tuple[dict[int, Verdict], list[Verdict]]:
    """Return the verdict of each position that is named, and those that name none of ours.

    A position that is named twice is wrong at least once, so it proves nothing.
    """
    named: dict[int, Verdict] = {}
    unplaced: list[Verdict] = []
    for entry in entries:
        position, verdict = _read_entry(entry)
        if not 1 <= position <= size:
            unplaced.append(verdict)
        elif position in named:
            named[position] = UNCONFIRMED
            unplaced.append(UNCONFIRMED)
        else:
            named[position] = verdict
    return named, unplaced


def _verdict_of_unnamed(
    size: int, body: Mapping[str, Any], entries: Sequence[Any], unplaced: Sequence[Verdict]
) -> Verdict:
    """Return the verdict of every record that is not named.

    Delivered when each entry names a record, the counts agree and the status does not contradict
    them. When nothing was taken and all unplaced entries agree, each unnamed record was refused
    for that reason. Unconfirmed in every other case.
    """
    processed, status = body.get("processed"), body.get("status")
    if type(processed) is not int or processed < 0 or processed + len(entries) != size:
        return UNCONFIRMED
    if unplaced:
        all_refused = processed == 0 and status in ("fail", None)
        return unplaced[0] if all_refused and len(set(unplaced)) == 1 else UNCONFIRMED
    if status == "partial":
        return DELIVERED if entries else UNCONFIRMED
    return DELIVERED if status in ("success", None) else UNCONFIRMED


def _read_entry(entry: Any) -> tuple[int, Verdict]:
    """Return the position (0 if there is none) and the verdict of one entry of ``unprocessed``.

    The position is removed from the text, because dead letters are grouped by their text.
    """
    if not isinstance(entry, dict):
        return 0, UNCONFIRMED
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
    is_theirs = code == SERVER_ERROR_CODE
    reason = DeadLetterReason.SERVER_ERROR if is_theirs else DeadLetterReason.UNKNOWN_CODE
    return Verdict(Outcome.RETRY, reason, code, error)


def _number(value: Any) -> int | None:
    """Return a code as an integer, also when it comes as a string."""
    if type(value) is int:
        return value
    is_digits = isinstance(value, str) and re.fullmatch("[0-9]{1,9}", value)
    return int(value) if is_digits else None
