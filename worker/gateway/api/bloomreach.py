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
from worker.vendors.bloomreach.rules import NO_IDS, NO_VALID_ID
from worker.vendors.protocol import Kind, Prepared

from ..auth import credentials
from ..server.endpoint import Door, Headers, Reply, Request
from ..server.errors import Refused
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


class Tracking(Door):
    """What all of the project's endpoints share."""

    def __init__(
        self, reception: RequestHandler, settings: Settings, now: Callable[[], float] = time.time
    ) -> None:
        self._reception = reception
        self._now = now
        self._destinations = [
            each for each in settings.destinations.values() if each.vendor == "bloomreach"
        ]

    async def _entered(self, request: Request) -> AuthorizedRequest:
        shown = credentials.bloomreach(request.header(b"authorization"))
        if shown is None:
            raise Refused(401, "Access key not provided")
        producer = await self._reception.known(shown, self._destinations)
        if producer is None:
            raise Refused(401, "access key not found")
        token: str = request.scope["path_params"]["token"]
        destination = named(self._destinations, token, "project_token")
        if destination is None:
            raise Refused(400, "Invalid project id")
        return await self._reception.let_in(request, producer, destination)

    def _object(self, body: bytes) -> dict[str, Any]:
        try:
            found = self._reception.bodies.parse(body)
        except ValueError:
            found = None
        if not isinstance(found, dict):
            raise Refused(400, _INVALID)
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
            return self._reception.desk.prepare(destination, data)

        sifted = await self._reception.sieve.sift(destination, commands, prepare)
        return sifted.calls, {each.position: _texts(each.error) for each in sifted.refusals}

    def refusal(self, refused: Refused) -> Reply:
        """The vendor's answer to a request that is refused as a whole."""
        key = "message" if refused.status == 400 else "error"
        body = {"success": False, key: refused.text}
        return Reply(refused.status, orjson.dumps(body), refused.headers)


class Single(Tracking):
    """`POST .../customers/events` and `POST .../customers`: one record a request."""

    method = "POST"

    def __init__(self, name: str, reception: RequestHandler, settings: Settings) -> None:
        super().__init__(reception, settings)
        self._name = name
        self.path = f"{PROJECT}/{name}"

    async def answer(self, request: Request) -> Reply:
        """HTTP 200 with the record's verdict, or Refused."""
        visit = await self._entered(request)
        data = self._object(visit.body)
        self._reception.charge(visit, 1)
        calls, found = await self._sift(visit.destination, [(self._name, data)])
        request.seen.refused = len(found)
        errors, headers = await self._reception.enqueue(visit, calls, found.get(0))
        if errors is None:
            return Reply(200, b'{"errors":[],"success":true}', headers)
        return Reply(200, orjson.dumps({"success": False, "errors": errors}), headers)


class Batch(Tracking):
    """`POST .../batch`: up to 50 commands, a result for each, in order."""

    method = "POST"
    path = f"{PROJECT}/batch"

    async def answer(self, request: Request) -> Reply:
        """HTTP 200 with a result for each command, or Refused."""
        visit = await self._entered(request)
        commands = self._commands(visit.body)
        self._reception.charge(visit, len(commands))
        pairs = [(each.get("name"), each.get("data")) for each in commands]
        calls, found = await self._sift(visit.destination, pairs)
        request.seen.refused = len(found)
        verdicts = self._now(), list(found.items())
        (then, errors), headers = await self._reception.enqueue(visit, calls, verdicts)
        return _results(commands, then, dict(errors), headers)

    def _commands(self, body: bytes) -> list[dict[str, Any]]:
        commands = self._object(body).get("commands")
        if commands is None or commands == []:
            raise Refused(400, "No commands")
        if not isinstance(commands, list) or not all(isinstance(each, dict) for each in commands):
            raise Refused(400, _INVALID)
        if len(commands) > MOST_COMMANDS:
            raise Refused(400, f"Too many commands, the limit is {MOST_COMMANDS}")
        return commands


class SystemTime(Tracking):
    """`GET .../system/time`."""

    method = "GET"
    path = f"{PROJECT}/{TIME}"

    async def answer(self, request: Request) -> Reply:
        """The time in epoch seconds."""
        await self._entered(request)
        told = {"errors": [], "success": True, "time": self._now()}
        return Reply(200, orjson.dumps(told))


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
) -> Reply:
    results = [_result(each, now, errors.get(at)) for at, each in enumerate(commands)]
    # `success` beside the results stays true whatever became of the commands, as the vendor's does.
    told = {"results": results, "start_time": now, "end_time": now, "success": True}
    return Reply(200, written(told), headers)


def _result(command: Mapping[str, Any], now: float, errors: list[str] | None) -> dict[str, Any]:
    result: dict[str, Any] = {"success": errors is None}
    if errors is not None:
        result["errors"] = errors
    elif command.get("name") == TIME:
        result["time"] = now
    if "command_id" in command:
        result["command_id"] = command["command_id"]
    return result
