"""The sample traffic: believable, repeatable, and faulty exactly as often as it says."""

from __future__ import annotations

import itertools

import orjson
import pytest

from worker.sandbox.clevertap_rules import Validator
from worker.sandbox.sample_traffic import sample
from worker.sandbox.server import create_app
from worker.vendors.clevertap.schema import CleverTapSchema


def shipped_judge() -> Validator:
    """The rules of a sandbox with its settings as shipped."""
    return create_app().state.validator


@pytest.mark.parametrize(
    ("events", "profiles", "seed"), [(10_000, 500, 7), (1234, 99, 8), (0, 300, 9)]
)
def test_sample_has_one_refused_record_in_a_hundred(events: int, profiles: int, seed: int) -> None:
    """A sandbox with default settings refuses one per full hundred of a kind, and nothing else."""
    validate = shipped_judge()
    refused = {"event": 0, "profile": 0}
    seen = {"event": 0, "profile": 0}
    for record in sample(events, profiles, seed):
        seen[record["type"]] += 1
        refused[record["type"]] += validate.validate(record) is not None
    assert seen == {"event": events, "profile": profiles}
    assert refused == {"event": events // 100, "profile": profiles // 100}


def test_sample_passes_the_producers_schema() -> None:
    """Only the vendor finds the faulty records: the producer rejects none."""
    schema = CleverTapSchema()
    for record in sample():
        assert schema.prepare(record, now_s=1_700_000_000).kind == record["type"]


def test_sample_has_all_four_reasons() -> None:
    """Restricted and discarded names, a refused domain and an unassigned country code occur."""
    validate = shipped_judge()
    error_codes = [validate.validate(record) for record in sample()]
    assert {refusal.code for refusal in error_codes if refusal} == {513, 515, 516, 528}


def test_sample_repeats_by_seed_without_equal_records() -> None:
    """A run is repeatable; and a duplicate in the ledger never comes from the sample."""
    first, second = ([orjson.dumps(record) for record in sample()] for _ in range(2))
    assert first == second
    assert len(set(first)) == len(first)
    assert first != [orjson.dumps(record) for record in sample(seed=8)]


def test_sample_with_a_last_time_has_rising_times() -> None:
    """Events carry times in order, all within an hour of the last."""
    stamps = [record["ts"] for record in sample(200, 2, last_ts=1_700_000_000) if "ts" in record]
    assert len(stamps) == 200
    assert stamps[-1] == 1_700_000_000
    assert all(a <= b for a, b in itertools.pairwise(stamps))
    assert stamps[0] > 1_700_000_000 - 3600 - 1
