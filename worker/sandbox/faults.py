"""The faults in force: which rule strikes which request. Rules: `fault_rules`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from worker.sandbox.fault_rules import Rule, read_rule


@dataclass(frozen=True, slots=True)
class Plan:
    """What befalls one request: a wait, and at most one rule about its answer."""

    delay_ms: float = 0.0
    rule: Rule | None = None


class Faults:
    """The rules in force, in the order they were set; the first that strikes wins."""

    def __init__(self) -> None:
        self._rules: list[Rule] = []
        self._next_id = 1

    def add(self, given: Any) -> Rule:
        """Put a rule in force; raises `BadRule`."""
        rule = read_rule(given)
        rule.id, self._next_id = self._next_id, self._next_id + 1
        self._rules.append(rule)
        return rule

    def clear(self, rule_id: int | None = None) -> int:
        """Lift one rule, or all; returns how many there were."""
        before = len(self._rules)
        self._rules = [rule for rule in self._rules if rule_id not in (None, rule.id)]
        return before - len(self._rules)

    def listed(self) -> list[dict[str, Any]]:
        """Every rule, spent ones included."""
        return [rule.public() for rule in self._rules]

    def plan(self, vendor: str, path: str) -> Plan:
        """What befalls the next request of ``vendor`` to ``path``."""
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

    def record_rules(self, vendor: str, path: str) -> Sequence[Rule]:
        """The rules about single records, to ask for each of them; mostly none."""
        return [
            rule
            for rule in self._rules
            if rule.kind == "record" and rule.times != 0 and rule.concerns(vendor, path)
        ]
