"""A destination with every condition that a metric reports."""

from __future__ import annotations

from dataclasses import replace

import pytest

from support import fault_scripts
from support.pipeline import Pipeline, PipelineFactory, identities
from support.vendor import MISCELLANEOUS, RESTRICTED_EVENT, LoopbackVendor
from worker.buffer.buffer import Buffer
from worker.buffer.claims import Settle
from worker.dead_letters.letters import DeadLetters, LetterFilter
from worker.dead_letters.replay import Replayer
from worker.vendors.protocol import Outcome, Verdict

NAME = "clevertap"  # as the shipped file calls it, so that every process finds it


@pytest.fixture
def busy_destination(pipeline_of: PipelineFactory, vendor: LoopbackVendor) -> Pipeline:
    """Records in every place, every total above zero, answers of several sorts; parked at last."""
    made = pipeline_of(name=NAME, lease_s=300.0, backoff_base_s=0.0, enabled=True)
    _send_events(made, vendor)
    _handle_dead_letters(made)
    made.accept_profiles(identities(5))
    _lose_workers(made)
    made.buffer.tick()
    _leave_some_under_way(made)
    made.accept(identities(4, "late"))
    made.buffer.park("401: no")
    return made


def _send_events(made: Pipeline, vendor: LoopbackVendor) -> None:
    """Sent and not answered; sent again: some delivered, six refused, three to be sent again."""
    names = identities(20)
    made.accept(names)
    vendor.script(fault_scripts.reset_after_all)
    made.step()
    for each in names[:6]:
        vendor.prescribe(each, RESTRICTED_EVENT)
    for each in names[6:9]:
        vendor.prescribe(each, always=MISCELLANEOUS)
    made.deliver(until=lambda: made.events.dead)


def _handle_dead_letters(made: Pipeline) -> None:
    letters = DeadLetters(made.client, made.destination)
    first, second, *_ = letters.select()
    letters.select(LetterFilter(id=first.id)).purge()
    Replayer(made.client, made.destination).replay(
        letters.select(LetterFilter(id=second.id)), print
    )


def _lose_workers(made: Pipeline) -> None:
    """One dies while it sends, and one batch is never begun."""
    hurried = Buffer(made.client, replace(made.destination, lease_s=0.0))
    for begun in (True, False):
        assert hurried.claim(begun=begun)
        made.buffer.recover()


def _leave_some_under_way(made: Pipeline) -> None:
    """One batch is in flight, and one waits for a while."""
    assert made.buffer.claim(begun=True)
    claim = made.buffer.claim(begun=True)
    assert claim
    later = Settle(Verdict(Outcome.RETRY), counts_attempt=False, delay_ms=600_000)
    made.buffer.finish(claim, later, "503", took_s=0.2)
