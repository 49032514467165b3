"""The marshmallow schemas of CleverTap's three kinds of record.

Few fields, none nested: every field costs a load about a microsecond, whether it is there or not,
so the ways to name a user and the keys we don't know are checked together at the end. Unknown
keys pass (the vendor takes them); values are handed on as they are, never converted.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from worker.vendors.clevertap import rules
from worker.vendors.clevertap.profile_rules import ProfileRules
from worker.vendors.clevertap.property_rules import PropertyRules, plain_name
from worker.vendors.clevertap.rules import IDENTITY_KEYS, NOBODY, CleverTapLimits
from worker.vendors.json_values import json_errors
from worker.vendors.protocol import Kind
from worker.vendors.validation import MAX_TS_S, FieldErrors, Rule, RuleField, RuleSchema

_RESERVED = frozenset(plain_name(name) for name in rules.RESERVED_EVENTS)
_IDENTITIES = frozenset(IDENTITY_KEYS)
_CHECKED = frozenset(("type", "ts", "evtName", "evtData", "profileData", "tokenData"))


class EventName(RuleField):
    """A name that is there, and not one of the vendor's own."""

    def broken(self, value: Any, _record: Any, /) -> FieldErrors | Rule | None:
        plain = plain_name(value) if isinstance(value, str) else ""
        if not plain:
            return rules.NO_NAME
        if plain in _RESERVED:
            return rules.RESERVED_NAME
        return None


class EpochSeconds(RuleField):
    """Epoch seconds. The vendor was recorded to answer 525 to 0."""

    def broken(self, value: Any, _record: Any, /) -> FieldErrors | Rule | None:
        if type(value) is not int or value <= 0:
            return rules.BAD_TS
        if value >= MAX_TS_S:
            return rules.TS_IN_MILLISECONDS
        return None


class EventData(RuleField):
    """The event's properties."""

    def broken(self, value: Any, record: Any, /) -> FieldErrors | Rule | None:
        if not isinstance(value, dict):
            return rules.NO_DATA
        schema = cast("CleverTapRecordSchema", self.parent)
        return schema.event_rules.event_errors(value, record.get("evtName"))


class ProfileData(RuleField):
    """The profile's properties and operators."""

    def broken(self, value: Any, _record: Any, /) -> FieldErrors | Rule | None:
        if not isinstance(value, dict):
            return rules.NO_PROFILE_DATA
        schema = cast("CleverTapRecordSchema", self.parent)
        return schema.profile_rules.errors(value)


class TokenData(RuleField):
    """A device token: its id, the service it belongs to, and the keys of a browser."""

    def broken(self, value: Any, _record: Any, /) -> FieldErrors | Rule | None:
        if not isinstance(value, dict):
            return rules.NO_TOKEN_DATA
        errors = json_errors(value, "")
        token_id, token_type, keys = (value.get(key) for key in ("id", "type", "keys"))
        if not isinstance(token_id, str) or not token_id.strip():
            errors.setdefault("id", []).append(rules.NO_TOKEN_ID)
        if token_type is None or token_type == "":
            errors.setdefault("type", []).append(rules.NO_TOKEN_TYPE)
        elif not isinstance(token_type, str) or token_type.lower() not in rules.TOKEN_TYPES:
            errors.setdefault("type", []).append(rules.BAD_TOKEN_TYPE)
        if keys is not None and not (
            isinstance(keys, dict) and all(isinstance(key, str) for key in keys.values())
        ):
            errors.setdefault("keys", []).append(rules.BAD_TOKEN_KEYS)
        return errors


class CleverTapRecordSchema(RuleSchema):
    """What all kinds share: a time, and somebody whom the record is about."""

    ts = EpochSeconds(rules.BAD_TS)

    kind = ""
    #: What a record without any of its identities is told, and under which key.
    nobody = ("identity", rules.NO_IDENTITY)
    identities = _IDENTITIES
    #: What an objectId is told that is no text, or names nobody.
    object_id_rules = (rules.BAD_OBJECT_ID, rules.NOBODYS_OBJECT_ID)

    def __init__(self, limits: CleverTapLimits) -> None:
        super().__init__()
        self.event_rules = PropertyRules(limits)
        self.profile_rules = ProfileRules(limits)
        self._identity_chars = limits.identity_chars
        self._too_long = Rule(f"must be at most {limits.identity_chars} characters", 523)

    def broken(self, record: Mapping[Any, Any]) -> FieldErrors:
        """One pass over the record's keys: at least one identity, and nothing JSON cannot carry."""
        somebody = False
        errors: FieldErrors = {}
        for key, value in record.items():
            if key in _CHECKED:
                continue
            if key in _IDENTITIES:
                if value is None or value == "":
                    continue  # not set, as many exports write it
                if rule := self._identity_rule(key, value):
                    errors[key] = [rule]
                somebody = somebody or key in self.identities
            elif not isinstance(key, str):
                errors[key] = [rules.BAD_KEY]
            else:
                errors.update(json_errors(value, key))
        if not somebody:
            errors[self.nobody[0]] = [self.nobody[1]]
        return errors

    def _identity_rule(self, key: str, value: Any) -> Rule | None:
        bad, nobodys = rules.BAD_IDENTITY, rules.NOBODYS_IDENTITY
        if is_object_id := key == "objectId":
            bad, nobodys = self.object_id_rules
        if isinstance(value, str):
            word = value
        elif type(value) is int and -(2**63) <= value < 2**64 and not is_object_id:
            word = str(value)
        else:
            return bad
        if len(word) > self._identity_chars:
            return self._too_long
        if len(word) <= 9:  # the longest of the words
            word = word.strip().lower()
            if not word or word in NOBODY:
                return nobodys
        elif not word.strip():
            return nobodys
        return None


class CleverTapEventSchema(CleverTapRecordSchema):
    """One event, as in the upload API's ``d``."""

    kind = Kind.EVENT
    evtName = EventName(rules.NO_NAME, required=True)  # noqa: N815 - the vendor's key
    evtData = EventData(rules.NO_DATA, required=True)  # noqa: N815


class CleverTapProfileSchema(CleverTapRecordSchema):
    """One profile update, as in the upload API's ``d``."""

    kind = Kind.PROFILE
    profileData = ProfileData(rules.NO_PROFILE_DATA, required=True)  # noqa: N815


class CleverTapTokenSchema(CleverTapRecordSchema):
    """One device token, as in the upload API's ``d``: it belongs to a device's objectId."""

    kind = Kind.TOKEN
    tokenData = TokenData(rules.NO_TOKEN_DATA, required=True)  # noqa: N815
    nobody = ("objectId", rules.NO_TOKEN_OBJECT_ID)
    identities = frozenset(("objectId",))
    object_id_rules = (rules.NO_TOKEN_OBJECT_ID, rules.NO_TOKEN_OBJECT_ID)
