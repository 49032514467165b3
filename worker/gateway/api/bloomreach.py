"""Bloomreach's tracking calls, compatible with its own clients and server.

A rejected record is answered as the vendor does: HTTP 200, and `success` false for the record.
`success` is true for an accepted one, after it is in Redis.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import orjson

from worker.errors import InvalidRecord
from worker.producer.encoder import EnqueueBatch
from worker.settings.settings import Settings
from worker.vendors.bloomreach.account import MAX_COMMANDS, BloomreachAccount
from worker.vendors.bloomreach.rules import NO_IDS, NO_VALID_ID
from worker.vendors.protocol import Kind, Prepared

from ..auth import credentials
from ..server.endpoint import Endpoint, HttpError, HttpRequest, HttpResponse
from ..server.request_body import dump_json
from .request_handler import AuthorizedRequest, RequestHandler, find_destination

PROJECT = "/track/v2/projects/{token}"
EVENTS, CUSTOMERS, TIME = "customers/events", "customers", "system/time"
_KINDS = {EVENTS: Kind.EVENT, CUSTOMERS: Kind.PROFILE}
_INVALID = "Invalid JSON"
# The vendor's own texts where it documents them; ours, which name the field, follow them.
_DOCUMENTED = {
    str(NO_IDS): "At least one id should be specified. ",
    str(NO_VALID_ID): "At least one valid id should be specified. ",
}

# A command's name and its data, as the client sent them.
Command = tuple[Any, Any]


class BloomreachEndpoint(Endpoint):
    """The common part of the project's endpoints."""

    def __init__(self, handler: RequestHandler, settings: Settings) -> None:
        self._handler = handler
        self._destinations = settings.at(BloomreachAccount)

    async def _authorized(self, request: HttpRequest) -> AuthorizedRequest:
        presented = credentials.bloomreach(request.header(b"authorization"))
        if presented is None:
            raise HttpError(401, "Access key not provided")
        producer = await self._handler.authenticate(presented, self._destinations)
        if producer is None:
            raise HttpError(401, "access key not found")
        destination = find_destination(self._destinations, request.scope["path_params"]["token"])
        if destination is None:
            raise HttpError(400, "Invalid project id")
        return await self._handler.authorize(request, producer, destination)

    def _object(self, body: bytes) -> dict[str, Any]:
        with suppress(ValueError):
            if isinstance(found := self._handler.bodies.parse(body), dict):
                return found
        raise HttpError(400, _INVALID)

    async def _validate(
        self, request: AuthorizedRequest, commands: Sequence[Command]
    ) -> tuple[Sequence[EnqueueBatch], dict[int, list[str]]]:
        """Return the valid commands' records by kind, and the others' errors by position from 0."""

        def prepare(command: Command) -> Prepared | None:
            name, data = command
            if name == TIME:
                return None
            _check_kind(name, data)
            return self._handler.encoder.prepare(request.destination, data)

        batches, rejections = await self._handler.validate(request, commands, prepare)
        return batches, {each.position: _error_texts(each.error) for each in rejections}

    def error_response(self, error: HttpError) -> HttpResponse:
        """Return the vendor's response to a request that fails as a whole."""
        body = {"success": False, "message" if error.status == 400 else "error": error.text}
        return HttpResponse(error.status, orjson.dumps(body), error.headers)


class SingleCommand(BloomreachEndpoint):
    """`POST .../customers/events` and `POST .../customers`: one record a request."""

    method = "POST"

    def __init__(self, name: str, handler: RequestHandler, settings: Settings) -> None:
        super().__init__(handler, settings)
        self._name = name
        self.path = f"{PROJECT}/{name}"

    async def handle(self, request: HttpRequest) -> HttpResponse:
        authorized = await self._authorized(request)
        data = self._object(authorized.body)
        batches, found = await self._validate(authorized, [(self._name, data)])
        errors, headers = await self._handler.enqueue(authorized, batches, found.get(0))
        if errors is None:
            return HttpResponse(200, b'{"errors":[],"success":true}', headers)
        return HttpResponse(200, orjson.dumps({"success": False, "errors": errors}), headers)


class BatchCommands(BloomreachEndpoint):
    """`POST .../batch`: up to 50 commands, a result for each, in order."""

    method = "POST"
    path = f"{PROJECT}/batch"

    async def handle(self, request: HttpRequest) -> HttpResponse:
        authorized = await self._authorized(request)
        commands = self._commands(authorized.body)
        pairs = [(each.get("name"), each.get("data")) for each in commands]
        batches, found = await self._validate(authorized, pairs)
        verdicts = time.time(), list(found.items())
        (then, errors), headers = await self._handler.enqueue(authorized, batches, verdicts)
        by_position = dict(errors)
        results = [_result(each, then, by_position.get(at)) for at, each in enumerate(commands)]
        # `success` beside the results is always true, whatever the results, as the vendor's is.
        answer = {"results": results, "start_time": then, "end_time": then, "success": True}
        return HttpResponse(200, dump_json(answer), headers)

    def _commands(self, body: bytes) -> list[dict[str, Any]]:
        commands = self._object(body).get("commands")
        if commands is None or commands == []:
            raise HttpError(400, "No commands")
        if not isinstance(commands, list) or not all(isinstance(each, dict) for each in commands):
            raise HttpError(400, _INVALID)
        if len(commands) > MAX_COMMANDS:
            raise HttpError(400, f"Too many commands, the limit is {MAX_COMMANDS}")
        return commands


class SystemTime(BloomreachEndpoint):
    """`GET .../system/time`: the time in epoch seconds."""

    path = f"{PROJECT}/{TIME}"

    async def handle(self, request: HttpRequest) -> HttpResponse:
        await self._authorized(request)
        return HttpResponse(200, orjson.dumps({"errors": [], "success": True, "time": time.time()}))


def _check_kind(name: Any, data: Any) -> None:
    """Raise InvalidRecord when the data does not belong to the command."""
    kind = _KINDS.get(name) if isinstance(name, str) else None
    if kind is None:
        raise InvalidRecord({"name": [f"must be {EVENTS}, {CUSTOMERS} or {TIME}"]})
    if not isinstance(data, dict):
        raise InvalidRecord({"data": ["is required: an object"]})
    if kind == Kind.EVENT and "event_type" not in data:
        raise InvalidRecord({"event_type": ["is required"]})
    if kind == Kind.PROFILE and "event_type" in data:
        raise InvalidRecord({"event_type": [f"belongs to {EVENTS}"]})


def _error_texts(error: InvalidRecord) -> list[str]:
    return [
        f"{_DOCUMENTED.get(rules[0], '')}{field}: {' '.join(rules)}"
        for field, rules in error.errors.items()
    ]


def _result(command: Mapping[str, Any], now: float, errors: list[str] | None) -> dict[str, Any]:
    result: dict[str, Any] = {"success": errors is None}
    if errors is not None:
        result["errors"] = errors
    elif command.get("name") == TIME:
        result["time"] = now
    if "command_id" in command:
        result["command_id"] = command["command_id"]
    return result
