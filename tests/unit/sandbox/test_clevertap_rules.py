"""The sandbox's own reading of CleverTap's rules, held to recorded answers."""

from __future__ import annotations

from typing import Any

import pytest

from worker.sandbox import clevertap_upload as uploads
from worker.sandbox.clevertap_json import spaced
from worker.sandbox.clevertap_rules import Validator
from worker.sandbox.clevertap_upload import Malformed
from worker.sandbox.error_codes import TOO_MANY, ErrorCode, of
from worker.sandbox.settings import SandboxSettings
from worker.sandbox.state import SandboxState

VALIDATOR = Validator(
    restricted=["Web Page Viewed"],
    discarded=["Legacy Page View"],
    refused_domains=["undeliverable.example.com"],
)
# The profile of the recordings, its address moved to a domain that belongs to nobody.
PERSON = {
    "identity": 4,
    "created_at": "2018-03-21 18:21:14 +0200",
    "Name": "John Rush",
    "Email": "john@example.com",
    "Gender": "M",
    "Phone": "+35922333232",
    "Employed": "Y",
    "Education": "Graduate",
    "Married": "Y",
    "Age": "18",
}


def profile(**changes: Any) -> dict[str, Any]:
    """The recorded profile, with changes to its data."""
    return {
        "identity": "4",
        "ts": 1521649274,
        "type": "profile",
        "profileData": PERSON | changes,
    }


def event(**changes: Any) -> dict[str, Any]:
    """A sound event, with changes."""
    plain = {"identity": "4", "type": "event", "evtName": "Product viewed", "evtData": {}}
    return {**plain, **changes}


def answered(*records: Any) -> str:
    """Return the body of the response to these records."""
    outcome = uploads.validate_records(list(records), VALIDATOR.validate)
    return uploads.response_body(outcome).decode()


def echoed(**changes: Any) -> str:
    """The recorded profile as an echo spells it, with changes to its data."""
    return spaced({**profile(), "profileData": PERSON | changes})


def test_all_taken_is_answered_as_recorded() -> None:
    """A clean request draws the recorded bytes: an empty list is spaced too."""
    expected = '{ "status" : "success" , "processed" : 2 , "unprocessed" : [ ]}'
    assert answered(profile(), profile()) == expected


def test_a_partial_answer_is_the_recorded_one() -> None:
    """The second of two profiles fails as on 2018-03-21: texts, order and spacing are equal."""
    answer = answered(profile(), profile(Email="$$$$$"))
    assert len(answer) == 505  # the recorded content-length
    assert answer == (
        '{ "status" : "partial" , "processed" : 1 , "unprocessed" : [ { "status" : "fail" , '
        '"code" : 515 , "error" : "Profile data is incorrect. Email is not valid.Skipped record '
        'number : 2" , "record" : { "identity" : "4" , "ts" : 1521649274 , "type" : "profile" , '
        '"profileData" : { "identity" : 4 , "created_at" : "2018-03-21 18:21:14 +0200" , "Name" : '
        '"John Rush" , "Email" : "$$$$$" , "Gender" : "M" , "Phone" : "+35922333232" , "Employed" '
        ': "Y" , "Education" : "Graduate" , "Married" : "Y" , "Age" : "18"}}}]}'
    )


def test_a_failed_answer_is_the_recorded_one() -> None:
    """A lone bad phone number draws the recorded answer, byte for byte."""
    data = {"ID": "1414", "Name": "John", "Phone": "+44+441234"}
    answer = answered({"identity": "1414", "type": "profile", "profileData": data})
    assert len(answer) == 323  # the recorded content-length
    assert answer == (
        '{ "status" : "fail" , "processed" : 0 , "unprocessed" : [ { "status" : "fail" , "code" : '
        '516 , "error" : "Profile data is incorrect. Phone number is not valid.Skipped record '
        'number : 1" , "record" : { "identity" : "1414" , "type" : "profile" , "profileData" : '
        '{ "ID" : "1414" , "Name" : "John" , "Phone" : "+44+441234"}}}]}'
    )


def test_response_body_without_an_identity_has_the_recorded_text() -> None:
    """The text of code 523 is the one recorded in 2017."""
    record = {
        "identity": "",
        "ts": 1488804947,
        "type": "event",
        "evtData": {"User ID": 555, "mobile": True},
        "evtName": "register",
    }
    assert (
        "\"code\" : 523 , \"error\" : \"'identity' or 'fbId' or 'gpId' or 'objectId' is necessary "
        'under 120 chars to identify the user. Skipped record number : 1"'
    ) in answered(record)


def test_a_refused_request_is_the_recorded_one() -> None:
    """The recorded 401 has neither of the two lists' keys."""
    expected = b'{ "status" : "fail" , "error" : "Account ID is not valid" , "code" : 401}'
    assert uploads.failure("Account ID is not valid", 401) == expected


@pytest.mark.parametrize(
    ("changes", "text", "echo"),
    [
        ({"Gender": "GG"}, "Gender needs to be M/F.", {}),
        ({"Email": "1234"}, "Email is not valid.", {}),
        ({"Phone": "223"}, "Phone number is not valid.", {}),
        ({"Employed": "123"}, "Employed needs to be Y/N.", {"Phone": 35922333232}),
        (
            {"Education": "x"},
            "Education needs to be School/College/Graduate..",
            {"Phone": 35922333232},
        ),
        ({"Married": "x"}, "Married needs to be Y/N.", {"Phone": 35922333232}),
        ({"Age": "aa"}, "Age is invalid.", {"Phone": 35922333232, "identity": "4"}),
    ],
)
def test_profile_refusals_read_and_echo_as_recorded(
    changes: dict[str, Any], text: str, echo: dict[str, Any]
) -> None:
    """Each profile code has its recorded text, and echoes what earlier checks made of it."""
    answer = answered(profile(**changes))
    assert f'"error" : "Profile data is incorrect. {text}Skipped record number : 1"' in answer
    assert f'"record" : {echoed(**{**changes, **echo})}' in answer


@pytest.mark.parametrize(
    ("record", "code"),
    [
        (event(), None),
        (event(evtName="Charged", evtData={"Items": [{"Name": "Pan", "Price": 59.0}]}), None),
        (event(identity=None, objectId="a8ffcbc9-a747-4ee3-a791-c5e58ad03097"), None),
        (event(FBID="34322423", identity=""), None),
        (event(source="Segment"), None),
        (event(evtData={f"p{i}": i for i in range(256)}), None),
        (event(evtName=""), 509),
        (event(evtName=None), 509),
        (event(evtName=17), 509),
        (event(evtData=[]), 512),
        (event(evtData={"Nested": {"a": 1}}), 512),
        (event(evtData={"Text": "x" * 513}), 512),
        (event(evtData={"Text": "é" * 257}), 512),
        (event(evtData={"k" * 121: 1}), 512),
        (event(evtName="Charged", evtData={"Items": [{"Deep": {"a": 1}}]}), 512),
        (event(evtName="App Launched"), 513),
        (event(evtName="applaunched"), 513),
        (event(evtName="Web Page Viewed"), 513),
        (event(evtData={f"p{i}": i for i in range(257)}), 522),
        (event(identity=""), 523),
        (event(identity=True), 523),
        (event(identity="x" * 1024), 523),
        (event(type="visit"), 524),
        ({}, 524),
        ("no object", 524),
        ({"type": "profile", "identity": "4"}, 524),
        (event(ts=0), 525),
        (event(ts="1521649274"), 525),
        (event(ts=1521649274000), 525),
        (event(ts=True), 525),
        (event(objectId="no such id!"), 526),
        (event(evtName="Legacy Page View"), 528),
        (event(evtName="legacypageview"), 528),
        (profile(Email={"$delete": 1}, Phone={"$delete": 1}), None),
        (profile(Age=18, Gender=None), None),
        (profile(Email="john@undeliverable.example.com"), 515),
        (profile(Phone="+99920255501"), 516),
        (profile(Age=151), 520),
    ],
)
def test_every_code_has_its_reason(record: Any, code: int | None) -> None:
    """The judge finds each published fault of events and profiles, and passes what is sound."""
    refusal = VALIDATOR.validate(record)
    assert (refusal.code if refusal else None) == code


def test_an_account_may_have_been_given_another_limit() -> None:
    """The newer page speaks of 100 properties an event, for accounts that were given no more."""
    validate = SandboxState(SandboxSettings(event_properties=100)).validator
    assert validate.validate(event(evtData={f"p{i}": i for i in range(100)})) is None
    assert validate.validate(event(evtData={f"p{i}": i for i in range(101)})) == TOO_MANY


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({}, None),
        ({"objectId": None}, 530),
        ({"tokenData": "abc"}, 531),
        ({"tokenData": {"type": "fcm"}}, 532),
        ({"tokenData": {"id": "abc"}}, 533),
        ({"tokenData": {"id": "abc", "type": ["fcm"]}}, 534),
        ({"tokenData": {"id": "abc", "type": "pigeon"}}, 534),
        ({"tokenData": {"id": "abc", "type": "chrome"}}, 535),
        (
            {"tokenData": {"id": "a", "type": "chrome", "keys": {"p256dh": "b", "auth": "c"}}},
            None,
        ),
    ],
)
def test_tokens_have_codes_of_their_own(changes: dict[str, Any], code: int | None) -> None:
    """Device tokens are checked too: all three kinds come to one address."""
    token = {"type": "token", "objectId": "2ce3ab", "tokenData": {"id": "abc", "type": "fcm"}}
    refusal = VALIDATOR.validate({**token, **changes})
    assert (refusal.code if refusal else None) == code


def test_the_first_fault_wins_in_the_order_of_the_codes() -> None:
    """One error a record: mending the fault named brings the next one to light."""
    broken = profile(
        Gender="x", Email="x", Phone="x", Employed="x", Education="x", Married="x", Age="x"
    ) | {"ts": 0}
    codes = []
    mended = {"ts": 1521649274}
    for field in ("ts", "Gender", "Email", "Phone", "Employed", "Education", "Married", "Age"):
        refusal = VALIDATOR.validate(broken)
        assert refusal is not None
        codes.append(refusal.code)
        broken = broken | mended if field == "ts" else broken
        if field != "ts":
            broken["profileData"][field] = PERSON[field]
    assert codes == [525, 514, 515, 516, 517, 518, 519, 520]
    assert VALIDATOR.validate(broken) is None


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b'{"d":{}}', b'{"e":[]}', b'{"d":[1] // no comments\n}', b'{"d":[1,2,3]}'],
)
def test_a_request_that_is_no_list_of_records_is_malformed(body: bytes) -> None:
    """Bad JSON, another shape, or one record too many refuse the request as a whole."""
    with pytest.raises(Malformed, match="Malformed request"):
        uploads.records_of(body, max_records=2)


def test_an_ordered_refusal_has_the_texts_known_or_given() -> None:
    """Faults to order speak as the vendor where its words are known."""
    assert of(516).at(3).startswith("Profile data is incorrect. Phone number is not valid.Skipped")
    assert of(599, "Odd.") == ErrorCode(599, "Odd. ")
