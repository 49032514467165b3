"""The active faults, and which of them apply to a request."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from worker.sandbox.fault_rules import FaultRule, read_rule


@dataclass(frozen=True, slots=True)
class FaultPlan:
    """The faults of one request: a delay, and at most one rule for its response."""

    delay_ms: float = 0.0
    rule: FaultRule | None = None

    @property
    def kind(self) -> str:
        """The kind of the rule, or an empty string."""
        return self.rule.kind if self.rule else ""


class Faults:
    """The active rules, in the order they were set; the first that applies wins."""

    def __init__(self) -> None:
        self._rules: list[FaultRule] = []
        self._next_id = 1

    def add(self, given: Any) -> FaultRule:
        """Add a rule; raise `BadRule`."""
        rule = read_rule(given)
        rule.id, self._next_id = self._next_id, self._next_id + 1
        self._rules.append(rule)
        return rule

    def clear(self, rule_id: int | None = None) -> int:
        """Remove one rule, or all; return the number removed."""
        before = len(self._rules)
        self._rules = [rule for rule in self._rules if rule_id not in (None, rule.id)]
        return before - len(self._rules)

    def listed(self) -> list[dict[str, Any]]:
        """Return every rule, spent ones included."""
        return [rule.public() for rule in self._rules]

    def plan(self, vendor: str, path: str) -> FaultPlan:
        """Plan the faults of the next request of ``vendor`` to ``path``."""
        delay_ms, chosen = 0.0, None
        for rule in self._rules:
            if rule.kind == "record" or not rule.concerns(vendor, path):
                continue
            if rule.kind == "delay":
                delay_ms += rule.delay_ms if rule.applies() else 0
            elif chosen is None and rule.applies():
                chosen = rule
                delay_ms += rule.delay_ms
        return FaultPlan(delay_ms, chosen)

    def record_rules(self, vendor: str, path: str) -> Sequence[FaultRule]:
        """Return the rules for single records; usually none."""
        return [
            rule
            for rule in self._rules
            if rule.kind == "record" and rule.times != 0 and rule.concerns(vendor, path)
        ]
