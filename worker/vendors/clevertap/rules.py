"""CleverTap's published rules in words and numbers, each with the code its upload API answers.

Sources: the pages "Upload Events API" and "Upload User Profiles API" (what may be sent), "Errors"
(the codes; read 2026), "Platform considerations" (reserved names, Items), the CSV and SFTP import
pages (words that identify no user), and recorded answers of the API from 2018 (what passes).
"""

from __future__ import annotations

import re
from typing import Final

from worker.vendors.validation import Rule

EVENT_PROPERTIES: Final = 256  # newer vendor pages say 100, "configurable per account"
PROFILE_PROPERTIES: Final = 256  # custom keys; the vendor's own are not counted
KEY_LENGTH: Final = 120  # characters in events, UTF-8 bytes in profiles, as the pages say
VALUE_BYTES: Final = 512  # of a string, in UTF-8
CHARGED_ITEMS: Final = 256
IDENTITY_CHARS: Final = 1023  # "under 1024 chars"
NESTED_DEPTH: Final = 3

#: The record's key for each way to name a user; the first one set is what order is kept by.
IDENTITY_KEYS: Final = ("identity", "FBID", "GPID", "objectId")

#: Words that identify no user, compared without case (CSV import page). Its numbers, 0 and -1, are
#: left out: a database that counts from 0 has users of these names, and nothing says that the
#: upload API refuses them.
ANONYMOUS: Final = frozenset(
    ("undefined", "null", "na", "n/a", "nil", "infinity", "-infinity", "inf", "-inf", "nan", "-nan")
) | {"empty", "xxxxxx", "none"}

#: As "Platform considerations" lists them. The API was seen to refuse others too (Web Page Viewed,
#: 2024-09-02): what is not published is left to the vendor to refuse.
RESERVED_EVENTS: Final = (
    "Notification Sent",
    "Notification Viewed",
    "Notification Clicked",
    "Notification Delivered",
    "Notification Replied",
    "UTM Visited",
    "App Launched",
    "App Uninstalled",
    "App Version Changed",
    "Stayed",
    "Reply Sent",
    "Experiment Rendered",
    "Reachable By",
    "Identity Reset",
    "Identity Set",
    "Identity Error",
)

#: Profile keys that are the vendor's own and don't count as custom ones.
STANDARD_PROFILE_KEYS: Final = frozenset(
    ("Name", "Email", "Phone", "Gender", "Employed", "Education", "Married", "Age", "DOB")
) | {"Photo", "Tz", "Customer Type", "identity"}

TOKEN_TYPES: Final = frozenset(("fcm", "gcm", "apns", "wns", "mpns", "chrome"))

MILLISECONDS_DATE: Final = re.compile(r"\$D_[0-9]{12,}")

NO_TYPE = Rule("must be 'event', 'profile' or 'token'", 524)
NO_NAME = Rule("is required: the event's name, a string that is not blank", 509)
RESERVED_NAME = Rule("is a name that the vendor reserves for its own events", 513)
NO_DATA = Rule("is required: an object of the event's properties, which may be empty", 512)
NO_PROFILE_DATA = Rule("is required: an object of profile properties")
BAD_TS = Rule("must be whole epoch seconds, as an integer above 0", 525)
TS_IN_MILLISECONDS = Rule("must be epoch seconds: this many look like milliseconds", 525)

NO_IDENTITY = Rule("is required: one of identity, FBID, GPID and objectId must be set", 523)
BAD_IDENTITY = Rule("must be a string or an integer", 523)
LONG_IDENTITY = Rule(f"must be at most {IDENTITY_CHARS} characters", 523)
BAD_OBJECT_ID = Rule("must be a string", 526)
ANONYMOUS_IDENTITY = Rule("is a word that identifies no user, such as null or undefined", 523)
ANONYMOUS_OBJECT_ID = Rule("is a word that identifies no user, such as null or undefined", 526)

NO_TOKEN_DATA = Rule("is required: an object with the token's id and type", 531)
NO_TOKEN_ID = Rule("is required: the device token, a string that is not empty", 532)
NO_TOKEN_TYPE = Rule("is required: one of " + ", ".join(sorted(TOKEN_TYPES)), 533)
BAD_TOKEN_TYPE = Rule("must be one of " + ", ".join(sorted(TOKEN_TYPES)), 534)
BAD_TOKEN_KEYS = Rule("must be an object of strings", 535)
NO_TOKEN_OBJECT_ID = Rule("is required for a token: the device's objectId, a string", 530)

BAD_KEY = Rule("must be a string: property names are strings")
LONG_KEY = Rule(f"must be a name of at most {KEY_LENGTH} characters")
LONG_PROFILE_KEY = Rule(f"must be a name of at most {KEY_LENGTH} bytes in UTF-8")
LONG_VALUE = Rule(f"must be at most {VALUE_BYTES} bytes in UTF-8")
TOO_MANY_CUSTOM = Rule(f"must hold at most {PROFILE_PROPERTIES} custom properties")
NOT_FLAT = Rule("must be a single value: objects and arrays are for a Charged event's Items", 512)
NOT_FLAT_PROFILE = Rule("must be a single value, an array of single values, or an operator")
DATE_IN_MILLISECONDS = Rule("must hold epoch seconds after $D_: this many look like milliseconds")
TOO_MANY_ITEMS = Rule(f"must hold at most {CHARGED_ITEMS} items", 512)
BAD_ITEMS = Rule("must be an array of objects", 512)
BAD_ITEM = Rule("must be an object of single values", 512)

BAD_PHONE = Rule(
    "must be + and digits: the country code, then the number, such as +14155551234", 516
)
BAD_EMAIL = Rule("must be an email address", 515)
BAD_GENDER = Rule("must be 'M' or 'F'", 514)
BAD_EMPLOYED = Rule("must be 'Y' or 'N'", 517)
BAD_EDUCATION = Rule("must be 'School', 'College' or 'Graduate'", 518)
BAD_MARRIED = Rule("must be 'Y' or 'N'", 519)
BAD_AGE = Rule("must be a number that is not negative", 520)
BAD_FLAG = Rule("must be true or false")
BAD_CATEGORIES = Rule("must be an object: a channel and an array of group names, both strings")

BAD_OPERATOR = Rule("must be one of $add, $remove, $set, $incr, $decr, $delete")
BAD_OPERAND_LIST = Rule("must be an array of single values")
BAD_OPERAND_NUMBER = Rule("must be a number")
BAD_DELETE = Rule("must be 1")
