"""Responses to uploads, compared with recorded ones."""

from __future__ import annotations

from typing import Any

import pytest

from support.sandbox import PERSON, VALIDATOR, profile
from worker.sandbox import clevertap_upload as uploads
from worker.sandbox.clevertap_upload import Malformed, spaced


def answered(*records: Any) -> str:
    """Return the body of the response to these records."""
    outcome = uploads.validate_records(list(records), VALIDATOR.validate)
    return uploads.response_body(outcome).decode()


def echoed(**changes: Any) -> str:
    """The recorded profile as an echo spells it, with changes to its data."""
    return spaced({**profile(), "profileData": PERSON | changes})


def test_response_body_success_is_the_recorded_one() -> None:
    """A clean request has the recorded bytes, and an empty list is spaced too."""
    expected = '{ "status" : "success" , "processed" : 2 , "unprocessed" : [ ]}'
    assert answered(profile(), profile()) == expected


def test_response_body_partial_is_the_recorded_one() -> None:
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


def test_response_body_fail_is_the_recorded_one() -> None:
    """A lone bad phone number has the recorded response, byte for byte."""
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


def test_failure_is_the_recorded_one() -> None:
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
def test_response_body_profile_error_echoes_as_recorded(
    changes: dict[str, Any], text: str, echo: dict[str, Any]
) -> None:
    """Each profile code has its recorded text, and echoes what earlier checks changed."""
    answer = answered(profile(**changes))
    assert f'"error" : "Profile data is incorrect. {text}Skipped record number : 1"' in answer
    assert f'"record" : {echoed(**{**changes, **echo})}' in answer


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b'{"d":{}}', b'{"e":[]}', b'{"d":[1] // no comments\n}', b'{"d":[1,2,3]}'],
)
def test_records_of_malformed_request_raises(body: bytes) -> None:
    """Invalid JSON, another shape or one record too many refuse the whole request."""
    with pytest.raises(Malformed, match="Malformed request"):
        uploads.records_of(body, max_records=2)
