"""A fault: a rule that makes the sandbox misbehave in one named way. Pure.

A rule is a JSON object. ``kind`` says what it does:

    delay      waits ``delay_ms`` before the response; combines with any other rule
    http       responds with ``status`` (and ``retry_after``, ``error`` or a whole ``body``)
    drop       reads the request, then breaks the connection without a response
    truncate   sends half of the response and breaks the connection
    nonsense   responds with 200 and a body that is not JSON
    empty      responds with 200 "fail" and names no record (CleverTap uploads)
    record     refuses each record that matches ``match``, with ``code`` and ``error``

``vendor`` (clevertap, bloomreach, any) and ``path`` (a prefix) restrict it. ``times`` is how often
it applies (default: until cleared), ``after`` how many requests it spares first; ``probability``
and ``seed`` make it random but repeatable. ``apply`` decides whether the records are kept all the
same; it defaults to true, except for ``http`` and ``empty``. ``kind`` may be omitted where other
keys imply it.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

KINDS = ("delay", "http", "drop", "truncate", "nonsense", "empty", "record")
VENDORS = ("clevertap", "bloomreach", "any")


class BadRule(ValueError):
    """The rule is invalid; the message says why."""


@dataclass(slots=True)
class FaultRule:
    """An active fault. ``times`` and ``after`` count down; None is unlimited."""

    kind: str
    vendor: str = "any"
    path: str = ""
    status: int = 503
    retry_after: str | None = None
    error: str | None = None
    body: str | None = None
    delay_ms: float = 0.0
    match: Mapping[str, Any] = field(default_factory=dict)
    code: int = 555
    apply: bool = True
    times: int | None = None
    after: int = 0
    probability: float = 1.0
    seed: int = 0
    id: int = 0
    met: int = 0
    _random: random.Random = field(default_factory=random.Random, repr=False)

    def applies(self) -> bool:
        """Decide whether it applies now, and count that."""
        if self.times == 0:
            return False
        if self.after > 0:
            self.after -= 1
            return False
        if self.probability < 1 and self._random.random() >= self.probability:
            return False
        if self.times is not None:
            self.times -= 1
        self.met += 1
        return True

    def concerns(self, vendor: str, path: str) -> bool:
        """Return whether it applies to requests of ``vendor`` to ``path``."""
        return self.vendor in {vendor, "any"} and path.startswith(self.path)

    def describes(self, record: Any) -> bool:
        """Return whether every dotted path in ``match`` has its given value."""
        return all(_value_at(record, path) == value for path, value in self.match.items())

    def public(self) -> dict[str, Any]:
        """Return the rule as JSON, with its remaining and past uses."""
        return {each.name: getattr(self, each.name) for each in fields(self) if each.name[0] != "_"}


def read_rule(given: Any) -> FaultRule:
    """Build the rule that ``given`` describes; raise `BadRule`."""
    if not isinstance(given, dict):
        raise BadRule("a rule must be a JSON object")
    settable = {each.name for each in fields(FaultRule)} - {"id", "met", "_random"}
    if unknown := set(given) - settable:
        raise BadRule(f"unknown fields: {', '.join(sorted(unknown))}")
    kind = given.get("kind") or _kind_of(given)
    _check(given, kind)
    rule = FaultRule(**{"apply": kind not in {"http", "empty"}, **given, "kind": kind})
    rule._random = random.Random(rule.seed)  # noqa: SLF001 - its own module
    return rule


def _kind_of(given: Mapping[str, Any]) -> str:
    if "match" in given or "code" in given:
        return "record"
    if "status" in given or "body" in given:
        return "http"
    return "delay" if "delay_ms" in given else ""


def _check(given: Mapping[str, Any], kind: str) -> None:
    if kind not in KINDS:
        raise BadRule(f"kind must be one of {', '.join(KINDS)}")
    if given.get("vendor", "any") not in VENDORS:
        raise BadRule(f"vendor must be one of {', '.join(VENDORS)}")
    for name, value in given.items():
        wanted = _WANTED.get(name)
        if wanted is not None and not (wanted[1](value) or (value is None and name == "times")):
            raise BadRule(f"{name} must be {wanted[0]}")


def _is_number(value: Any, most: float = math.inf) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= most


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and _is_number(value)


def _is_line(value: Any) -> bool:
    return isinstance(value, str) and value.isprintable() and value.isascii()


# What a field must be: in words, and as a test.
_WANTED: Mapping[str, tuple[str, Callable[[Any], bool]]] = {
    "status": ("an HTTP status", lambda value: _is_count(value) and 200 <= value < 600),
    "delay_ms": ("milliseconds, ten minutes at most", lambda value: _is_number(value, 600_000)),
    "probability": ("between 0 and 1", lambda value: _is_number(value, 1)),
    "apply": ("true or false", lambda value: isinstance(value, bool)),
    "match": ("an object of paths and values", lambda value: isinstance(value, dict)),
    "retry_after": ("one line of ASCII text", _is_line),
    **dict.fromkeys(("times", "after", "seed", "code"), ("a whole number", _is_count)),
    **dict.fromkeys(("path", "body", "error"), ("text", lambda value: isinstance(value, str))),
}


def _value_at(record: Any, path: str) -> Any:
    for step in path.split("."):
        if not isinstance(record, dict):
            return None
        record = record.get(step)
    return record
