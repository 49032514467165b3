"""Bloomreach's tracking endpoints: credentials, single calls and batches."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

import orjson

from worker.sandbox.bloomreach_rules import CUSTOMERS, EVENTS, MOST_COMMANDS, TIME, CommandErrors
from worker.sandbox.endpoint import VendorRequest, VendorResponse
from worker.sandbox.faults import applied
from worker.sandbox.ledger import LedgerRecord
from worker.sandbox.state import SandboxState

_ERRORS = {
    429: "Too many requests",
    500: "Internal server error",
    503: "Service temporarily unavailable",
}


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
        given = _parsed(request.body)
        commands = given.get("commands", []) if isinstance(given, dict) else None
        if not isinstance(commands, list) or not all(isinstance(each, dict) for each in commands):
            return _message(400, "Invalid JSON")
        if not commands:
            return _message(400, "No commands")
        if len(commands) > MOST_COMMANDS:
            # The vendor does not publish what it does here; a client must survive a refusal.
            return _message(400, f"Too many commands, the limit is {MOST_COMMANDS}")
        started = self._state.clock()
        outcomes = [self._outcome(request.path, command) for command in commands]
        self._state.ledger.add(self.vendor, [record for _, record in outcomes if record])
        results = [result for result, _ in outcomes]
        refusals = sum(not result["success"] for result in results)
        return self._batch(results, started, records=len(commands), refused=refusals)

    def unknown(self, _call: VendorRequest) -> VendorResponse:
        """Handle any other path, with the router's own error shape."""
        text = "The requested URL was not found on the server"
        return _json(404, {"errors": {"code": 404, "description": text}})

    def failing(self, status: int, error: str | None = None) -> VendorResponse:
        """Refuse the whole request."""
        return _json(status, {"success": False, "error": error or _ERRORS.get(status, "Failed")})

    def empty(self) -> VendorResponse:
        """Answer a batch without a single result."""
        return self._batch([], self._state.clock())

    def _batch(
        self, results: list[dict[str, Any]], started: float, **counts: int
    ) -> VendorResponse:
        times = {"start_time": started, "end_time": self._state.clock()}
        # Success whatever the results of the commands.
        return _json(200, {"results": results, **times, "success": True}, **counts)

    def _single(self, name: str, request: VendorRequest) -> VendorResponse:
        data = _parsed(request.body)
        if not isinstance(data, dict):
            return _message(400, "Invalid JSON")
        result, record = self._outcome(request.path, {"name": name, "data": data})
        if record is None:
            return _json(200, result, records=1, refused=1)
        self._state.ledger.add(self.vendor, [record])
        return _json(200, {"errors": [], "success": True}, records=1)

    def _outcome(
        self, path: str, command: Mapping[str, Any]
    ) -> tuple[dict[str, Any], LedgerRecord | None]:
        """Return a command's result, and its record if it is accepted."""
        ids = {"command_id": command["command_id"]} if "command_id" in command else {}
        name, now = command.get("name"), self._state.clock()
        if name == TIME:
            return {"success": True, "time": now, **ids}, None
        errors: CommandErrors = ["Unknown command name"]
        if name in (EVENTS, CUSTOMERS):
            found = self._validated(path, name, command.get("data"), int(now))
            if isinstance(found, LedgerRecord):
                return {"success": True, **ids}, found
            errors = found
            self._state.ledger.of(self.vendor).refused[_first_text(errors)] += 1
        return {"success": False, "errors": errors, **ids}, None

    def _validated(self, path: str, name: str, data: Any, now: int) -> LedgerRecord | CommandErrors:
        if rule := applied(self._state.faults.record_rules(self.vendor, path), data):
            return [rule.error or "Requested from the sandbox."]
        return self._state.commands.validate(name, data, now)

    def _refusal(self, request: VendorRequest, method: str) -> VendorResponse | None:
        if request.method != method:
            return self.failing(405, "The method is not allowed for the requested URL")
        if refused := self._unauthorised(request):
            return refused
        known = request.path.split("/")[4] == self._state.settings.project_token
        return None if known else self.failing(400, "Invalid project id")

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


def _first_text(errors: CommandErrors) -> str:
    """Return the first text among the errors: refusals are counted by it."""
    if isinstance(errors, dict):
        errors = next(iter(errors.values()))
    return errors if isinstance(errors, str) else errors[0]


def _decoded(value: str) -> str:
    try:
        return base64.b64decode(value, validate=True).decode()
    except ValueError:
        return ""


def _message(status: int, text: str) -> VendorResponse:
    return _json(status, {"success": False, "message": text})


def _json(status: int, body: Any, *, records: int = 0, refused: int = 0) -> VendorResponse:
    return VendorResponse(status, orjson.dumps(body), records=records, refused=refused)
