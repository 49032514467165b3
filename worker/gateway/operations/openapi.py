"""`/openapi.json`: what the gateway accepts and answers, for people and for generated clients.

Written by hand from the endpoints' own constants (docs/decisions/0103); a test compares it with the
routes.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any

from worker.vendors.bloomreach.account import MAX_COMMANDS

from ..api.bloomreach import CUSTOMERS, EVENTS, PROJECT, TIME, BatchCommands, SystemTime
from ..api.clevertap import MAX_RECORDS, CleverTapUpload
from ..settings import GatewaySettings
from .health import ALIVE, Ready

Json = dict[str, Any]

_ERRORS = {
    "400": "The request as a whole is malformed.",
    "401": "No key, or one that is not known.",
    "403": "The key may not send to this destination.",
    "405": "Another method.",
    "408": "The body did not come in time.",
    "413": "The body is too large.",
    "415": "An encoding other than gzip.",
    "422": "The Idempotency-Key was used with another request.",
    "429": "Over the key's rate; nothing was accepted.",
    "431": "The request line and the headers are larger than 64 KiB.",
    "503": "The buffer is full or away. The text says whether the records may have been accepted.",
}
_RETRY_AFTER = {
    "Retry-After": {"description": "Seconds to wait.", "schema": {"type": "integer", "minimum": 1}}
}
_REPLAYED = {
    "Idempotency-Replayed": {
        "description": "There when this is the first answer to a repeated request.",
        "schema": {"const": "true"},
    }
}


def _object(*required: str, **properties: Json) -> Json:
    """Return the schema of an object, with the names of its required properties."""
    schema: Json = {"type": "object"}
    if required:
        schema["required"] = list(required)
    return schema | ({"properties": properties} if properties else {})


def _complete(**properties: Json) -> Json:
    """Return the schema of an object with only required properties."""
    return _object(*properties, **properties)


def _array(items: Json, **limits: int) -> Json:
    return {"type": "array", **limits, "items": items}


def _api_key(header: str) -> Json:
    return {"type": "apiKey", "in": "header", "name": header}


_ANY: Json = {}
_OBJECT = _object()
_TEXT = {"type": "string"}
_NUMBER = {"type": "number"}
_FLAG = {"type": "boolean"}
_TEXTS = {"type": "array", "items": _TEXT}
_TIME = {"type": ["number", "string"], "description": "Epoch seconds or ISO 8601."}
_IDS = _OBJECT | {"minProperties": 1}

_RECORD = _object(
    "type",
    type={"enum": ["event", "profile", "token"]},
    identity={"type": ["string", "integer"]},
    FBID=_TEXT,
    GPID=_TEXT,
    objectId=_TEXT,
    ts={"type": "integer", "minimum": 1, "description": "Epoch seconds; now when absent."},
    evtName=_TEXT,
    evtData=_OBJECT,
    profileData=_OBJECT,
    tokenData=_OBJECT,
)
_RECORD["description"] = "An event, a profile or a device token, as the vendor's upload API has it."
_UPLOAD = _complete(d=_array(_RECORD, maxItems=MAX_RECORDS))
_NOT_PROCESSED = _complete(
    status={"const": "fail"},
    code={"type": "integer"},
    error={"type": "string", "pattern": "Skipped record number : [0-9]+$"},
    record=_ANY,
)
_UPLOADED = _complete(
    status={"enum": ["success", "partial", "fail"]},
    processed={"type": "integer", "minimum": 0},
    unprocessed=_array(_NOT_PROCESSED),
)
_OF_EVENT: Json = {"event_type": _TEXT, "timestamp": _TIME, "properties": _OBJECT}
_EVENT = _object("customer_ids", "event_type", customer_ids=_IDS, **_OF_EVENT)
_OF_CUSTOMER: Json = {"update_timestamp": _TIME, "properties": _OBJECT}
_CUSTOMER = _object("customer_ids", "properties", customer_ids=_IDS, **_OF_CUSTOMER)
_NAME = {"enum": [EVENTS, CUSTOMERS, TIME]}
_COMMAND = _object("name", name=_NAME, command_id=_ANY, data=_OBJECT)
_COMMANDS = _complete(commands=_array(_COMMAND, minItems=1, maxItems=MAX_COMMANDS))
_SINGLE = _object("success", success=_FLAG, errors=_TEXTS)
_RESULT = _object("success", success=_FLAG, command_id=_ANY, time=_NUMBER, errors=_TEXTS)
_RESULTS = _complete(
    results=_array(_RESULT), start_time=_NUMBER, end_time=_NUMBER, success={"const": True}
)
_PROJECT = {
    "name": "token",
    "in": "path",
    "required": True,
    "description": "The project's token, or the destination's name.",
    "schema": _TEXT | {"minLength": 1},
}
_KEY = {
    "name": "Idempotency-Key",
    "in": "header",
    "description": "A repeat with the same key within 24 hours gets the first answer and enqueues "
    "nothing.",
    "schema": _TEXT | {"minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$"},
}
_DRY_RUN = {
    "name": "dryRun",
    "in": "query",
    "description": "1 validates and enqueues nothing.",
    "schema": {"enum": ["0", "1"]},
}
_UPLOAD_SECURITY: list[Json] = [{"account": [], "passcode": []}, {"bearer": []}]
_TRACKING_SECURITY: list[Json] = [{"basic": []}, {"bearer": []}, {"token": []}]
_SECURITY: dict[str, Json] = {
    "account": _api_key("X-CleverTap-Account-Id"),
    "passcode": _api_key("X-CleverTap-Passcode"),
    "bearer": {"type": "http", "scheme": "bearer"},
    "basic": {"type": "http", "scheme": "basic"},
    "token": _api_key("Authorization") | {"description": "`Token KEY`"},
}


def _content(schema: Json, **more: Any) -> Json:
    return {**more, "content": {"application/json": {"schema": schema}}}


def _operation(summary: str, answer: Json, errors: Iterable[str], **more: Any) -> Json:
    """Return an operation with the answer to success and its errors."""
    responses = {"200": _content(answer, description="See the schema.")}
    for status in errors:
        responses[status] = _content(_OBJECT, description=_ERRORS[status])
        if status in {"429", "503"}:
            responses[status]["headers"] = _RETRY_AFTER
    return {"summary": summary, "responses": responses, **more}


def _upload(summary: str, body: Json, answer: Json, **more: Any) -> Json:
    """Return an operation that enqueues records."""
    content = _content(body, required=True)
    operation = _operation(summary, answer, _ERRORS, **more, requestBody=content)
    operation["responses"]["200"]["headers"] = _REPLAYED
    return operation


def document(settings: GatewaySettings) -> Json:
    """Return the OpenAPI document (3.1) of a gateway with these settings."""
    project = {"security": _TRACKING_SECURITY, "parameters": [_PROJECT]}
    tracking = partial(_upload, security=_TRACKING_SECURITY, parameters=[_PROJECT, _KEY])
    upload = partial(_upload, security=_UPLOAD_SECURITY, parameters=[_DRY_RUN, _KEY])
    ready = _operation("Whether records get somewhere.", _OBJECT, ["405"])
    ready["responses"]["503"] = _content(_OBJECT, description="Not ready, and why.")
    posts = {
        CleverTapUpload.path: upload("Upload events, profiles and tokens.", _UPLOAD, _UPLOADED),
        f"{PROJECT}/{EVENTS}": tracking("Add an event.", _EVENT, _SINGLE),
        f"{PROJECT}/{CUSTOMERS}": tracking("Update a customer's properties.", _CUSTOMER, _SINGLE),
        BatchCommands.path: tracking("Several commands.", _COMMANDS, _RESULTS),
    }
    time = _object("success", "time")
    gets = {
        SystemTime.path: _operation("The gateway's time.", time, _ERRORS, **project),
        ALIVE.path: _operation("Whether this process serves.", _OBJECT, ["405"]),
        Ready.path: ready,
        "/openapi.json": _operation("This document.", _OBJECT, ()),
    }
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Ingestion gateway",
            "version": "1",
            "description": "The vendors' upload calls, taken into a buffer and delivered in full "
            f"batches. Bodies have at most {settings.max_body_bytes} bytes "
            f"({settings.max_unfolded_bytes} when unfolded from gzip) and "
            f"{settings.max_depth} levels of nesting.",
        },
        "paths": {
            **{path: {"post": operation} for path, operation in posts.items()},
            **{path: {"get": operation} for path, operation in gets.items()},
        },
        "components": {"securitySchemes": _SECURITY},
    }
