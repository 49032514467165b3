"""Bloomreach's tracking calls, as its own clients make them and as its server answers them.

Refused records are answered as the vendor answers them: HTTP 200, and `success` false for the
record. What was accepted is told by `success` true, after it is in Redis.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import orjson

from worker.errors import InvalidRecord
from worker.producer.encoder import EnqueueBatch
from worker.settings.destination import Destination
from worker.settings.settings import Settings
from worker.vendors.bloomreach.account import BloomreachAccount
from worker.vendors.bloomreach.rules import NO_IDS, NO_VALID_ID
from worker.vendors.protocol import Kind, Prepared

from ..auth import credentials
from ..server.endpoint import Endpoint, Headers, HttpResponse, Request
from ..server.errors import HttpError
from ..server.request_body import written
from .request_handler import AuthorizedRequest, RequestHandler, named

PROJECT = "/track/v2/projects/{token}"
EVENTS, CUSTOMERS, TIME = "customers/events", "customers", "system/time"
MOST_COMMANDS = 50  # vendor page "Batch commands"
_KINDS = {EVENTS: Kind.EVENT, CUSTOMERS: Kind.PROFILE}
_INVALID = "Invalid JSON"
# The vendor's own words where it documents them; ours, which name the field, come after them.
_DOCUMENTED = {
    str(NO_IDS): "At least one id should be specified. ",
    str(NO_VALID_ID): "At least one valid id should be specified. ",
}

# By position from 0: what is wrong with the command.
Errors = dict[int, list[str]]


# A command's name and its data, as they came.
Command = tuple[Any, Any]


class Tracking(Endpoint):
    """What all of the project's endpoints share."""

    def __init__(
        self, handler: RequestHandler, settings: Settings, now: Callable[[], float] = time.time
    ) -> None:
        self._handler = handler
        self._now = now
        self._destinations = settings.at(BloomreachAccount)

    async def _entered(self, request: Request) -> AuthorizedRequest:
        shown = credentials.bloomreach(request.header(b"authorization"))
        if shown is None:
            raise HttpError(401, "Access key not provided")
        producer = await self._handler.known(shown, self._destinations)
        if producer is None:
            raise HttpError(401, "access key not found")
        token: str = request.scope["path_params"]["token"]
        destination = named(self._destinations, token)
        if destination is None:
            raise HttpError(400, "Invalid project id")
        return await self._handler.let_in(request, producer, destination)

    def _object(self, body: bytes) -> dict[str, Any]:
        try:
            found = self._handler.bodies.parse(body)
        except ValueError:
            found = None
        if not isinstance(found, dict):
            raise HttpError(400, _INVALID)
        return found

    async def _sift(
        self, destination: Destination, commands: Sequence[Command]
    ) -> tuple[Sequence[EnqueueBatch], Errors]:
        """Check commands: the valid ones as calls, kind by kind, and what is wrong with others."""

        def prepare(command: Command) -> Prepared | None:
            name, data = command
            if name == TIME:
                return None
            _check_kind(name, data)
            return self._handler.encoder.prepare(destination, data)

        validated = await self._handler.validator.validate(destination, commands, prepare)
        return validated.calls, {each.position: _texts(each.error) for each in validated.rejections}

    def error_response(self, refused: HttpError) -> HttpResponse:
        """The vendor's answer to a request that is refused as a whole."""
        key = "message" if refused.status == 400 else "error"
        body = {"success": False, key: refused.text}
        return HttpResponse(refused.status, orjson.dumps(body), refused.headers)


class Single(Tracking):
    """`POST .../customers/events` and `POST .../customers`: one record a request."""

    method = "POST"

    def __init__(self, name: str, handler: RequestHandler, settings: Settings) -> None:
        super().__init__(handler, settings)
        self._name = name
        self.path = f"{PROJECT}/{name}"

    async def answer(self, request: Request) -> HttpResponse:
        """HTTP 200 with the record's verdict, or Refused."""
        authorized = await self._entered(request)
        data = self._object(authorized.body)
        self._handler.charge(authorized, 1)
        calls, found = await self._sift(authorized.destination, [(self._name, data)])
        request.seen.refused = len(found)
        errors, headers = await self._handler.enqueue(authorized, calls, found.get(0))
        if errors is None:
            return HttpResponse(200, b'{"errors":[],"success":true}', headers)
        return HttpResponse(200, orjson.dumps({"success": False, "errors": errors}), headers)


class Batch(Tracking):
    """`POST .../batch`: up to 50 commands, a result for each, in order."""

    method = "POST"
    path = f"{PROJECT}/batch"

    async def answer(self, request: Request) -> HttpResponse:
        """HTTP 200 with a result for each command, or Refused."""
        authorized = await self._entered(request)
        commands = self._commands(authorized.body)
        self._handler.charge(authorized, len(commands))
        pairs = [(each.get("name"), each.get("data")) for each in commands]
        calls, found = await self._sift(authorized.destination, pairs)
        request.seen.refused = len(found)
        verdicts = self._now(), list(found.items())
        (then, errors), headers = await self._handler.enqueue(authorized, calls, verdicts)
        return _results(commands, then, dict(errors), headers)

    def _commands(self, body: bytes) -> list[dict[str, Any]]:
        commands = self._object(body).get("commands")
        if commands is None or commands == []:
            raise HttpError(400, "No commands")
        if not isinstance(commands, list) or not all(isinstance(each, dict) for each in commands):
            raise HttpError(400, _INVALID)
        if len(commands) > MOST_COMMANDS:
            raise HttpError(400, f"Too many commands, the limit is {MOST_COMMANDS}")
        return commands


class SystemTime(Tracking):
    """`GET .../system/time`."""

    method = "GET"
    path = f"{PROJECT}/{TIME}"

    async def answer(self, request: Request) -> HttpResponse:
        """The time in epoch seconds."""
        await self._entered(request)
        told = {"errors": [], "success": True, "time": self._now()}
        return HttpResponse(200, orjson.dumps(told))


def _check_kind(name: Any, data: Any) -> None:
    """InvalidRecord when the data belongs to another command, or to none."""
    kind = _KINDS.get(name) if isinstance(name, str) else None
    if kind is None:
        raise InvalidRecord({"name": [f"must be {EVENTS}, {CUSTOMERS} or {TIME}"]})
    if not isinstance(data, dict):
        raise InvalidRecord({"data": ["is required: an object"]})
    if kind == Kind.EVENT and "event_type" not in data:
        raise InvalidRecord({"event_type": ["is required"]})
    if kind == Kind.PROFILE and "event_type" in data:
        raise InvalidRecord({"event_type": [f"belongs to {EVENTS}"]})


def _texts(error: InvalidRecord) -> list[str]:
    return [
        f"{_DOCUMENTED.get(rules[0], '')}{field}: {' '.join(rules)}"
        for field, rules in error.errors.items()
    ]


def _results(
    commands: Sequence[Mapping[str, Any]], now: float, errors: Errors, headers: Headers
) -> HttpResponse:
    results = [_result(each, now, errors.get(at)) for at, each in enumerate(commands)]
    # `success` beside the results stays true whatever became of the commands, as the vendor's does.
    told = {"results": results, "start_time": now, "end_time": now, "success": True}
    return HttpResponse(200, written(told), headers)


def _result(command: Mapping[str, Any], now: float, errors: list[str] | None) -> dict[str, Any]:
    result: dict[str, Any] = {"success": errors is None}
    if errors is not None:
        result["errors"] = errors
    elif command.get("name") == TIME:
        result["time"] = now
    if "command_id" in command:
        result["command_id"] = command["command_id"]
    return result
