"""Why CleverTap's server skips an uploaded record: its codes, and its words for them.

The codes are those of the vendor's error page (read 2025-12-14). Texts marked *seen* are recorded
answers of 2017 and 2018, or production errors others published; the rest is our own wording. Some
texts end in a space and some do not, as seen.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Refusal:
    """A code and the text before its position, its own spacing included."""

    code: int
    text: str

    def at(self, position: int) -> str:
        """The whole text for the record at ``position``, counted from 1 in the request."""
        return f"{self.text}Skipped record number : {position}"


_PROFILE = "Profile data is incorrect. "
_EVENT_NAME = "Event Name is incorrect. ErrorCode: "
NO_NAME = Refusal(509, f"{_EVENT_NAME}509 - Event name is mandatory. ")  # seen
STRUCTURE = Refusal(512, "Event data is incorrect. ErrorCode: 512 - Invalid event structure. ")
RESTRICTED = Refusal(513, f"{_EVENT_NAME}513 - Trying to raise a restricted system event. ")  # seen
GENDER = Refusal(514, f"{_PROFILE}Gender needs to be M/F.")  # seen
EMAIL = Refusal(515, f"{_PROFILE}Email is not valid.")  # seen
PHONE = Refusal(516, f"{_PROFILE}Phone number is not valid.")  # seen
EMPLOYED = Refusal(517, f"{_PROFILE}Employed needs to be Y/N.")  # seen
EDUCATION = Refusal(518, f"{_PROFILE}Education needs to be School/College/Graduate..")  # seen
MARRIED = Refusal(519, f"{_PROFILE}Married needs to be Y/N.")  # seen
AGE = Refusal(520, f"{_PROFILE}Age is invalid.")  # seen
TOO_MANY = Refusal(522, "Event data is incorrect. ErrorCode: 522 - Too many event properties. ")
NO_IDENTITY = Refusal(
    523,  # seen
    "'identity' or 'fbId' or 'gpId' or 'objectId' is necessary under 120 chars "
    "to identify the user. ",
)
NO_KIND = Refusal(524, "Data is neither an event nor a profile. ")
TIMESTAMP = Refusal(525, "Timestamp should be present in the Unix Epoch format. ")  # seen
OBJECT_ID = Refusal(526, "The objectId is not valid. ")
DISCARDED = Refusal(528, f"{_EVENT_NAME}528 - Trying to raise a discarded event. ")
TOKEN_OBJECT_ID = Refusal(530, "Token is incorrect. The objectId is not valid. ")
TOKEN_DATA = Refusal(531, "Token is incorrect. The token data is not valid. ")
TOKEN_ID = Refusal(532, "Token is incorrect. The token id is not present. ")
TOKEN_TYPE = Refusal(533, "Token is incorrect. The token type is not present. ")
TOKEN_MISMATCH = Refusal(534, "Token is incorrect. The token type does not suit the objectId. ")
TOKEN_KEYS = Refusal(535, "Token is incorrect. The keys of a chrome token are not valid. ")
SERVER = Refusal(555, "Miscellaneous server error. ")

_BY_CODE = {each.code: each for each in tuple(globals().values()) if isinstance(each, Refusal)}


def of(code: int, text: str | None = None) -> Refusal:
    """The refusal with ``code``, in words of its own or in ``text``."""
    if text is None and code in _BY_CODE:
        return _BY_CODE[code]
    return Refusal(code, f"{text or 'Ordered from the sandbox.'} ")
