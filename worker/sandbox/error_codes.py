"""The codes and texts with which CleverTap's server skips an uploaded record.

The codes come from the vendor's error page (read 2025-12-14). Texts marked *seen* come from
responses recorded in 2017 and 2018, or from published production errors; the others are our
wording. Some texts end in a space and some do not, as seen.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ErrorCode:
    """A code and the text before its position, its own spacing included."""

    code: int
    text: str

    def at(self, position: int) -> str:
        """Return the whole text for the record at ``position``, counted from 1 in the request."""
        return f"{self.text}Skipped record number : {position}"


_PROFILE = "Profile data is incorrect. "
_EVENT_NAME = "Event Name is incorrect. ErrorCode: "
NO_NAME = ErrorCode(509, f"{_EVENT_NAME}509 - Event name is mandatory. ")  # seen
STRUCTURE = ErrorCode(512, "Event data is incorrect. ErrorCode: 512 - Invalid event structure. ")
RESTRICTED = ErrorCode(
    513, f"{_EVENT_NAME}513 - Trying to raise a restricted system event. "
)  # seen
GENDER = ErrorCode(514, f"{_PROFILE}Gender needs to be M/F.")  # seen
EMAIL = ErrorCode(515, f"{_PROFILE}Email is not valid.")  # seen
PHONE = ErrorCode(516, f"{_PROFILE}Phone number is not valid.")  # seen
EMPLOYED = ErrorCode(517, f"{_PROFILE}Employed needs to be Y/N.")  # seen
EDUCATION = ErrorCode(518, f"{_PROFILE}Education needs to be School/College/Graduate..")  # seen
MARRIED = ErrorCode(519, f"{_PROFILE}Married needs to be Y/N.")  # seen
AGE = ErrorCode(520, f"{_PROFILE}Age is invalid.")  # seen
TOO_MANY = ErrorCode(522, "Event data is incorrect. ErrorCode: 522 - Too many event properties. ")
NO_IDENTITY = ErrorCode(
    523,  # seen
    "'identity' or 'fbId' or 'gpId' or 'objectId' is necessary under 120 chars "
    "to identify the user. ",
)
NO_KIND = ErrorCode(524, "Data is neither an event nor a profile. ")
TIMESTAMP = ErrorCode(525, "Timestamp should be present in the Unix Epoch format. ")  # seen
OBJECT_ID = ErrorCode(526, "The objectId is not valid. ")
DISCARDED = ErrorCode(528, f"{_EVENT_NAME}528 - Trying to raise a discarded event. ")
TOKEN_OBJECT_ID = ErrorCode(530, "Token is incorrect. The objectId is not valid. ")
TOKEN_DATA = ErrorCode(531, "Token is incorrect. The token data is not valid. ")
TOKEN_ID = ErrorCode(532, "Token is incorrect. The token id is not present. ")
TOKEN_TYPE = ErrorCode(533, "Token is incorrect. The token type is not present. ")
TOKEN_MISMATCH = ErrorCode(534, "Token is incorrect. The token type does not suit the objectId. ")
TOKEN_KEYS = ErrorCode(535, "Token is incorrect. The keys of a chrome token are not valid. ")
SERVER = ErrorCode(555, "Miscellaneous server error. ")

_BY_CODE = {each.code: each for each in tuple(globals().values()) if isinstance(each, ErrorCode)}


def of(code: int, text: str | None = None) -> ErrorCode:
    """Return the error with ``code``, with its known text or with ``text``."""
    if text is None and code in _BY_CODE:
        return _BY_CODE[code]
    return ErrorCode(code, f"{text or 'Requested from the sandbox.'} ")
