"""The faults in force: which rule applies to which request."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from worker.sandbox.fault_rules import FaultRule, read_rule


@dataclass(frozen=True, slots=True)
class Plan:
    """The faults of one request: a delay, and at most one rule for its response."""

    delay_ms: float = 0.0
    rule: FaultRule | None = None


class Faults:
    """The rules in force, in the order they were set; the first that applies wins."""

    def __init__(self) -> None:
        self._rules: list[FaultRule] = []
        self._next_id = 1

    def add(self, given: Any) -> FaultRule:
        """Put a rule in force; raise `BadRule`."""
        rule = read_rule(given)
        rule.id, self._next_id = self._next_id, self._next_id + 1
        self._rules.append(rule)
        return rule

    def clear(self, rule_id: int | None = None) -> int:
        """Lift one rule, or all; return how many there were."""
        before = len(self._rules)
        self._rules = [rule for rule in self._rules if rule_id not in (None, rule.id)]
        return before - len(self._rules)

    def listed(self) -> list[dict[str, Any]]:
        """Return every rule, spent ones included."""
        return [rule.public() for rule in self._rules]

    def plan(self, vendor: str, path: str) -> Plan:
        """Plan the faults of the next request of ``vendor`` to ``path``."""
        delay_ms, struck = 0.0, None
        for rule in self._rules:
            if rule.kind == "record" or not rule.concerns(vendor, path):
                continue
            if rule.kind == "delay":
                delay_ms += rule.delay_ms if rule.draws() else 0
            elif struck is None and rule.draws():
                struck = rule
                delay_ms += rule.delay_ms
        return Plan(delay_ms, struck)

    def record_rules(self, vendor: str, path: str) -> Sequence[FaultRule]:
        """Return the rules for single records; usually none."""
        return [
            rule
            for rule in self._rules
            if rule.kind == "record" and rule.times != 0 and rule.concerns(vendor, path)
        ]
