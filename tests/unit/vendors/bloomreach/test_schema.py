"""Bloomreach's published rules: each refused once, and its nearest allowed neighbour accepted."""

from __future__ import annotations

import json
from collections import UserDict
from datetime import UTC, date, datetime
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.errors import InvalidRecord
from worker.vendors.bloomreach.schema import BloomreachSchema
from worker.vendors.protocol import Prepared

NOW_S = 1_700_000_000.25
SCHEMA = BloomreachSchema()
IDS = {"registered": "jack@example.com"}
VIEWED = {
    "customer_ids": IDS,
    "event_type": "view_item",
    "timestamp": 1709566376,
    "properties": {"price": 59.99, "tags": ["watch", "mens"], "stock": {"eu": 3}, "sale": None},
}
JACK = {"customer_ids": IDS, "properties": {"city": "Brno"}, "update_timestamp": 1681484247.5}


def prepare(record: Any, schema: BloomreachSchema = SCHEMA) -> Prepared:
    """The record prepared at a fixed time."""
    return schema.prepare(record, now_s=NOW_S)


def errors(record: Any, schema: BloomreachSchema = SCHEMA) -> dict[str, list[str]]:
    """The rules a record breaks; nothing when it is accepted."""
    try:
        prepare(record, schema)
    except InvalidRecord as error:
        return error.errors if error.code is None else {"code": [str(error.code)]}
    return {}


def event(**changes: Any) -> dict[str, Any]:
    """An event that is valid but for the changes."""
    return VIEWED | changes


@pytest.mark.parametrize("record", [VIEWED, JACK], ids=["event", "customer"])
def test_prepare_vendor_shaped_record_keeps_it(record: dict[str, Any]) -> None:
    """Nothing is added, left out or converted in a whole record."""
    assert json.loads(prepare(record).body) == record


def test_prepare_kind_follows_from_the_shape() -> None:
    """An event has an event_type, an update of a customer has none."""
    first, second = prepare(VIEWED), prepare(JACK)
    assert (first.kind, first.name, first.ts) == ("event", "view_item", 1709566376)
    assert (second.kind, second.name, second.ts) == ("profile", "", 1681484247)


def test_prepare_without_time_stamps_it_with_its_fraction() -> None:
    """A resend is identical, and updates of one second keep their order at the vendor."""
    for record, key in ((VIEWED, "timestamp"), (JACK, "update_timestamp")):
        timeless = {name: value for name, value in record.items() if name != key}
        for given_time in (timeless, timeless | {key: None}):
            prepared = prepare(given_time)
            assert json.loads(prepared.body)[key] == NOW_S
            assert prepared.ts == int(NOW_S)
            assert given_time.get(key) is None, "the caller's own record is not changed"


def test_prepare_event_without_properties_sends_none() -> None:
    """The newer page has them optional, the older one requires them; empty ones pass both."""
    bare = {key: value for key, value in VIEWED.items() if key != "properties"}
    assert json.loads(prepare(bare).body)["properties"] == {}
    assert not errors(event(properties={}))
    assert not errors(JACK | {"properties": {}})


@pytest.mark.parametrize(
    ("ids", "identity"),
    [
        ({"registered": "42"}, b"registered:42"),
        ({"cookie": "c-1", "registered": "42"}, b"registered:42"),
        ({"cookie": "c-1", "registered": None}, b"cookie:c-1"),
        ({"cookie": "c-1", "registered": "undefined"}, b"cookie:c-1"),
        ({"google": "g", "cookie": "c-1"}, b"cookie:c-1"),
        ({"registered": 42}, b"registered:42"),
        ({"cookie": ["null", "c-2"]}, b"cookie:c-2"),
        ({"registered": "\u0436"}, "registered:\u0436".encode()),
    ],
)
def test_prepare_identity_is_the_hard_id_or_the_first_usable_one(
    ids: dict[str, Any], identity: bytes
) -> None:
    """An update with one id more must not overtake one without it."""
    assert prepare(JACK | {"customer_ids": ids}).identity == identity


@pytest.mark.parametrize(
    "ids",
    [None, {}, [], "42", {"registered": None}, {"registered": ""}, {"registered": "null"},
     {"registered": "undefined"}, {"registered": "-_ !"}, {"cookie": []}],
    ids=str,
)  # fmt: skip
def test_prepare_without_a_usable_id_is_refused(ids: Any) -> None:
    """At least one id has a letter or digit and is not a word that a bug writes."""
    assert set(errors(event(customer_ids=ids))) == {"customer_ids"}


@pytest.mark.parametrize(
    "value", [True, 1.5, {"a": 1}, [["x"]], [None], 2**64, UUID(int=1), b"42"], ids=str
)
def test_prepare_id_of_another_type_is_refused(value: Any) -> None:
    """What JSON or the vendor would take for something else is a mistake, whoever else is named."""
    assert set(errors(event(customer_ids={**IDS, "other": value}))) == {"customer_ids.other"}


@pytest.mark.parametrize("name", [None, "", "  ", 7, ["view"]], ids=str)
def test_prepare_event_without_type_is_refused(name: Any) -> None:
    """The type is a string that is not blank."""
    assert set(errors(event(event_type=name))) == {"event_type"}


@pytest.mark.parametrize(
    ("time", "seconds"),
    [
        (1709566376, 1709566376),
        (1709566376.75, 1709566376),
        (0, 0),
        ("1709566376", 1709566376),
        ("1709566376.5", 1709566376),
        ("2024-03-04T15:32:56Z", 1709566376),
        ("2024-03-04T16:32:56.123+01:00", 1709566376),
        ("2024-03-04 15:32:56", 1709566376),
        ("2024-03-04", 1709510400),
    ],
)
def test_prepare_seconds_and_iso_8601_are_times(time: Any, seconds: int) -> None:
    """A time is sent as it came, and counted by its second."""
    prepared = prepare(event(timestamp=time))
    assert json.loads(prepared.body)["timestamp"] == time
    assert prepared.ts == seconds


@pytest.mark.parametrize(
    "time",
    [1709566376123, "1709566376123", -1, True, float("nan"), float("inf"), "soon", "", [],
     "2024-13-04T15:32:56Z", "1969-12-31T23:59:59Z", "1709566376\n", "\u0661\u0662", {}],
    ids=repr,
)  # fmt: skip
def test_prepare_invalid_time_is_refused(time: Any) -> None:
    """Milliseconds above all: the vendor takes them for seconds."""
    assert set(errors(event(timestamp=time))) == {"timestamp"}
    assert set(errors(JACK | {"update_timestamp": time})) == {"update_timestamp"}


@pytest.mark.parametrize("properties", [None, [], "x", 1], ids=repr)
def test_prepare_properties_that_are_not_an_object_are_refused(properties: Any) -> None:
    """The vendor rejects an array, even an empty one."""
    assert set(errors(event(properties=properties))) == {"properties"}
    assert set(errors(JACK | {"properties": properties})) == {"properties"}
    assert set(errors({"customer_ids": IDS})) == {"properties"}


@pytest.mark.parametrize(
    ("value", "fits"),
    [
        ("x" * 15_997, True),
        ("x" * 15_998, False),
        ("\u0436" * 7_998, True),
        ("\u0436" * 7_999, False),
        ("\n" * 7_998, True),
        ("\n" * 7_999, False),
        (["x" * 15_996], False),
        (["x" * 15_995], True),
    ],
    ids=lambda value: f"{type(value).__name__}{len(value)}" if not isinstance(value, bool) else "",
)
def test_prepare_value_of_16_kbytes_is_refused(value: Any, fits: bool) -> None:
    """Counted as it is sent: in bytes of JSON."""
    broken = errors(event(properties={"note": value}))
    assert broken == (
        {} if fits else {"properties.note": ["must be less than 16000 bytes of JSON"]}
    )


def test_prepare_message_of_800_kbytes_is_refused() -> None:
    """Many values that each fit can still be too much together."""
    fitting = {str(n): "x" * 15_000 for n in range(53)}
    assert not errors(event(properties=fitting))
    too_much = {str(n): "x" * 15_000 for n in range(54)}
    broken = {"record": ["must be less than 800000 bytes of JSON"]}
    assert errors(event(properties=too_much)) == broken


def test_prepare_customer_has_255_attributes_named_in_ascii() -> None:
    """Both rules are for customers; an event's properties have no such bounds."""
    many = {f"p{n}": n for n in range(256)}
    assert set(errors(JACK | {"properties": many})) == {"properties"}
    assert not errors(JACK | {"properties": dict(list(many.items())[:255])})
    assert not errors(event(properties=many))
    assert set(errors(JACK | {"properties": {"m\u011bsto": 1}})) == {"properties.m\u011bsto"}
    assert not errors(event(properties={"m\u011bsto": 1}))


@pytest.mark.parametrize(
    "value",
    [float("nan"), 2**64, "\ud800", datetime.now(UTC), UUID(int=1), b"x", {1: 2}, ["\ud800"],
     [float("inf")], {"a": {"b": date(2024, 1, 1)}}],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
def test_prepare_what_json_cannot_carry_is_refused_anywhere(value: Any) -> None:
    """In a property, and under a key that the vendor does not know."""
    assert errors(event(properties={"a": value}))
    assert errors(event(extra=value))


def test_prepare_what_is_not_a_record_is_refused() -> None:
    """Whatever is given, the answer is InvalidRecord."""
    for record in (None, [], "x", 1, {}, {1: 2}, object()):
        assert errors(record)


def test_prepare_other_mappings_are_records() -> None:
    """A mapping of any class is as good as a dict."""
    assert json.loads(prepare(UserDict(VIEWED)).body) == VIEWED


def test_prepare_unknown_keys_pass() -> None:
    """The vendor's own modules send some."""
    assert json.loads(prepare(event(sdk="own", sdk_version="1")).body)["sdk"] == "own"


def test_event_neutral_call_is_mapped() -> None:
    """The ids go under the names that the project has for them; dates become epoch seconds."""
    at = datetime(2024, 3, 4, 15, 32, 56, tzinfo=UTC)
    ids = {"identity": "42", "object_id": "c-1"}
    made = SCHEMA.event("view", {"at": at, "days": [date(1970, 1, 2)]}, ids=ids, ts=7)
    assert made == {
        "customer_ids": {"registered": "42", "cookie": "c-1"},
        "event_type": "view",
        "properties": {"at": 1709566376, "days": [86400]},
        "timestamp": 7,
    }
    own = BloomreachSchema(hard_id="customer_no", soft_id="device")
    assert own.profile({"a": 1}, ids=ids) == {
        "customer_ids": {"customer_no": "42", "device": "c-1"},
        "properties": {"a": 1},
    }
    assert prepare(own.profile({"a": 1}, ids=ids), own).identity == b"customer_no:42"
    assert json.loads(prepare(SCHEMA.event("view", ids=ids, ts=at)).body)["timestamp"] == 1709566376


@pytest.mark.parametrize("keyword", ["fbid", "gpid", "other"])
def test_event_id_without_a_counterpart_is_refused(keyword: str) -> None:
    """It is not dropped in silence, even beside one that has a counterpart."""
    with pytest.raises(InvalidRecord) as refused:
        SCHEMA.event("view", {}, ids={"identity": "42", keyword: "x"})
    assert set(refused.value.errors) == {keyword}


def test_profile_operators_of_the_other_vendor_are_refused() -> None:
    """Stored as an object, `$incr` would replace the number it was to raise."""
    with pytest.raises(InvalidRecord) as refused:
        SCHEMA.profile({"visits": {"$incr": 1}, "city": "Brno"}, ids={"identity": "42"})
    assert set(refused.value.errors) == {"properties.visits"}


def test_prepare_error_shows_no_value() -> None:
    """Values may be personal data: only names and rules are shown."""
    secret = "jack-montana"
    for record in (
        event(customer_ids={"registered": {secret: 1}}),
        event(timestamp=secret),
        event(properties={"note": secret * 2000}),
        event(properties=[secret]),
    ):
        with pytest.raises(InvalidRecord) as refused:
            prepare(record)
        assert secret not in str(refused.value)
        assert refused.value.__context__ is None


_odd = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters())
    | st.binary() | st.datetimes() | st.just(object()),
    lambda inner: st.lists(inner, max_size=3) | st.tuples(inner)
    | st.dictionaries(st.text() | st.integers() | st.none(), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip
_keys = st.sampled_from(
    ["customer_ids", "event_type", "properties", "timestamp", "update_timestamp", "other"]
)


@given(_odd | st.dictionaries(_keys | st.text() | st.integers(), _odd, max_size=6))
def test_prepare_any_input_is_prepared_or_refused(record: Any) -> None:
    """Nothing but InvalidRecord comes out, whatever goes in."""
    try:
        prepared = SCHEMA.prepare(record, now_s=NOW_S)
    except InvalidRecord as error:
        text = f"{error}"
    else:
        text = json.dumps(json.loads(prepared.body))
    assert text.encode()


_nearly = st.fixed_dictionaries(
    {"customer_ids": st.just({"registered": "jack@example.com"}) | _odd},
    optional={
        "event_type": st.just("purchase") | _odd,
        "properties": st.dictionaries(st.text(), _odd, max_size=3) | _odd,
        "timestamp": st.integers(0, 10**12) | _odd,
        "update_timestamp": st.integers(0, 10**12) | _odd,
        "other": _odd,
    },
)


@given(_nearly)
def test_is_fine_agrees_with_marshmallow(record: dict[str, Any]) -> None:
    """The look that spares a load and marshmallow's own load never differ, for either kind."""
    for schema in SCHEMA.schemas.values():
        assert schema.is_fine(record) == (not schema.validate(record))


_json = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=20)
    | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)  # fmt: skip


@given(st.dictionaries(st.text(max_size=8), _json, max_size=5), st.integers(0, 10**11 - 1))
def test_prepare_any_json_is_a_property(properties: dict[str, Any], ts: int) -> None:
    """A valid event is sent as it was given, whatever its properties hold."""
    record = event(properties=properties, timestamp=ts)
    prepared = prepare(record)
    assert json.loads(prepared.body) == record
    assert (prepared.ts, prepared.identity) == (ts, b"registered:jack@example.com")
