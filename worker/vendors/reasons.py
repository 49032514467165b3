"""Why a record became a dead letter, for programs and for operators."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Final, NamedTuple


class ReasonText(NamedTuple):
    """A reason in words: ``title`` is a few words, the others are sentences."""

    title: str
    meaning: str
    remedy: str


class DeadLetterReason(StrEnum):
    """The reasons that are stored with dead letters, counted, and shown."""

    REFUSED = "refused"
    SERVER_ERROR = "server_error"
    UNKNOWN_CODE = "unknown_code"
    UNCONFIRMED = "unconfirmed"
    AMBIGUOUS = "ambiguous"
    EXPIRED = "expired"
    OVERTAKEN = "overtaken"
    TOO_LARGE = "too_large"
    POISON = "poison"


#: The record is not at fault: the vendor or the network caused these deaths, and the flood breaker
#: leaves them out, since pausing the destination would not help.
BLAMELESS: Final = (
    DeadLetterReason.AMBIGUOUS,
    DeadLetterReason.EXPIRED,
    DeadLetterReason.OVERTAKEN,
)

_LOOK_FIRST = "Check with the vendor whether it arrived. Replay it only if it did not."
UNKNOWN_REASON: Final = ReasonText(
    "Dead", "It was given up for the reason shown.", "Check it with the vendor, or replay it."
)
_TEXTS: Final[Mapping[str, ReasonText]] = {
    DeadLetterReason.REFUSED: ReasonText(
        "Refused by the vendor",
        "The vendor looked at this record and will never take it as it is.",
        "Fix the record, or the setting in the vendor's dashboard, then replay.",
    ),
    DeadLetterReason.SERVER_ERROR: ReasonText(
        "The vendor's own error",
        "The vendor answered with an internal error on every attempt.",
        "Replay it: nothing is wrong with the record.",
    ),
    DeadLetterReason.UNKNOWN_CODE: ReasonText(
        "Undocumented code",
        "The vendor answered every attempt with a code that is not in its documentation.",
        "Check it with the vendor; if it would pass, replay it.",
    ),
    DeadLetterReason.UNCONFIRMED: ReasonText(
        "Never confirmed",
        "The vendor's responses never confirmed this record: it may have arrived.",
        _LOOK_FIRST,
    ),
    DeadLetterReason.AMBIGUOUS: ReasonText(
        "Sent, not answered",
        "It was sent and no response came: it may have arrived. "
        "This destination is set to leave the decision to you.",
        _LOOK_FIRST,
    ),
    DeadLetterReason.EXPIRED: ReasonText(
        "Vendor unavailable for too long",
        "Every attempt failed because the vendor was unavailable, until retries ended.",
        "Replay it: nothing is wrong with the record.",
    ),
    DeadLetterReason.OVERTAKEN: ReasonText(
        "A newer update was delivered",
        "The vendor asked for this update again after it had taken a newer one of the same person. "
        "This destination is set to send nothing twice, so the newer one could not follow it.",
        "Replay it only if nothing in it would undo the newer one.",
    ),
    DeadLetterReason.TOO_LARGE: ReasonText(
        "Too large",
        "The vendor refuses a request with only this record in it: the record is too large.",
        "Make the record smaller, then replay it.",
    ),
    DeadLetterReason.POISON: ReasonText(
        "Workers died of it",
        "Workers died each time they handled this record, so it is no longer handed out.",
        "Find the cause in the workers' logs before you replay it.",
    ),
}


def reason_text(reason: str) -> ReasonText:
    """Return a stored reason in words; a general text for a reason that a later version wrote."""
    return _TEXTS.get(reason, UNKNOWN_REASON)
