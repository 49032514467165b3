"""CleverTap's published rules: each refused once, and its nearest allowed neighbour accepted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from worker.errors import InvalidRecord
from worker.settings.settings import Settings
from worker.vendors.clevertap.rules import RESERVED_EVENTS, TOKEN_TYPES
from worker.vendors.clevertap.schema import CleverTapSchema
from worker.vendors.protocol import Prepared

NOW_S = 1_700_000_000
SCHEMA = CleverTapSchema()

VIEWED = {
    "FBID": "34322423",
    "ts": 1468308340,
    "type": "event",
    "evtName": "Product viewed",
    "evtData": {
        "Product name": "Casio Chronograph Watch",
        "Category": "Mens Watch",
        "Price": 59.99,
        "Currency": "USD",
    },
}
CHARGED = {
    "identity": "jack@example.com",
    "ts": 1468208340,
    "type": "event",
    "evtName": "Charged",
    "evtData": {
        "Amount": 300,
        "Currency": "USD",
        "Payment mode": "Credit Card",
        "Delivery By": "$D_1468322268",
        "Items": [
            {"Category": "books", "Book name": "The millionaire next door", "Quantity": 1},
            {"Category": "books", "Book name": "Achieving inner zen", "Quantity": 4},
        ],
    },
}
JACK = {
    "identity": "1189549",
    "ts": 1468308340,
    "type": "profile",
    "profileData": {
        "Name": {"$delete": 1},
        "Email": "jack@example.com",
        "Phone": "+14155551234",
        "Gender": "M",
        "Employed": "Y",
        "Education": "Graduate",
        "Married": "Y",
        "MSG-sms": False,
        "MSG-email": True,
        "MSG-whatsapp": True,
        "MSG-dndPhone": True,
        "MSG-dndEmail": True,
        "category-unsubscribe": {"email": ["Newsletters", "Promotions"]},
        "category-resubscribe": {"email": ["Football", "Movies"]},
        "DOB": "$D_1487576752",
        "Customer Type": "Platinum",
        "Removed": {"$remove": ["shoes", "bags"]},
        "Added": {"$add": ["shoes", "bags"]},
        "My Number 1": {"$incr": 10},
        "My Number 2": {"$decr": 30},
    },
}
TOKEN = {
    "type": "token",
    "objectId": "__gc4g",
    "tokenData": {"id": "abc", "type": "chrome", "keys": {"p256dh": "x", "auth": "y"}},
}
GONE = object()


def event(data: Any = GONE, **changes: Any) -> dict[str, Any]:
    """The published event with other properties, or other keys; GONE takes a key away."""
    record = {**VIEWED, **({} if data is GONE else {"evtData": data}), **changes}
    return {key: value for key, value in record.items() if value is not GONE}


def profile(data: Any = GONE, **changes: Any) -> dict[str, Any]:
    """The published profile, changed like an event."""
    record = {**JACK, **({} if data is GONE else {"profileData": data}), **changes}
    return {key: value for key, value in record.items() if value is not GONE}


def token(**changes: Any) -> dict[str, Any]:
    """The token with other tokenData."""
    data = {**TOKEN["tokenData"], **changes}  # type: ignore[dict-item]
    return {**TOKEN, "tokenData": {k: v for k, v in data.items() if v is not GONE}}


def charged(items: Any) -> dict[str, Any]:
    """A Charged event with these Items."""
    return event({"Amount": 1, "Items": items}, evtName="Charged")


def prepare(record: Any, schema: CleverTapSchema = SCHEMA) -> Prepared:
    """The record prepared, by the shared schema or by one with its own limits."""
    return schema.prepare(record, now_s=NOW_S)


@pytest.mark.parametrize("record", [VIEWED, CHARGED, JACK, TOKEN])
def test_prepare_published_examples_are_unchanged(record: dict[str, Any]) -> None:
    """What stands on the vendor's own pages passes, byte for byte what it was."""
    assert json.loads(prepare(record).body) == record


def test_prepare_returns_kind_identity_time_and_name() -> None:
    """Kind, identity, time and name are taken out of the record for the stored header."""
    assert prepare(VIEWED) == Prepared(
        "event", prepare(VIEWED).body, b"FBID:34322423", 1468308340, "Product viewed"
    )
    assert prepare(JACK).identity == b"identity:1189549"
    assert prepare(JACK).name == ""
    assert prepare(TOKEN).identity == b"objectId:__gc4g"


def test_prepare_without_time_stamps_a_copy() -> None:
    """The time of acceptance goes into what is sent, not into the caller's dict."""
    record = event(ts=GONE)
    prepared = prepare(record)
    assert prepared.ts == NOW_S
    assert json.loads(prepared.body) == {**record, "ts": NOW_S}
    assert "ts" not in record


def test_prepare_token_is_not_stamped() -> None:
    """The vendor's page on tokens has no time; what orders them is the time of acceptance."""
    assert prepare(TOKEN).ts == NOW_S
    assert "ts" not in json.loads(prepare(TOKEN).body)


LONG_KEY, LONG_VALUE = "k" * 120, "v" * 512

ACCEPTED = {
    "no properties": event({}),
    "a key of 120 characters": event({LONG_KEY: 1}),
    "a key of 120 characters that are more bytes": event({"ü" * 120: 1}),
    "a value of 512 bytes": event({"a": LONG_VALUE}),
    "a value of 512 bytes in 128 characters": event({"a": "\U0001f600" * 128}),
    "256 properties": event({str(n): n for n in range(256)}),
    "null, false, zero and the empty string": event({"a": None, "b": False, "c": 0, "d": ""}),
    "the largest and smallest integers": event({"a": 2**64 - 1, "b": -(2**63)}),
    "characters that only SDKs strip": event({"a.b:$%<": 1}, evtName="50 % off!"),
    "a text that only looks like a date": event({"a": "$D_tomorrow", "b": "$D_"}),
    "a date of long ago and one far ahead": event({"a": "$D_-86400", "b": "$D_99999999999"}),
    "an event name of any length": event(evtName="n" * 2000),
    "a name that holds a reserved one": event(evtName="App Launched Twice"),
    "the first second": event(ts=1),
    "the last second before milliseconds": event(ts=10**11 - 1),
    "an unknown key, as Segment sends": event(source="Segment", deep={"a": [{"b": None}]}),
    "identity as a number": event(identity=42, FBID=GONE),
    "all four identities": event(identity="a", FBID="b", GPID="c", objectId="d"),
    "an identity of 1023 characters": event(identity="i" * 1023),
    "identities that are not set": event(identity=None, GPID="", objectId=None),
    "an identity that holds an anonymous word": event(identity="none-such"),
    "GPID alone": event(FBID=GONE, GPID="34322424"),
    "objectId alone": event(FBID=GONE, objectId="-2ce3"),
    "256 items": charged([{"a": n} for n in range(256)]),
    "no items": charged([]),
    "an item without properties": charged([{}]),
    "Charged without Items": event({"Amount": 3}, evtName="Charged"),
    "Charged, as the vendor compares names": event({"Items": [{"a": 1}]}, evtName="CHARGED "),
    "an empty profile": profile({}),
    "a profile key of 120 bytes": profile({"ü" * 60: 1}),
    "256 custom keys beside the vendor's own": profile(
        {**{str(n): n for n in range(256)}, "Name": "Jack", "Phone": None, "MSG-sms": True}
    ),
    "a profile value of 512 bytes": profile({"a": LONG_VALUE}),
    "a phone as recorded": profile({"Phone": "+35922333232"}),
    "an Age that is text, as recorded": profile({"Age": "18"}),
    "an Age of 0": profile({"Age": 0}),
    "a numeric identity in the data, as recorded": profile({"identity": 13}),
    "free text under a custom key, as recorded": profile({"created_at": "2 days ago"}),
    "standard keys that are null": profile({"Phone": None, "Email": None, "Gender": None}),
    "an email with a subdomain": profile({"Email": "jack+x@mail.example.co.uk"}),
    "an array of texts": profile({"Likes": ["a", "b"]}),
    "an empty object": profile({"a": {}}),
    "$set of an array and of a text": profile({"a": {"$set": ["x"]}, "b": {"$set": "x"}}),
    "$incr by a fraction, $decr by a negative": profile({"a": {"$incr": 0.5}, "b": {"$decr": -1}}),
    "$delete of any key": profile({"Gender": {"$delete": 1}, "Other": {"$delete": True}}),
    "an operator on a standard key": profile({"Age": {"$incr": 1}}),
    "a duplicate in a list": profile({"a": {"$add": ["x", "x"]}}),
    "a flag the vendor may add": profile({"MSG-rcs": "yes"}),
    "a category without groups": profile({"category-unsubscribe": {}}),
    "a token type in capitals": token(type="APNS", keys=GONE),
    "a token with more data": token(extra=[1]),
}


@pytest.mark.parametrize("record", ACCEPTED.values(), ids=ACCEPTED.keys())
def test_prepare_what_is_not_forbidden_passes_unchanged(record: dict[str, Any]) -> None:
    """The nearest neighbours of each rule, and all that was recorded to be taken."""
    assert json.loads(prepare(record).body) == record


REFUSED: dict[str, tuple[Any, str, int | None]] = {
    "no record": (None, "record", 524),
    "a list": ([VIEWED], "record", 524),
    "a string": ("event", "record", 524),
    "no type": (event(type=GONE), "type", 524),
    "an unknown type": (event(type="Event"), "type", 524),
    "a type that is not a string": (event(type=["event"]), "type", 524),
    "no name": (event(evtName=GONE), "evtName", 509),
    "a name of null": (event(evtName=None), "evtName", 509),
    "a blank name": (event(evtName=" \t"), "evtName", 509),
    "a name that is not a string": (event(evtName=5), "evtName", 509),
    "no properties": (event(evtData=GONE), "evtData", 512),
    "properties of null": (event(None), "evtData", 512),
    "properties in a list": (event([1]), "evtData", 512),
    "257 properties": (event({str(n): n for n in range(257)}), "evtData", 522),
    "a key of 121 characters": (event({LONG_KEY + "k": 1}), "evtData." + LONG_KEY + "k", None),
    "a key that is not a string": (event({7: 1}), "evtData.7", None),
    "a value of 513 bytes": (event({"a": LONG_VALUE + "v"}), "evtData.a", None),
    "a value of 513 bytes, few characters": (event({"a": "ü" * 256 + "v"}), "evtData.a", None),
    "NaN": (event({"a": float("nan")}), "evtData.a", None),
    "infinity": (event({"a": float("-inf")}), "evtData.a", None),
    "an integer of 65 bits": (event({"a": 2**64}), "evtData.a", None),
    "a very long integer": (event({"a": 10**6000}), "evtData.a", None),
    "a lone surrogate": (event({"a": "\ud800"}), "evtData.a", None),
    "a lone surrogate in a key": (event({"\ud800": 1}), "evtData.\\ud800", None),
    "bytes": (event({"a": b"x"}), "evtData.a", None),
    "a set": (event({"a": {1}}), "evtData.a", None),
    "a function": (event({"a": print}), "evtData.a", None),
    "a date in milliseconds": (event({"a": "$D_1468322268000"}), "evtData.a", None),
    "an object as a property": (event({"a": {"b": 1}}), "evtData.a", 512),
    "an array as a property": (event({"a": [1]}), "evtData.a", 512),
    "Items of another event": (event({"Items": [{"a": 1}]}), "evtData.Items", 512),
    "Items that are not an array": (charged({"a": 1}), "evtData.Items", 512),
    "an item that is not an object": (charged([{}, "book"]), "evtData.Items.1", 512),
    "an item that is not flat": (charged([{"a": {"b": 1}}]), "evtData.Items.0.a", 512),
    "an item with a long value": (charged([{"a": "v" * 513}]), "evtData.Items.0.a", None),
    "an item with a long key": (charged([{"k" * 121: 1}]), "evtData.Items.0." + "k" * 121, None),
    "257 items": (charged([{}] * 257), "evtData.Items", 512),
    "ts of 0": (event(ts=0), "ts", 525),
    "ts of null": (event(ts=None), "ts", 525),
    "a negative ts": (event(ts=-1), "ts", 525),
    "ts in milliseconds": (event(ts=1468308340000), "ts", 525),
    "the first of the milliseconds": (event(ts=10**11), "ts", 525),
    "ts as a fraction": (event(ts=1468308340.0), "ts", 525),
    "ts as a string": (event(ts="1468308340"), "ts", 525),
    "ts as a truth": (event(ts=True), "ts", 525),
    "a profile's ts": (profile(ts=0), "ts", 525),
    "no identity": (event(FBID=GONE), "identity", 523),
    "an empty identity": (event(FBID=GONE, identity=""), "identity", 523),
    "an identity of null": (profile(identity=None), "identity", 523),
    "a blank identity": (event(identity=" " * 20), "identity", 523),
    "an identity of 1024 characters": (event(identity="i" * 1024), "identity", 523),
    "an identity that is a list": (event(identity=["a"]), "identity", 523),
    "an identity that is a fraction": (event(identity=1.5), "identity", 523),
    "an identity that is a truth": (event(identity=True), "identity", 523),
    "an identity beyond 64 bits": (event(identity=2**64), "identity", 523),
    "an objectId that is an object": (event(objectId={}), "objectId", 526),
    "an objectId that is a number": (event(objectId=7), "objectId", 526),
    "an objectId that is anonymous": (event(objectId="null"), "objectId", 526),
    "no profileData": (profile(profileData=GONE), "profileData", None),
    "profileData in a list": (profile([]), "profileData", None),
    "257 custom keys": (profile({str(n): n for n in range(257)}), "profileData", None),
    "a profile key of 121 bytes": (
        profile({"ü" * 60 + "k": 1}),
        "profileData." + "ü" * 60 + "k",
        None,
    ),
    "a profile value of 513 bytes": (profile({"a": LONG_VALUE + "v"}), "profileData.a", None),
    "a profile date in milliseconds": (
        profile({"DOB": "$D_1487576752000"}),
        "profileData.DOB",
        None,
    ),
    "a nested profile property": (profile({"a": {"b": 1}}), "profileData.a", None),
    "an array in an array": (profile({"a": [["b"]]}), "profileData.a.0", None),
    "an unknown operator": (profile({"a": {"$push": 1}}), "profileData.a.$push", None),
    "an operator beside a key": (profile({"a": {"$incr": 1, "b": 2}}), "profileData.a.b", None),
    "$add of a text": (profile({"a": {"$add": "x"}}), "profileData.a.$add", None),
    "$remove of an object": (profile({"a": {"$remove": [{}]}}), "profileData.a.$remove.0", None),
    "$set of an object": (profile({"a": {"$set": {}}}), "profileData.a.$set", None),
    "$add of a long text": (profile({"a": {"$add": ["v" * 513]}}), "profileData.a.$add.0", None),
    "$incr by a text": (profile({"a": {"$incr": "1"}}), "profileData.a.$incr", None),
    "$incr by a truth": (profile({"a": {"$incr": True}}), "profileData.a.$incr", None),
    "$decr by NaN": (profile({"a": {"$decr": float("nan")}}), "profileData.a.$decr", None),
    "$delete of 0": (profile({"a": {"$delete": 0}}), "profileData.a.$delete", None),
    "a Gender in words": (profile({"Gender": "Male"}), "profileData.Gender", 514),
    "an Email that is a number, as recorded": (
        profile({"Email": "1234"}),
        "profileData.Email",
        515,
    ),
    "an Email that is none, as recorded": (profile({"Email": "$$$$$"}), "profileData.Email", 515),
    "an Email without a domain": (profile({"Email": "jack@"}), "profileData.Email", 515),
    "an Email with two ats": (profile({"Email": "a@b@c.de"}), "profileData.Email", 515),
    "a Phone of 223, as recorded": (profile({"Phone": "223"}), "profileData.Phone", 516),
    "a Phone of 123, as recorded": (profile({"Phone": "123"}), "profileData.Phone", 516),
    "a Phone with two pluses, as recorded": (
        profile({"Phone": "+44+441234"}),
        "profileData.Phone",
        516,
    ),
    "a Phone without plus": (profile({"Phone": "14155551234"}), "profileData.Phone", 516),
    "a Phone that is a number": (profile({"Phone": 14155551234}), "profileData.Phone", 516),
    "a Phone with a line feed": (profile({"Phone": "+14155551234\n"}), "profileData.Phone", 516),
    "Employed as a truth": (profile({"Employed": True}), "profileData.Employed", 517),
    "an unknown Education": (profile({"Education": "PhD"}), "profileData.Education", 518),
    "Married in words": (profile({"Married": "Yes"}), "profileData.Married", 519),
    "an Age of letters, as recorded": (profile({"Age": "aa"}), "profileData.Age", 520),
    "a negative Age": (profile({"Age": -1}), "profileData.Age", 520),
    "a flag in words": (profile({"MSG-email": "true"}), "profileData.MSG-email", None),
    "categories in a list": (
        profile({"category-unsubscribe": ["Newsletters"]}),
        "profileData.category-unsubscribe",
        None,
    ),
    "a category that is not a list": (
        profile({"category-resubscribe": {"email": "Movies"}}),
        "profileData.category-resubscribe",
        None,
    ),
    "no tokenData": ({"type": "token", "objectId": "a"}, "tokenData", 531),
    "a token without id": (token(id=GONE), "tokenData.id", 532),
    "a token without type": (token(type=GONE), "tokenData.type", 533),
    "a token of an unknown type": (token(type="pigeon"), "tokenData.type", 534),
    "keys that are not an object": (token(keys="x"), "tokenData.keys", 535),
    "a token with a number as objectId": ({**TOKEN, "objectId": 7}, "objectId", 530),
    "a token with an anonymous objectId": ({**TOKEN, "objectId": "null"}, "objectId", 530),
    "a token without objectId": (
        {**TOKEN, "objectId": None, "identity": "42"},
        "objectId",
        530,
    ),
    "NaN under an unknown key": (event(extra={"a": [1, float("nan")]}), "extra.a.1", None),
    "bytes under an unknown key": (event(extra=b"x"), "extra", None),
    "a key of the record that is not a string": ({**VIEWED, 5: 1}, "5", None),
}


@pytest.mark.parametrize(("record", "field", "code"), REFUSED.values(), ids=REFUSED.keys())
def test_prepare_broken_rule_names_field_and_code(
    record: Any, field: str, code: int | None
) -> None:
    """A refusal names the field and the rule, with the vendor's code if there is one."""
    with pytest.raises(InvalidRecord) as refused:
        prepare(record)
    assert list(refused.value.errors) == [field]
    assert all(refused.value.errors[field])
    assert refused.value.code == code


@pytest.mark.parametrize("name", RESERVED_EVENTS)
@pytest.mark.parametrize("spelt", [str, str.upper, lambda name: name.replace(" ", "")])
def test_prepare_reserved_event_name_is_refused_in_any_spelling(name: str, spelt: Any) -> None:
    """Names are compared without case and spaces, as the vendor does."""
    with pytest.raises(InvalidRecord) as refused:
        prepare(event(evtName=spelt(name)))
    assert refused.value.code == 513


@pytest.mark.parametrize("word", ["null", "None", "N/A", "-Infinity", "xxxxxx"])
@pytest.mark.parametrize("key", ["identity", "FBID", "GPID"])
def test_prepare_anonymous_identity_is_refused(key: str, word: object) -> None:
    """A bug upstream that writes "null" would pour thousands of people into one profile."""
    with pytest.raises(InvalidRecord) as refused:
        prepare(event(**{key: word}))
    assert (list(refused.value.errors), refused.value.code) == ([key], 523)


@pytest.mark.parametrize("number", ["0", "-1", 0, -1])
def test_prepare_number_is_an_identity(number: object) -> None:
    """A database that counts from 0 has a user 0; no page on uploads forbids it."""
    assert prepare(event(identity=number)).kind == "event"


@pytest.mark.parametrize("token_type", sorted(TOKEN_TYPES))
def test_prepare_published_token_type_passes(token_type: str) -> None:
    """Six services are published."""
    assert prepare(token(type=token_type)).kind == "token"


def test_prepare_reports_several_broken_rules() -> None:
    """A caller can fix a record in one go; the code is that of the first that has one."""
    record = {"type": "event", "ts": "x", "evtName": "", "evtData": {"a": b"", "b": [1]}}
    with pytest.raises(InvalidRecord) as refused:
        prepare(record)
    fields = {"ts", "evtName", "evtData.a", "evtData.b", "identity"}
    assert set(refused.value.errors) == fields
    assert refused.value.code == 525


def test_prepare_error_shows_no_value() -> None:
    """Values may be personal data, and refusals are logged."""
    with pytest.raises(InvalidRecord) as refused:
        prepare(profile({"Email": "jack at home", "Phone": "secret", "x": "y" * 600}, identity=1.5))
    assert not any(word in str(refused.value) for word in ("jack", "secret", "yyy", "1.5"))
    assert refused.value.__cause__ is None
    assert refused.value.__context__ is None


def test_prepare_other_limits_are_kept() -> None:
    """Accounts differ: newer vendor pages speak of 100 properties, configurable."""
    schema = CleverTapSchema(event_properties=2)
    assert prepare(event({"a": 1, "b": 1}), schema).body
    assert prepare(profile({"a": 1, "b": 1, "c": 1}), schema).body
    with pytest.raises(InvalidRecord, match="at most 2 properties"):
        prepare(event({"a": 1, "b": 1, "c": 1}), schema)


def test_prepare_nested_objects_pass_for_accounts_that_have_them() -> None:
    """The vendor's beta takes objects and arrays, three levels deep."""
    schema = CleverTapSchema(nested=True)
    assert prepare(event({"a": {"b": {"c": [1]}}, "d": [1, 2]}), schema).body
    assert prepare(profile({"a": {"b": [{"c": 1}]}}), schema).body
    with pytest.raises(InvalidRecord) as refused:
        prepare(event({"a": {"b": {"c": {"d": 1}}}, "x": {"b": {"c": {"d": {}}}}}), schema)
    assert list(refused.value.errors) == ["evtData.x.b.c.d"]


def test_schema_has_the_limits_of_the_destination(tmp_path: Path) -> None:
    """What the file of destinations says of an account holds for its records."""
    path = tmp_path / "destinations.toml"
    path.write_text(
        """
        [destinations.beta]
        vendor = "clevertap"
        event_properties = 2
        nested_objects = true
        kinds.event.batch_records = 1000
        """
    )
    settings = Settings.from_env({"INGEST_DESTINATIONS": str(path)})
    schema = settings.destination("beta").account.schema()
    assert schema.prepare(event({"a": {"b": 1}, "c": [1]}), now_s=NOW_S).body
    with pytest.raises(InvalidRecord, match="at most 2 properties"):
        schema.prepare(event({"a": 1, "b": 1, "c": 1}), now_s=NOW_S)
