"""CleverTap's records: from what a caller passes to the exact bytes that will be sent.

What the vendor's pages do not forbid passes unchanged, unknown keys included. The marshmallow
schemas have few fields, none nested: every field costs a load about a microsecond, whether it is
there or not, so the ways to name a user and unknown keys are checked together at the end.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from worker.errors import InvalidRecord

from ..dates import Time, dated, timed
from ..json_values import json_errors, plain, serialize
from ..protocol import Kind, Prepared
from ..validation import MAX_TS_S, Broken, FieldErrors, Rule, RuleField, RuleSchema, check
from . import rules
from .property_rules import PropertyRules, plain_name

_RESERVED: Final = frozenset(plain_name(name) for name in rules.RESERVED_EVENTS)
_IDENTITIES: Final = frozenset(rules.IDENTITY_KEYS)
_CHECKED: Final = frozenset(("type", "ts", "evtName", "evtData", "profileData", "tokenData"))
_KEYWORDS: Final = {
    **dict(zip(("identity", "fbid", "gpid", "object_id"), rules.IDENTITY_KEYS, strict=True)),
    **{key: key for key in rules.IDENTITY_KEYS},
}
_NO_RECORD: Final = Rule("must be an object", rules.NO_TYPE.code)

# Plain strings: comparing with an enum's member costs a record 0.1 us.
_EVENT, _PROFILE, _TOKEN = Kind.EVENT.value, Kind.PROFILE.value, Kind.TOKEN.value
_DATE: Final = "$D_{}".format  # the vendor's form of a date, from epoch seconds


class CleverTapRecordSchema(RuleSchema):
    """What all kinds share: a time, and a user."""

    ts = RuleField(rules.BAD_TS, "ts_rule")

    kind = ""
    #: What is reported of a record without any of its identities, and under which key.
    no_identity = ("identity", rules.NO_IDENTITY)
    identities = _IDENTITIES
    #: What is reported of an objectId that is not text, or a word that identifies no user.
    object_id_rules = (rules.BAD_OBJECT_ID, rules.ANONYMOUS_OBJECT_ID)

    def __init__(self, properties: PropertyRules) -> None:
        super().__init__()
        self._properties = properties

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
        if len(word) > rules.IDENTITY_CHARS:
            return rules.LONG_IDENTITY
        if len(word) > 9:  # the longest of the words
            return None if word.strip() else anonymous
        word = word.strip().lower()
        return anonymous if not word or word in rules.ANONYMOUS else None


class CleverTapEventSchema(CleverTapRecordSchema):
    """One event, as in the upload API's ``d``."""

    kind = _EVENT
    evtName = RuleField(rules.NO_NAME, "name_rule", required=True)  # noqa: N815 - the vendor's key
    evtData = RuleField(rules.NO_DATA, "data_errors", required=True)  # noqa: N815

    def name_rule(self, value: Any, _record: Any) -> Rule | None:
        """Check that there is a name, of any length, and not one of the vendor's own."""
        plain = plain_name(value) if isinstance(value, str) else ""
        if not plain:
            return rules.NO_NAME
        return rules.RESERVED_NAME if plain in _RESERVED else None

    def data_errors(self, value: Any, record: Any) -> Broken:
        if not isinstance(value, dict):
            return rules.NO_DATA
        return self._properties.event_errors(value, record.get("evtName"))


class CleverTapProfileSchema(CleverTapRecordSchema):
    """One profile update, as in the upload API's ``d``."""

    kind = _PROFILE
    profileData = RuleField(rules.NO_PROFILE_DATA, "data_errors", required=True)  # noqa: N815

    def data_errors(self, value: Any, _record: Any) -> Broken:
        if not isinstance(value, dict):
            return rules.NO_PROFILE_DATA
        return self._properties.profile_errors(value)


class CleverTapTokenSchema(CleverTapRecordSchema):
    """One device token, as in the upload API's ``d``: it belongs to a device's objectId."""

    kind = _TOKEN
    tokenData = RuleField(rules.NO_TOKEN_DATA, "data_errors", required=True)  # noqa: N815
    no_identity = ("objectId", rules.NO_TOKEN_OBJECT_ID)
    identities = frozenset(("objectId",))
    object_id_rules = (rules.NO_TOKEN_OBJECT_ID, rules.NO_TOKEN_OBJECT_ID)

    def data_errors(self, value: Any, _record: Any) -> Broken:
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


class CleverTapSchema:
    """Validates and serialises records; one instance may be shared by threads.

    ``nested`` is for accounts in the vendor's Nested Objects beta: objects and arrays then pass as
    property values, up to three levels deep. ``schemas`` holds each kind's marshmallow schema.
    """

    def __init__(
        self, event_properties: int = rules.EVENT_PROPERTIES, *, nested: bool = False
    ) -> None:
        properties = PropertyRules(event_properties, nested)
        schemas = (CleverTapEventSchema, CleverTapProfileSchema, CleverTapTokenSchema)
        self.schemas: Mapping[str, CleverTapRecordSchema] = {
            each.kind: each(properties) for each in schemas
        }

    def prepare(self, record: Mapping[str, Any], *, now_s: float) -> Prepared:
        """Return the record as it will be sent; see `Schema`.

        The record itself is not changed. A token is sent without a time, as on the vendor's page.
        """
        known = plain(record)
        if known is None:
            raise InvalidRecord({"record": [_NO_RECORD]}, _NO_RECORD.code)
        kind = known.get("type")
        schema = self.schemas.get(kind) if isinstance(kind, str) else None
        if schema is None:
            raise InvalidRecord({"type": [rules.NO_TYPE]}, rules.NO_TYPE.code)
        check(schema, known)
        ts = known.get("ts")
        if ts is None:
            ts = int(now_s)  # the vendor takes whole seconds
            if schema.kind != _TOKEN:
                known = {**known, "ts": ts}
        body = serialize(known)
        name = str.__str__(known["evtName"]) if schema.kind == _EVENT else ""
        for key in rules.IDENTITY_KEYS:
            value = known.get(key)
            if value is not None and value != "":
                break
        who = str.__str__(value) if isinstance(value, str) else value
        return Prepared(schema.kind, body, f"{key}:{who}".encode(), ts, name)

    def event(
        self, name: str, properties: Any = None, *, ids: Mapping[str, Any], ts: Time = None
    ) -> dict[str, Any]:
        """Return an event as the upload API wants it; not validated before `prepare`.

        ``ids`` names the user by identity, fbid, gpid or object_id; InvalidRecord for another
        keyword. Dates become the vendor's ``$D_<epoch seconds>``; see `dated`.
        """
        data = dated(properties, _DATE)
        return timed({**_ids(ids), "type": _EVENT, "evtName": name, "evtData": data}, "ts", ts)

    def profile(
        self, properties: Any, *, ids: Mapping[str, Any], ts: Time = None
    ) -> dict[str, Any]:
        """Return a profile update as the upload API wants it; see `event`."""
        data = dated(properties, _DATE)
        return timed({**_ids(ids), "type": _PROFILE, "profileData": data}, "ts", ts)


def _ids(ids: Mapping[str, Any]) -> dict[str, Any]:
    """Return the vendor's keys for our keywords, without those that are None."""
    if unknown := [str(key) for key in ids if key not in _KEYWORDS]:
        raise InvalidRecord({key: ["must be identity, fbid, gpid or object_id"] for key in unknown})
    return {_KEYWORDS[key]: value for key, value in ids.items() if value is not None}
