"""Bloomreach's published rules in words and numbers. It has no codes for them.

Sources: the pages "Add event", "Update customer properties", "Tracking" (customer attributes),
"System time" (what a timestamp is) and "Tracking API error messages" (what names a customer).
"""

from __future__ import annotations

import re
from typing import Final

from worker.vendors.validation import Rule

# A KByte is counted as 1000 bytes: the safe reading.
MESSAGE_BYTES: Final = 800_000  # of an event or update; it must be less
VALUE_BYTES: Final = 16_000  # of one property's value, as JSON; it must be less
CUSTOMER_PROPERTIES: Final = 255

#: What a bug writes where an id is missing; the vendor takes neither for one.
ANONYMOUS: Final = frozenset(("null", "undefined"))

SECONDS: Final = re.compile(r"[0-9]{1,15}(?:\.[0-9]{1,9})?")
ISO_8601: Final = re.compile(
    r"[0-9]{4}-?[0-9]{2}-?[0-9]{2}(?:[T ][0-9:.,]{2,18}(?:Z|[+-][0-9:]{2,8})?)?"
)

NO_RECORD = Rule("must be an object")
LARGE_RECORD = Rule(f"must be less than {MESSAGE_BYTES} bytes of JSON")
LARGE_VALUE = Rule(f"must be less than {VALUE_BYTES} bytes of JSON")
TOO_MANY = Rule(f"must hold at most {CUSTOMER_PROPERTIES} attributes")
BAD_KEY = Rule("must be a string: names are strings")
NO_IDS = Rule("is required: an object with one customer id at least, such as registered")
NO_VALID_ID = Rule("must hold an id with a letter or digit in it that is not null or undefined")
BAD_ID = Rule("must be a string, an integer, or an array of these")
NO_EVENT_TYPE = Rule("is required: the event's type, a string that is not blank")
NO_PROPERTIES = Rule("is required: an object of properties, which may be empty")
BAD_TS = Rule("must be epoch seconds, 0 or more, or a date-time in ISO 8601")
TS_IN_MILLISECONDS = Rule("must be epoch seconds: this many look like milliseconds")
BAD_NAME = Rule("must have a name in ASCII: names of customer attributes are")
FOREIGN_OPERATOR = Rule("must be a value: operators such as $add are CleverTap's alone")
