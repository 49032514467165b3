"""A scrape taken apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample


@dataclass(frozen=True, slots=True)
class Scrape:
    """The samples of one scrape."""

    samples: Sequence[Sample]

    @classmethod
    def of(cls, text: str) -> Scrape:
        """Parse the text format; fails when it is none."""
        families = text_string_to_metric_families(text)
        return cls([sample for family in families for sample in family.samples])

    def value(self, name: str, **labels: str) -> float:
        """The one number with this name and these labels, among others perhaps."""
        found = [each.value for each in self.samples if _is(each, name, labels)]
        assert len(found) == 1, (name, labels, found)
        return found[0]

    def labels(self, name: str) -> list[Mapping[str, str]]:
        """The labels of every number of this name."""
        return [each.labels for each in self.samples if each.name == name]

    @property
    def names(self) -> set[str]:
        """The names of all numbers."""
        return {each.name for each in self.samples}


def _is(sample: Sample, name: str, labels: Mapping[str, str]) -> bool:
    return sample.name == name and labels.items() <= sample.labels.items()
