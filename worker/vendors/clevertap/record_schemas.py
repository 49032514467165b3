"""The marshmallow schemas of CleverTap's three kinds of record.

Few fields, none nested: every field costs a load about a microsecond, whether it is there or not,
so the ways to name a user and unknown keys are checked together at the end. Unknown keys pass, as
the vendor takes them; values are passed on as they are, never converted.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..json_values import json_errors
from ..protocol import Kind
from ..validation import MAX_TS_S, Broken, FieldErrors, Rule, RuleField, RuleSchema
from . import rules
from .profile_rules import ProfileRules
from .property_rules import PropertyRules, plain_name

_RESERVED = frozenset(plain_name(name) for name in rules.RESERVED_EVENTS)
_IDENTITIES = frozenset(rules.IDENTITY_KEYS)
_CHECKED = frozenset(("type", "ts", "evtName", "evtData", "profileData", "tokenData"))


class CleverTapRecordSchema(RuleSchema):
    """What all kinds share: a time, and a user."""

    ts = RuleField(rules.BAD_TS, "ts_rule")

    kind = ""
    #: What is reported of a record without any of its identities, and under which key.
    no_identity = ("identity", rules.NO_IDENTITY)
    identities = _IDENTITIES
    #: What is reported of an objectId that is not text, or a word that identifies no user.
    object_id_rules = (rules.BAD_OBJECT_ID, rules.ANONYMOUS_OBJECT_ID)

    def __init__(self, limits: rules.CleverTapLimits) -> None:
        super().__init__()
        self._event_rules = PropertyRules(limits)
        self._profile_rules = ProfileRules(limits)
        self._identity_chars = limits.identity_chars
        self._too_long = Rule(f"must be at most {limits.identity_chars} characters", 523)

    def ts_rule(self, value: Any, _record: Any) -> Rule | None:
        """Check epoch seconds. The vendor was recorded to answer 525 to 0."""
        if type(value) is not int or value <= 0:
            return rules.BAD_TS
        return rules.TS_IN_MILLISECONDS if value >= MAX_TS_S else None

    def broken(self, record: Mapping[Any, Any]) -> FieldErrors:
        """Check in one pass that there is an identity, and nothing JSON cannot carry."""
        identified = False
        errors: FieldErrors = {}
        for key, value in record.items():
            if key in _CHECKED:
                continue
            if key in _IDENTITIES:
                if value is None or value == "":
                    continue  # not set, as many exports write it
                if rule := self._identity_rule(key, value):
                    errors[key] = [rule]
                identified = identified or key in self.identities
            elif not isinstance(key, str):
                errors[key] = [rules.BAD_KEY]
            else:
                errors.update(json_errors(value, key))
        if not identified:
            errors[self.no_identity[0]] = [self.no_identity[1]]
        return errors

    def _identity_rule(self, key: str, value: Any) -> Rule | None:
        bad, anonymous = rules.BAD_IDENTITY, rules.ANONYMOUS_IDENTITY
        if is_object_id := key == "objectId":
            bad, anonymous = self.object_id_rules
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
            if not word or word in rules.ANONYMOUS:
                return anonymous
        elif not word.strip():
            return anonymous
        return None


class CleverTapEventSchema(CleverTapRecordSchema):
    """One event, as in the upload API's ``d``."""

    kind = Kind.EVENT.value
    evtName = RuleField(rules.NO_NAME, "name_rule", required=True)  # noqa: N815 - the vendor's key
    evtData = RuleField(rules.NO_DATA, "data_errors", required=True)  # noqa: N815

    def name_rule(self, value: Any, _record: Any) -> Rule | None:
        """Check that there is a name, and not one of the vendor's own."""
        plain = plain_name(value) if isinstance(value, str) else ""
        if not plain:
            return rules.NO_NAME
        return rules.RESERVED_NAME if plain in _RESERVED else None

    def data_errors(self, value: Any, record: Any) -> Broken:
        """Check the event's properties."""
        if not isinstance(value, dict):
            return rules.NO_DATA
        return self._event_rules.event_errors(value, record.get("evtName"))


class CleverTapProfileSchema(CleverTapRecordSchema):
    """One profile update, as in the upload API's ``d``."""

    kind = Kind.PROFILE.value
    profileData = RuleField(rules.NO_PROFILE_DATA, "data_errors", required=True)  # noqa: N815

    def data_errors(self, value: Any, _record: Any) -> Broken:
        """Check the profile's properties and operators."""
        if not isinstance(value, dict):
            return rules.NO_PROFILE_DATA
        return self._profile_rules.errors(value)


class CleverTapTokenSchema(CleverTapRecordSchema):
    """One device token, as in the upload API's ``d``: it belongs to a device's objectId."""

    kind = Kind.TOKEN.value
    tokenData = RuleField(rules.NO_TOKEN_DATA, "data_errors", required=True)  # noqa: N815
    no_identity = ("objectId", rules.NO_TOKEN_OBJECT_ID)
    identities = frozenset(("objectId",))
    object_id_rules = (rules.NO_TOKEN_OBJECT_ID, rules.NO_TOKEN_OBJECT_ID)

    def data_errors(self, value: Any, _record: Any) -> Broken:
        """Check a token's id, the service it belongs to, and the keys of a browser."""
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
