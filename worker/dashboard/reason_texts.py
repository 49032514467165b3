"""The field of a record that a vendor's code is about."""

from __future__ import annotations

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


def field_of(vendor: str, code: int | None) -> str | None:
    """The path of the field that a vendor's code is about, where it names one."""
    return _FIELDS.get(code) if vendor == "clevertap" and code is not None else None
