"""Bloomreach's tracking endpoints: credentials, single calls and batches."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

import orjson

from worker.sandbox.bloomreach_rules import (
    CUSTOMERS,
    EVENTS,
    MOST_COMMANDS,
    TIME,
    CommandErrors,
    QueuedCommand,
)
from worker.sandbox.endpoint import VendorRequest, VendorResponse
from worker.sandbox.ledger import LedgerRecord
from worker.sandbox.state import SandboxState

_ERRORS = {
    429: "Too many requests",
    500: "Internal server error",
    503: "Service temporarily unavailable",
}
CommandOutcome = QueuedCommand | CommandErrors | float


class BloomreachApi:
    """The API of one project. It queues whatever it accepts; later failures show nowhere."""

    vendor = "bloomreach"
    content_type = "application/json"

    def __init__(self, state: SandboxState) -> None:
        self._state = state

    def event(self, request: VendorRequest) -> VendorResponse:
        """Handle ``POST .../customers/events``."""
        return self._refusal(request, "POST") or self._single(EVENTS, request)

    def customer(self, request: VendorRequest) -> VendorResponse:
        """Handle ``POST .../customers``."""
        return self._refusal(request, "POST") or self._single(CUSTOMERS, request)

    def time(self, request: VendorRequest) -> VendorResponse:
        """Handle ``GET .../system/time``."""
        found = {"errors": [], "success": True, "time": self._state.clock()}
        return self._refusal(request, "GET") or _json(200, found)

    def batch(self, request: VendorRequest) -> VendorResponse:
        """Handle ``POST .../batch``: a result per command, in order, or a refusal of all."""
        if refused := self._refusal(request, "POST"):
            return refused
        commands = _parsed(request.body)
        if not isinstance(commands, dict) or not _are_objects(commands.get("commands", [])):
            return _message(400, "Invalid JSON")
        commands = commands.get("commands")
        if not commands:
            return _message(400, "No commands")
        if len(commands) > MOST_COMMANDS:
            # The vendor does not publish what it does here; a client must survive a refusal.
            return _message(400, f"Too many commands, the limit is {MOST_COMMANDS}")
        return self._batch(request.path, commands)

    def unknown(self, _call: VendorRequest) -> VendorResponse:
        """Handle any other path, with the router's own error shape."""
        text = "The requested URL was not found on the server"
        return _json(404, {"errors": {"code": 404, "description": text}})

    def too_many(self) -> VendorResponse:
        """Refuse a request above the rate limit; nothing of it is kept."""
        return self.failing(429, None)

    def failing(self, status: int, error: str | None) -> VendorResponse:
        """Refuse the whole request."""
        return _json(status, {"success": False, "error": error or _ERRORS.get(status, "Failed")})

    def empty(self) -> VendorResponse:
        """Answer a batch without a single result."""
        now = self._state.clock()
        return _json(200, {"results": [], "start_time": now, "end_time": now, "success": True})

    def _batch(self, path: str, commands: list[dict[str, Any]]) -> VendorResponse:
        started = self._state.clock()
        outcomes = [self._outcome(path, command) for command in commands]
        self._enter([each for each in outcomes if isinstance(each, QueuedCommand)])
        results = [
            _result(command, outcome) for command, outcome in zip(commands, outcomes, strict=True)
        ]
        body = {
            "results": results,
            "start_time": started,
            "end_time": self._state.clock(),
            # True whatever the results of the commands.
            "success": True,
        }
        refused = sum(not result["success"] for result in results)
        return _json(200, body, records=len(commands), refused=refused)

    def _single(self, name: str, request: VendorRequest) -> VendorResponse:
        data = _parsed(request.body)
        if not isinstance(data, dict):
            return _message(400, "Invalid JSON")
        outcome = self._outcome(request.path, {"name": name, "data": data})
        if not isinstance(outcome, QueuedCommand):
            return _json(200, {"success": False, "errors": outcome}, records=1, refused=1)
        self._enter([outcome])
        return _json(200, {"errors": [], "success": True}, records=1)

    def _outcome(self, path: str, command: Mapping[str, Any]) -> CommandOutcome:
        """Return the queued command, its errors or (for ``system/time``) the time."""
        name, data = command.get("name"), command.get("data")
        if name == TIME:
            return self._state.clock()
        if name not in (EVENTS, CUSTOMERS):
            return ["Unknown command name"]
        outcome = self._faulty(path, data) or self._state.commands.validate(name, data)
        if not isinstance(outcome, QueuedCommand):
            self._state.ledger.of(self.vendor).refused[_summary(outcome)] += 1
        return outcome

    def _faulty(self, path: str, data: Any) -> CommandErrors | None:
        for rule in self._state.faults.record_rules(self.vendor, path):
            if rule.describes(data) and rule.applies():
                return [rule.error or "Requested from the sandbox."]
        return None

    def _enter(self, queued: list[QueuedCommand]) -> None:
        now = int(self._state.clock())
        rows = [
            LedgerRecord(
                self.vendor, each.kind, each.name, now if each.ts is None else each.ts, each.body
            )
            for each in queued
        ]
        self._state.ledger.add(self.vendor, rows)

    def _refusal(self, request: VendorRequest, method: str) -> VendorResponse | None:
        if request.method != method:
            return self.failing(405, "The method is not allowed for the requested URL")
        if refused := self._unauthorised(request):
            return refused
        project = request.path.split("/")[4]
        if project != self._state.settings.project_token:
            return self.failing(400, "Invalid project id")
        return None

    def _unauthorised(self, request: VendorRequest) -> VendorResponse | None:
        settings = self._state.settings
        scheme, _, value = request.headers.get("authorization", "").partition(" ")
        value = value or request.parameter("access_token") or ""
        if not value:
            return self.failing(401, "Access key not provided")
        if scheme.lower() != "basic":
            known = value == settings.public_token
            return None if known else self.failing(400, "Could not authenticate")
        key, _, secret = _decoded(value).partition(":")
        if key != settings.api_key_id:
            return self.failing(401, "access key not found")
        return None if secret == settings.api_secret else self.failing(403, "invalid secret")


def _parsed(body: bytes) -> Any:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return None


def _are_objects(commands: Any) -> bool:
    return isinstance(commands, list) and all(isinstance(each, dict) for each in commands)


def _result(command: Mapping[str, Any], outcome: CommandOutcome) -> dict[str, Any]:
    if isinstance(outcome, QueuedCommand):
        result: dict[str, Any] = {"success": True}
    elif isinstance(outcome, float):
        result = {"success": True, "time": outcome}
    else:
        result = {"success": False, "errors": outcome}
    if "command_id" in command:
        result["command_id"] = command["command_id"]
    return result


def _summary(errors: CommandErrors | float) -> str:
    """Return the first text among the errors: refusals are counted by it."""
    while not isinstance(errors, str):
        if isinstance(errors, dict):
            errors = next(iter(errors.values()))
        elif isinstance(errors, list):
            errors = errors[0]
        else:
            return str(errors)
    return errors


def _decoded(value: str) -> str:
    try:
        return base64.b64decode(value, validate=True).decode()
    except ValueError:
        return ""


def _message(status: int, text: str) -> VendorResponse:
    return _json(status, {"success": False, "message": text})


def _json(status: int, body: Any, *, records: int = 0, refused: int = 0) -> VendorResponse:
    return VendorResponse(status, orjson.dumps(body), records=records, refused=refused)
