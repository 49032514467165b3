"""CleverTap's checks of one uploaded record. Pure, without HTTP.

One error per record: the first check that fails. Recordings prove that gender, email and ts come
before the phone, the phone before employment, education and marriage, and the age last: a phone
number that passed is echoed as a number from then on, and the age's error finds an inner identity
already turned into text. Within those bounds the order is that of the codes.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from typing import Any

from worker.sandbox import error_codes
from worker.sandbox.error_codes import ErrorCode
from worker.sandbox.settings import SandboxSettings

# The vendor's published system events ("Platform considerations"); a setting adds others.
_SYSTEM_EVENTS = """Notification Sent, Notification Viewed, Notification Clicked,
    Notification Delivered, Notification Replied, UTM Visited, App Launched, App Uninstalled,
    App Version Changed, Stayed, Reply Sent, Experiment Rendered, Reachable By, Identity Reset,
    Identity Set, Identity Error"""
_TOKEN_TYPES = frozenset({"fcm", "gcm", "apns", "wns", "mpns", "chrome"})
_OBJECT_ID = re.compile(r"[A-Za-z0-9_-]{1,64}\Z")
_EMAIL = re.compile(r"[^@\s]+@([^@\s.]+(?:\.[^@\s.]+)+)\Z")
# Country calling codes, from the ITU's numbering plan E.164 (assigned codes as of 2024). Only a
# vendor needs them: a client can check no more than the published "+, country code, number".
_ONE_DIGIT = "1 7"
_TWO_DIGITS = """20 27 30 31 32 33 34 36 39 40 41 43 44 45 46 47 48 49 51 52 53 54 55 56 57 58
    60 61 62 63 64 65 66 81 82 84 86 90 91 92 93 94 95 98"""
_THREE_DIGITS = """211 212 213 216 218 220 221 222 223 224 225 226 227 228 229 230 231 232 233 234
    235 236 237 238 239 240 241 242 243 244 245 246 247 248 249 250 251 252 253 254 255 256 257 258
    260 261 262 263 264 265 266 267 268 269 290 291 297 298 299 350 351 352 353 354 355 356 357 358
    359 370 371 372 373 374 375 376 377 378 379 380 381 382 383 385 386 387 389 420 421 423 500 501
    502 503 504 505 506 507 508 509 590 591 592 593 594 595 596 597 598 599 670 672 673 674 675 676
    677 678 679 680 681 682 683 685 686 687 688 689 690 691 692 800 808 850 852 853 855 856 870 878
    880 881 882 883 886 888 960 961 962 963 964 965 966 967 968 970 971 972 973 974 975 976 977 979
    992 993 994 995 996 998"""
_ASSIGNED = frozenset(f"{_ONE_DIGIT} {_TWO_DIGITS} {_THREE_DIGITS}".split())
# E.164 allows 15 digits; the shortest national numbers with their code have 7.
_PHONE = re.compile(r"\+[1-9][0-9]{6,14}\Z")
_LATEST_TS = 9_999_999_999  # ten digits: what is longer was given in milliseconds


def is_phone(number: object) -> bool:
    """Return whether ``number`` is text such as ``+35922333232`` with an assigned code."""
    if not isinstance(number, str) or _PHONE.match(number) is None:
        return False
    return not _ASSIGNED.isdisjoint((number[1:2], number[1:3], number[1:4]))


@lru_cache(maxsize=4096)
def folded(name: str) -> str:
    """Fold an event name as the vendor compares it: without case and without spaces."""
    return "".join(name.split()).casefold()


def folded_names(names: Iterable[str]) -> frozenset[str]:
    """Fold each of the names."""
    return frozenset(map(folded, names))


def credentials_error(headers: Mapping[str, str], account_id: str, passcode: str) -> str | None:
    """Return the error of a request's credentials; None if they open the account."""
    account = headers.get("x-clevertap-account-id", "")
    if not account:
        return "12 digit account ID mandatory"
    if not hmac.compare_digest(account.encode(), account_id.encode()):
        return "Account ID is not valid"
    given = headers.get("x-clevertap-passcode", "")
    return None if hmac.compare_digest(given.encode(), passcode.encode()) else "Passcode Invalid"


class Validator:
    """The rules of one account; ``validate`` is pure."""

    def __init__(self, settings: SandboxSettings) -> None:
        self._settings = settings
        self._restricted = folded_names((*_SYSTEM_EVENTS.split(","), *settings.restricted_events))
        self._discarded = folded_names(settings.discarded_events)
        self._refused_domains = {domain.casefold() for domain in settings.refused_email_domains}
        self._profile_rules: tuple[tuple[str, ErrorCode, Callable[[Any], bool]], ...] = (
            ("Gender", error_codes.GENDER, ("M", "F").__contains__),
            ("Email", error_codes.EMAIL, self._accepts_email),
            ("Phone", error_codes.PHONE, is_phone),
            ("Employed", error_codes.EMPLOYED, ("Y", "N").__contains__),
            ("Education", error_codes.EDUCATION, ("School", "College", "Graduate").__contains__),
            ("Married", error_codes.MARRIED, ("Y", "N").__contains__),
            ("Age", error_codes.AGE, _is_age),
        )

    def validate(self, record: Any) -> ErrorCode | None:
        """Return the first error of ``record``; None if it is accepted."""
        if not isinstance(record, dict):
            return error_codes.NO_KIND
        kind = record.get("type")
        if kind == "event":
            return _envelope(record) or self._event(record)
        if kind == "profile" and isinstance(record.get("profileData"), dict):
            return _envelope(record) or self._profile(record["profileData"])
        return _token(record) if kind == "token" else error_codes.NO_KIND

    def _event(self, record: Mapping[str, Any]) -> ErrorCode | None:
        name = record.get("evtName")
        if not isinstance(name, str) or not name.strip():
            return error_codes.NO_NAME
        key = folded(name)
        if key in self._restricted:
            return error_codes.RESTRICTED
        if key in self._discarded:
            return error_codes.DISCARDED
        properties = record.get("evtData")
        if not isinstance(properties, dict):
            return error_codes.STRUCTURE
        if len(properties) > self._settings.event_properties:
            return error_codes.TOO_MANY
        return self._properties(properties, charged=key == "charged")

    def _properties(self, properties: Mapping[str, Any], *, charged: bool) -> ErrorCode | None:
        for key, value in properties.items():
            # Parsed JSON has exact types; this loop is where an upload's time goes.
            given = type(value)
            if given is str:
                # A character takes at most 4 bytes: short text needs no counting.
                if len(value) > 128 and len(value.encode()) > 512:
                    return error_codes.STRUCTURE
            elif (given is dict or given is list) and not self._may_nest(key, value, charged):
                return error_codes.STRUCTURE
            if len(key) > 120:
                return error_codes.STRUCTURE
        return None

    def _may_nest(self, key: str, value: Any, charged: bool) -> bool:
        if charged and key == "Items":
            return isinstance(value, list) and len(value) <= 256 and all(map(_is_flat, value))
        return self._settings.nested_objects

    def _profile(self, data: Mapping[str, Any]) -> ErrorCode | None:
        for field, error, passes in self._profile_rules:
            value = data.get(field)
            # Absent, or an operator such as {"$delete": 1}: nothing to check.
            if value is not None and not isinstance(value, dict) and not passes(value):
                return error
        return None

    def _accepts_email(self, value: Any) -> bool:
        match = _EMAIL.match(value) if isinstance(value, str) else None
        return match is not None and match[1].casefold() not in self._refused_domains


def _envelope(record: Mapping[str, Any]) -> ErrorCode | None:
    """Check what events and profiles share: the identity and the time."""
    if not any(_identifies(record.get(key)) for key in ("identity", "FBID", "GPID", "objectId")):
        return error_codes.NO_IDENTITY
    ts = record.get("ts")
    if ts is not None and not (type(ts) is int and 0 < ts <= _LATEST_TS):
        return error_codes.TIMESTAMP
    object_id = record.get("objectId")
    if object_id is not None and not _is_object_id(object_id):
        return error_codes.OBJECT_ID
    return None


def _token(record: Mapping[str, Any]) -> ErrorCode | None:
    data = record.get("tokenData")
    if not _is_object_id(record.get("objectId")):
        return error_codes.TOKEN_OBJECT_ID
    if not isinstance(data, dict):
        return error_codes.TOKEN_DATA
    if not data.get("id"):
        return error_codes.TOKEN_ID
    if not data.get("type"):
        return error_codes.TOKEN_TYPE
    if not (isinstance(data["type"], str) and data["type"] in _TOKEN_TYPES):
        return error_codes.TOKEN_MISMATCH
    keys = data.get("keys")
    sound = isinstance(keys, dict) and {"p256dh", "auth"} <= set(keys)
    return error_codes.TOKEN_KEYS if data["type"] == "chrome" and not sound else None


def _identifies(value: Any) -> bool:
    return 0 < len(value) < 1024 if isinstance(value, str) else type(value) is int


def _is_object_id(value: Any) -> bool:
    return isinstance(value, str) and _OBJECT_ID.match(value) is not None


def _is_flat(item: Any) -> bool:
    return isinstance(item, dict) and not any(isinstance(v, dict | list) for v in item.values())


def _is_age(value: Any) -> bool:
    if isinstance(value, str):
        value = int(value) if value.isascii() and value.isdigit() and len(value) < 4 else -1
    return type(value) is int and 0 <= value <= 150
