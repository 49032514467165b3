"""What an answer of the vendor means: for the whole request, and for each record in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum


@dataclass(frozen=True, slots=True)
class Request:
    """A request, ready to be sent; ``path`` starts with a slash and carries its query verbatim."""

    method: str
    path: str
    headers: Mapping[str, str] = field(repr=False)
    content: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class Response:
    """An answer, read to its end; header names are lower case.

    ``too_large`` tells that there was more than anybody reads: ``content`` is then empty.
    """

    status: int
    headers: Mapping[str, str]
    content: bytes = field(repr=False)
    too_large: bool = False


class Outcome(StrEnum):
    """What became of one record in one attempt."""

    DELIVERED = "delivered"
    DEAD = "dead"
    RETRY = "retry"


@dataclass(frozen=True, slots=True)
class Verdict:
    """One record's outcome, with the vendor's code and text where it gave them.

    ``reason`` is one of ours, for people and programs: ``refused`` (a permanent code),
    ``server_error`` (555), ``unknown_code``, ``unconfirmed`` (the answer does not tell: the vendor
    may have taken the record).
    """

    outcome: Outcome
    reason: str = ""
    code: int | None = None
    error: str = ""


DELIVERED = Verdict(Outcome.DELIVERED)
UNCONFIRMED = "unconfirmed"


class Meaning(StrEnum):
    """What an answer, or the lack of one, says of the request as a whole."""

    ANSWERED = "answered"  # a verdict for each record
    GARBLED = "garbled"  # success, but the body cannot be read or does not add up
    REFUSED = "refused"  # 400: something in it is wrong, no word on which record
    TOO_LARGE = "too_large"  # 413
    DENIED = "denied"  # 401-405: credentials, address or permission
    THROTTLED = "throttled"  # 429
    UNAVAILABLE = "unavailable"  # 5xx
    UNREACHABLE = "unreachable"  # no byte of the request can have been acted on
    AMBIGUOUS = "ambiguous"  # sent, and no whole answer


@dataclass(frozen=True, slots=True)
class Answer:
    """The meaning of one request's answer.

    ``verdicts`` holds one verdict per record, in the order sent, when ``meaning`` is ANSWERED,
    and nothing otherwise. ``error`` is for people; it holds no record and no secret.
    ``retry_after_s`` is the vendor's own wish, in seconds.
    """

    meaning: Meaning
    verdicts: Sequence[Verdict] = field(default_factory=tuple)
    status: int | None = None
    error: str = ""
    retry_after_s: float | None = None
