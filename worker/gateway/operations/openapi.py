"""`/openapi.json`: what the gateway takes and answers, for people and for generated clients.

Written by hand from the doors' own constants; a test holds it against the routes.
"""

from __future__ import annotations

from typing import Any

import orjson

from ..api import bloomreach, clevertap
from ..server.endpoint import Endpoint, HttpResponse, Request
from ..settings import GatewaySettings

Schema = dict[str, Any]

_TEXT: Schema = {"type": "string"}
_COUNT: Schema = {"type": "integer", "minimum": 0}
_ERRORS: Schema = {"type": "array", "items": _TEXT}
_RETRY_AFTER: Schema = {
    "Retry-After": {"description": "Seconds to wait.", "schema": {"type": "integer", "minimum": 1}}
}
_REPLAYED: Schema = {
    "Idempotency-Replayed": {
        "description": "There when this is the first answer to a repeated request.",
        "schema": {"const": "true"},
    }
}
_ONCE: Schema = {
    "name": "Idempotency-Key",
    "in": "header",
    "description": "A repeat with the same key within 24 hours gets the first answer and enqueues "
    "nothing.",
    "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$"},
}
_REFUSALS = {
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
    "503": "The buffer is full or away. The text tells whether the records may have been accepted.",
}
_WAITING = ("429", "503")


def document(settings: GatewaySettings) -> Schema:
    """The OpenAPI document (3.1) of a gateway with these settings."""
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
            clevertap.Upload.path: {"post": _upload()},
            f"{bloomreach.PROJECT}/customers/events": {
                "post": _tracking("Add an event.", _EVENT, _SINGLE)
            },
            f"{bloomreach.PROJECT}/customers": {
                "post": _tracking("Update a customer's properties.", _CUSTOMER, _SINGLE)
            },
            bloomreach.Batch.path: {"post": _tracking("Several commands.", _COMMANDS, _RESULTS)},
            bloomreach.SystemTime.path: {"get": _time()},
            "/healthz": {"get": _health("Whether this process serves.")},
            "/readyz": {"get": _health("Whether records get somewhere.", "503")},
            "/openapi.json": {"get": _operation("This document.", {"type": "object"}, ())},
        },
        "components": {
            "securitySchemes": {
                "account": {"type": "apiKey", "in": "header", "name": "X-CleverTap-Account-Id"},
                "passcode": {"type": "apiKey", "in": "header", "name": "X-CleverTap-Passcode"},
                "bearer": {"type": "http", "scheme": "bearer"},
                "basic": {"type": "http", "scheme": "basic"},
                "token": {
                    "type": "apiKey",
                    "in": "header",
                    "name": "Authorization",
                    "description": "`Token KEY`",
                },
            }
        },
    }


_RECORD: Schema = {
    "type": "object",
    "description": "An event, a profile or a device token, as the vendor's upload API has it.",
    "required": ["type"],
    "properties": {
        "type": {"enum": ["event", "profile", "token"]},
        "identity": {"type": ["string", "integer"]},
        "FBID": _TEXT,
        "GPID": _TEXT,
        "objectId": _TEXT,
        "ts": {"type": "integer", "minimum": 1, "description": "Epoch seconds; now when absent."},
        "evtName": _TEXT,
        "evtData": {"type": "object"},
        "profileData": {"type": "object"},
        "tokenData": {"type": "object"},
    },
}
_UPLOAD: Schema = {
    "type": "object",
    "required": ["d"],
    "properties": {
        "d": {"type": "array", "maxItems": clevertap.MOST_RECORDS, "items": _RECORD},
    },
}
_UPLOADED: Schema = {
    "type": "object",
    "required": ["status", "processed", "unprocessed"],
    "properties": {
        "status": {"enum": ["success", "partial", "fail"]},
        "processed": _COUNT,
        "unprocessed": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["status", "code", "error", "record"],
                "properties": {
                    "status": {"const": "fail"},
                    "code": {"type": "integer"},
                    "error": {"type": "string", "pattern": "Skipped record number : [0-9]+$"},
                    "record": {},
                },
            },
        },
    },
}
_IDS: Schema = {"type": "object", "minProperties": 1}
_TIME: Schema = {"type": ["number", "string"], "description": "Epoch seconds or ISO 8601."}
_EVENT: Schema = {
    "type": "object",
    "required": ["customer_ids", "event_type"],
    "properties": {
        "customer_ids": _IDS,
        "event_type": _TEXT,
        "timestamp": _TIME,
        "properties": {"type": "object"},
    },
}
_CUSTOMER: Schema = {
    "type": "object",
    "required": ["customer_ids", "properties"],
    "properties": {
        "customer_ids": _IDS,
        "update_timestamp": _TIME,
        "properties": {"type": "object"},
    },
}
_COMMANDS: Schema = {
    "type": "object",
    "required": ["commands"],
    "properties": {
        "commands": {
            "type": "array",
            "minItems": 1,
            "maxItems": bloomreach.MOST_COMMANDS,
            "items": {
                "type": "object",
                "required": ["name"],
                "properties": {
                    "name": {"enum": [bloomreach.EVENTS, bloomreach.CUSTOMERS, bloomreach.TIME]},
                    "command_id": {},
                    "data": {"type": "object"},
                },
            },
        }
    },
}
_SINGLE: Schema = {
    "type": "object",
    "required": ["success"],
    "properties": {"success": {"type": "boolean"}, "errors": _ERRORS},
}
_RESULTS: Schema = {
    "type": "object",
    "required": ["results", "start_time", "end_time", "success"],
    "properties": {
        "results": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["success"],
                "properties": {
                    "success": {"type": "boolean"},
                    "command_id": {},
                    "time": {"type": "number"},
                    "errors": _ERRORS,
                },
            },
        },
        "start_time": {"type": "number"},
        "end_time": {"type": "number"},
        "success": {"const": True},
    },
}
_PROJECT: Schema = {
    "name": "token",
    "in": "path",
    "required": True,
    "description": "The project's token, or the destination's name.",
    "schema": {"type": "string", "minLength": 1},
}


def _operation(summary: str, answer: Schema, rejections: tuple[str, ...]) -> Schema:
    responses: Schema = {"200": _response("See the schema.", answer)}
    for status in rejections:
        responses[status] = _response(_REFUSALS[status], {"type": "object"})
        if status in _WAITING:
            responses[status]["headers"] = _RETRY_AFTER
    return {"summary": summary, "responses": responses}


def _response(description: str, schema: Schema) -> Schema:
    return {"description": description, "content": {"application/json": {"schema": schema}}}


def _body(schema: Schema) -> Schema:
    return {"required": True, "content": {"application/json": {"schema": schema}}}


def _enqueuing(summary: str, answer: Schema) -> Schema:
    operation = _operation(summary, answer, tuple(_REFUSALS))
    operation["responses"]["200"]["headers"] = _REPLAYED
    return operation


def _upload() -> Schema:
    return {
        **_enqueuing("Upload events, profiles and tokens.", _UPLOADED),
        "security": [{"account": [], "passcode": []}, {"bearer": []}],
        "parameters": [
            {
                "name": "dryRun",
                "in": "query",
                "description": "1 validates and enqueues nothing.",
                "schema": {"enum": ["0", "1"]},
            },
            _ONCE,
        ],
        "requestBody": _body(_UPLOAD),
    }


def _tracking(summary: str, body: Schema, answer: Schema) -> Schema:
    return {
        **_enqueuing(summary, answer),
        "security": [{"basic": []}, {"bearer": []}, {"token": []}],
        "parameters": [_PROJECT, _ONCE],
        "requestBody": _body(body),
    }


def _time() -> Schema:
    answer = {"type": "object", "required": ["success", "time"]}
    return {
        **_operation("The gateway's time.", answer, tuple(_REFUSALS)),
        "security": [{"basic": []}, {"bearer": []}, {"token": []}],
        "parameters": [_PROJECT],
    }


def _health(summary: str, *also: str) -> Schema:
    operation = _operation(summary, {"type": "object"}, ("405",))
    for status in also:
        operation["responses"][status] = _response("Not ready, and why.", {"type": "object"})
    return operation


class OpenApi(Endpoint):
    """Serves the document; it needs no key, for it holds no secret."""

    path = "/openapi.json"
    method = "GET"

    def __init__(self, settings: GatewaySettings) -> None:
        self._document = orjson.dumps(document(settings))

    async def answer(self, request: Request) -> HttpResponse:
        """The document."""
        del request
        return HttpResponse(200, self._document)
