"""What holds for any record at all, and the builders that make records of neutral calls."""

from __future__ import annotations

import json
from collections import UserDict, namedtuple
from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from enum import Enum
from types import MappingProxyType
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from marshmallow import ValidationError, fields, missing

from worker.errors import InvalidRecord
from worker.vendors.clevertap.schema import CleverTapSchema
from worker.vendors.json_values import json_errors
from worker.vendors.validation import MAX_ERRORS, Rule, RuleField

NOW_S = 1_700_000_000
SCHEMA = CleverTapSchema()
NESTED = CleverTapSchema(nested=True)

scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(min_value=2**63)
    | st.floats()
    | st.text(st.characters(codec=None), max_size=8)
    | st.sampled_from(["$D_1468322268", "$D_1468322268000", "v" * 513, "", "event", "Charged"])
)
weird = (
    st.binary(max_size=3)
    | st.decimals()
    | st.datetimes()
    | st.uuids()
    | st.sampled_from([{1}, object(), print, 1j, range(3), bytearray(b"x"), Decimal(1)])
)
keys = st.text(st.characters(codec=None), max_size=4) | st.sampled_from(
    ["Items", "Phone", "Email", "Age", "MSG-sms", "category-unsubscribe", "identity"]
)
operators = st.sampled_from(["$add", "$remove", "$set", "$incr", "$decr", "$delete", "$x"])


def containers(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Arrays, tuples, and objects with keys of any kind."""
    odd_keys = keys | operators | st.integers() | st.none() | st.binary(max_size=2)
    return (
        st.lists(inner, max_size=4)
        | st.tuples(inner)
        | st.dictionaries(keys | operators, inner, max_size=4)
        | st.dictionaries(odd_keys, inner, max_size=4)
    )


anything = st.recursive(scalars | weird, containers, max_leaves=10)
jsonish = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=4),
    max_leaves=10,
)
plain = st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.text(max_size=9)
names = st.sampled_from(["Charged", "Product viewed", "App Launched"])
times = st.sampled_from([1468308340, 0, 1468308340000])


def records(values: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[Any, Any]]:
    """Records of the vendor's keys, each as likely right as wrong, and of other keys."""
    properties = st.dictionaries(keys, values, max_size=5)
    known = st.fixed_dictionaries(
        {},
        optional={
            "type": st.sampled_from(["event", "profile", "token"]) | values,
            "evtName": names | values,
            "evtData": properties | values,
            "profileData": properties | values,
            "tokenData": st.fixed_dictionaries(
                {}, optional={"id": values, "type": st.just("fcm") | values, "keys": values}
            )
            | values,
            "ts": times | values,
            "identity": st.just("42") | values,
            "FBID": values,
            "objectId": st.just("abc") | values,
            "x": values,
        },
    )
    return known | st.dictionaries(keys | st.integers(), values, max_size=3)


def typed(values: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[Any, Any]]:
    """Records that are right but for what their properties hold."""
    properties = st.dictionaries(keys, values, max_size=4)
    base = {"identity": st.just("42")}
    event = {"type": st.just("event"), "evtName": names, "evtData": properties, **base}
    profile = {"type": st.just("profile"), "profileData": properties, **base}
    return st.fixed_dictionaries(event) | st.fixed_dictionaries(profile)


def taken(schema: CleverTapSchema, record: Any) -> bytes | None:
    """The body of a record that is taken, None when it is refused cleanly."""
    try:
        return schema.prepare(record, now_s=NOW_S).body
    except InvalidRecord as error:
        refused = error
    assert refused.errors
    assert all(refused.errors.values())
    assert len(refused.errors) <= MAX_ERRORS
    str(refused).encode()
    return None


@given(record=records(anything) | typed(anything) | anything)
def test_prepare_any_input_is_prepared_or_refused(record: Any) -> None:
    """Whatever comes in, it is taken or refused with a field and a rule that can be printed."""
    taken(SCHEMA, record)
    taken(NESTED, record)


@given(record=records(anything) | typed(anything) | typed(plain) | records(plain))
def test_is_fine_agrees_with_marshmallow(record: dict[Any, Any]) -> None:
    """The look that spares a load and marshmallow's own load never differ, for any kind."""
    for schema in (*SCHEMA.schemas.values(), *NESTED.schemas.values()):
        assert schema.is_fine(record) == (not schema.validate(record))


def as_json(value: Any) -> Any:
    """What a value is once it went through JSON: arrays for tuples, nothing else changed."""
    return json.loads(json.dumps(value))


def same(one: Any, other: Any) -> bool:
    """Equality that distinguishes 1, 1.0 and True."""
    return repr(one) == repr(other) and one == other


@given(record=typed(plain) | typed(jsonish) | records(jsonish))
def test_prepare_body_parses_back_to_the_record(record: dict[str, Any]) -> None:
    """The body parses back to the record, with the time of acceptance if it had none."""
    for schema in (SCHEMA, NESTED):
        body = taken(schema, record)
        if body is None:
            continue
        expected = dict(record)
        if record["type"] != "token":
            expected.setdefault("ts", NOW_S)
        assert same(json.loads(body), as_json(expected))


@given(data=st.dictionaries(st.text(max_size=120), st.booleans() | st.text(max_size=128)))
def test_prepare_flat_event_is_always_accepted(data: dict[str, Any]) -> None:
    """No well-formed flat properties are refused, whatever characters they hold."""
    data = {key: value for key, value in data.items() if not str(value).startswith("$D_")}
    record = {"type": "event", "evtName": "x", "evtData": data, "identity": "42"}
    assert taken(SCHEMA, record) is not None


class Hostile(Mapping[str, Any]):
    """A mapping with code that fails."""

    def __getitem__(self, key: str) -> Any:
        """Fail."""
        raise RuntimeError

    def __iter__(self) -> Iterator[str]:
        """Claim to hold something."""
        return iter(["type"])

    def __len__(self) -> int:
        """Claim to hold something."""
        return 1


class TextEnum(str, Enum):  # noqa: UP042 - what callers on Python 3.10 wrote
    """An enumeration of strings."""

    X = "x"


class Text(str):
    """A string of another class, as template engines make them."""

    __slots__ = ()


def looped() -> list[Any]:
    """A list that holds itself twice."""
    values: list[Any] = []
    values += [values, values]
    return values


def bomb() -> list[Any]:
    """A list that would be 2**60 values long when written out."""
    values: list[Any] = []
    for _ in range(60):
        values = [values, values]
    return values


def deep(levels: int) -> Any:
    """Arrays in arrays."""
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


EVENT = {"type": "event", "evtName": "x", "evtData": {}, "identity": "42", "ts": 5}
Pair = namedtuple("Pair", "a b")  # noqa: PYI024 - one without types is meant


@pytest.mark.parametrize(
    "value",
    [
        looped(),
        bomb(),
        deep(201),
        deep(100_000),
        [0] * 200_000,
        Pair(1, 2),
        UserDict(),
        UUID(int=1),
    ],
    ids=["looped", "bomb", "deep", "very deep", "long", "named tuple", "user dict", "uuid"],
)
def test_prepare_structure_that_is_not_json_is_refused(value: Any) -> None:
    """A structure without end, or of another kind, is refused by its key, in bounded time."""
    with pytest.raises(InvalidRecord) as refused:
        SCHEMA.prepare({**EVENT, "extra": value}, now_s=NOW_S)
    assert all(field.startswith("extra") for field in refused.value.errors)
    for data in ({"a": value}, {"a": {"$add": value}}, {"a": {"$set": [value]}}):
        assert taken(SCHEMA, {"type": "profile", "identity": "1", "profileData": data}) is None or (
            isinstance(value, list) and len(value) == 200_000
        )


def test_prepare_a_hundred_levels_pass() -> None:
    """Unknown keys may be nested as deep as anything that is real."""
    assert taken(SCHEMA, {**EVENT, "extra": deep(100)}) is not None


def test_prepare_other_mappings_are_records() -> None:
    """Any mapping is accepted, and one with code that fails is refused."""
    assert taken(SCHEMA, MappingProxyType(EVENT)) == taken(SCHEMA, EVENT)
    assert taken(SCHEMA, UserDict(EVENT)) == taken(SCHEMA, EVENT)
    assert taken(SCHEMA, Hostile()) is None


def test_prepare_strings_of_other_classes_are_strings() -> None:
    """Enumerations and template engines' strings pass, as values and as keys."""
    record = {
        "type": Text("event"),
        "evtName": Text("x"),
        "identity": TextEnum.X,
        "evtData": {Text("k"): TextEnum.X, "n": Text("v")},
    }
    prepared = SCHEMA.prepare(record, now_s=5)
    assert (prepared.kind, prepared.identity, prepared.name) == ("event", b"identity:x", "x")
    assert json.loads(prepared.body) == {
        "type": "event",
        "evtName": "x",
        "identity": "x",
        "evtData": {"k": "x", "n": "v"},
        "ts": 5,
    }


def test_prepare_error_is_bounded() -> None:
    """A record with thousands of faults names some of them, and no endless key."""
    record = {**EVENT, "evtData": {f"{n}" + "k" * 5000: 1 for n in range(250)}}
    with pytest.raises(InvalidRecord) as refused:
        SCHEMA.prepare(record, now_s=NOW_S)
    assert len(refused.value.errors) == MAX_ERRORS
    assert len(str(refused.value)) < 20_000
    assert len(json_errors([b""] * 1000, "x")) == MAX_ERRORS


def test_rule_field_differs_from_marshmallows_only_in_messages() -> None:
    """Missing, null and present values fare as in a plain field; only the code is added."""
    rule = Rule("is required {braces and all}", 7)
    ours, plain = RuleField(rule, required=True), fields.Raw(required=True, allow_none=False)
    for value in (None, missing):
        with pytest.raises(ValidationError):
            plain.deserialize(value)
        with pytest.raises(ValidationError) as refused:
            ours.deserialize(value)
        assert refused.value.messages == [rule]
        assert refused.value.messages[0].code == 7


def test_event_neutral_call_is_mapped() -> None:
    """Keywords, dates and times are put into the vendor's shape."""
    moment = datetime(2016, 7, 12, 13, 17, 48, 999, tzinfo=timezone(timedelta(hours=2)))
    record = SCHEMA.event(
        "Charged",
        {"At": moment, "On": date(1970, 1, 2), "Items": [{"At": moment, "n": 1}], "x": None},
        ids={"identity": "42", "fbid": "f", "gpid": "g", "object_id": "o"},
        ts=moment,
    )
    stamp = "$D_1468322268"
    assert record == {
        "type": "event",
        "evtName": "Charged",
        "evtData": {"At": stamp, "On": "$D_86400", "Items": [{"At": stamp, "n": 1}], "x": None},
        "identity": "42",
        "FBID": "f",
        "GPID": "g",
        "objectId": "o",
        "ts": 1468322268,
    }
    assert taken(SCHEMA, record) is not None


def test_profile_neutral_call_is_mapped() -> None:
    """What is not given is left out."""
    assert SCHEMA.profile({"Name": "Jack"}, ids={"identity": 42, "fbid": None}, ts=None) == {
        "type": "profile",
        "profileData": {"Name": "Jack"},
        "identity": 42,
    }


def test_event_without_properties_has_an_empty_object() -> None:
    """None stands for none; the vendor wants the object all the same."""
    assert SCHEMA.event("x", ids={"identity": "1"})["evtData"] == {}


@pytest.mark.parametrize("properties", [[1], "x", 5])
def test_event_properties_of_another_type_are_left_to_prepare(properties: Any) -> None:
    """Properties of another kind are handed on, and refused with field and code."""
    with pytest.raises(InvalidRecord) as refused:
        SCHEMA.prepare(SCHEMA.event("x", properties, ids={"identity": "1"}), now_s=NOW_S)
    assert (list(refused.value.errors), refused.value.code) == (["evtData"], 512)


def test_event_unknown_identity_keyword_is_refused() -> None:
    """A mistyped keyword would make a record without a user."""
    with pytest.raises(InvalidRecord, match="customer: must be identity, fbid, gpid or object_id"):
        SCHEMA.event("x", {}, ids={"customer": "42"})


def test_event_date_without_epoch_seconds_is_refused() -> None:
    """The first of all datetimes has no epoch seconds everywhere; it becomes a refusal at most."""
    record = SCHEMA.event("x", {"a": datetime.min}, ids={"identity": "1"}, ts=datetime.min)  # noqa: DTZ901
    assert taken(SCHEMA, record) is None
    assert taken(SCHEMA, SCHEMA.event("x", {"a": datetime.now(UTC)}, ids={"identity": "1"}))
