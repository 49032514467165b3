"""What killed a record, in words for somebody who never saw it: what it means, what to do."""

from __future__ import annotations

from dataclasses import dataclass

# CleverTap's codes for one field of a profile or event (vendor page "Errors").
_FIELDS = {
    509: "evtName",
    513: "evtName",
    514: "profileData.Gender",
    515: "profileData.Email",
    516: "profileData.Phone",
    517: "profileData.Employed",
    518: "profileData.Education",
    519: "profileData.Married",
    520: "profileData.Age",
    523: "identity",
    525: "ts",
    526: "objectId",
    528: "evtName",
}


@dataclass(frozen=True, slots=True)
class ReasonText:
    """A reason explained; ``title`` is a few words, the others are sentences."""

    title: str
    what: str
    do: str


_REASONS = {
    "refused": ReasonText(
        "Refused by the vendor",
        "The vendor looked at this record and will never take it as it is.",
        "Mend the record, or the setting in the vendor's own dashboard, then replay it.",
    ),
    "server_error": ReasonText(
        "The vendor's own error",
        "The vendor answered with an error of its own each time we tried.",
        "Replay it: nothing is wrong with the record.",
    ),
    "unknown_code": ReasonText(
        "A code nobody documents",
        "The vendor answered with a code that its documents do not have, each time we tried.",
        "Check it with the vendor; if it would pass, replay it.",
    ),
    "unconfirmed": ReasonText(
        "Never confirmed",
        "The vendor's answers never told what became of this record: it may have arrived.",
        "Look at the vendor whether it is there. Replay it only if it is not.",
    ),
    "ambiguous": ReasonText(
        "Sent, not answered",
        "It was sent and no answer came: it may have arrived. This destination is set to ask you.",
        "Look at the vendor whether it is there. Replay it only if it is not.",
    ),
    "expired": ReasonText(
        "The vendor was out of reach too long",
        "Every try met a vendor that was down, for as long as we go on trying.",
        "Replay it: nothing is wrong with the record.",
    ),
    "overtaken": ReasonText(
        "A younger update was taken",
        "The vendor asked for this update again, and had taken a younger one of the same person. "
        "This destination is set to send nothing twice, so the younger could not follow it again.",
        "Replay it only if nothing in it would undo the younger one.",
    ),
    "too_large": ReasonText(
        "Too large",
        "The vendor refuses a request with this record alone in it: the record is too large.",
        "Make the record smaller, then replay it.",
    ),
    "poison": ReasonText(
        "Workers died of it",
        "Workers ended each time they had this record: it is kept away from them.",
        "Find out why in the workers' logs before you replay it.",
    ),
}
_UNKNOWN = ReasonText(
    "Dead", "It was given up for the reason told.", "Check it with the vendor, or replay it."
)


def meaning(reason: str) -> ReasonText:
    """What a reason means."""
    return _REASONS.get(reason, _UNKNOWN)


def field_of(vendor: str, code: int | None) -> str | None:
    """The path of the field that a vendor's code is about, where it names one."""
    return _FIELDS.get(code) if vendor == "clevertap" and code is not None else None
