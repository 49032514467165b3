"""The counts as people are shown them: table, line and balance."""

from __future__ import annotations

from collections.abc import Mapping

from rich.console import Console

from worker.buffer.status import TOTALS, DestinationStatus, KindCounts
from worker.cli.commands.status_table import balance, counts_line, open_records, status_table

NOW_MS = 1_800_000_000_000


def counts(
    *, buffered: int = 0, in_flight: int = 0, retrying: int = 0, dead: int = 0, **totals: int
) -> KindCounts:
    """Where records are; totals not named are 0."""
    return KindCounts(
        buffered, in_flight, retrying, dead, 1.5, {**dict.fromkeys(TOTALS, 0), **totals}
    )


def status(
    kinds: Mapping[str, KindCounts],
    state: str = "running",
    codes: Mapping[str, Mapping[str, int]] | None = None,
    last_tick_ms: int | None = NOW_MS,
) -> DestinationStatus:
    """A destination at NOW_MS."""
    return DestinationStatus(
        state=state,
        reason="credentials refused" if state == "parked" else None,
        since_ms=NOW_MS - 180_000,
        concurrency=3,
        in_use=0,
        kinds=kinds,
        codes=codes or {},
        answers={},
        last_tick_ms=last_tick_ms,
    )


def drawn(statuses: Mapping[str, DestinationStatus], width: int = 120) -> str:
    """What a person sees."""
    console = Console(width=width, color_system=None)
    with console.capture() as capture:
        console.print(status_table(statuses, now_ms=NOW_MS, width=width))
    return capture.get()


def test_status_table_with_trouble_remarks_on_it() -> None:
    """A stopped destination, unattended records and a loss are each named in words."""
    lost = counts(accepted=5, delivered=4)
    text = drawn({"a": status({"event": lost}, "parked")})
    assert "a was parked 3 min ago: credentials refused" in text
    assert "the event counts do not add up" in text
    waiting = {"event": counts(buffered=2, accepted=2)}
    assert "no worker has looked yet" in drawn({"a": status(waiting, last_tick_ms=None)})
    assert "120 s ago" not in drawn({"a": status(waiting)})
    assert "5 min ago" in drawn({"a": status(waiting, last_tick_ms=NOW_MS - 300_000)})


def test_status_table_without_trouble_has_no_remarks() -> None:
    """A quiet destination is a table and nothing else, without what never happened."""
    text = drawn({"a": status({"event": counts(accepted=4, delivered=4), "token": counts()})})
    assert len(text.splitlines()) == 3
    assert "Purged" not in text
    assert "token" not in text
    assert "Purged" in drawn({"a": status({"event": counts(accepted=4, delivered=3, purged=1)})})


def test_status_table_of_80_columns_shows_whole_numbers() -> None:
    """Eighty columns are enough for what matters, up to ten million records."""
    many = counts(accepted=10_000_000, buffered=9_000_000, delivered=999_000, dead=1000)
    text = drawn({"clevertap": status({"profile": many})}, width=80)
    assert "10,000,000" in text
    assert "9,000,000" in text
    assert "…" not in text


def test_balance_says_whether_it_adds_up() -> None:
    """Each used kind has its equation; one that does not hold says so."""
    good = status(
        {"event": counts(accepted=10, delivered=7, dead=2, purged=1), "profile": counts()},
        codes={"event": {"513": 2, "528": 1}},
    )
    lines = list(balance({"a": good}))
    assert lines[0].endswith("accepted 10 = delivered 7 + dead 2 + purged 1")
    assert [line.split()[-2:] for line in lines[2:]] == [["513", "2"], ["528", "1"]]
    bad = status({"event": counts(accepted=10, delivered=7)})
    assert "is NOT" in next(balance({"a": bad}))


def test_status_table_of_40_columns_wraps_numbers() -> None:
    """A number without room continues below: cut off, it would be another number."""
    seen = drawn(
        {"clevertap": status({"event": counts(accepted=7_777_777, delivered=7_777_777)})}, 40
    )
    assert seen.count("7") == 14


def test_counts_line_sums_all_destinations() -> None:
    """One line has the counts of all kinds of all destinations together."""
    first = status({"event": counts(accepted=10, delivered=7, dead=2, buffered=1)})
    second = status({"profile": counts(accepted=2_000, delivered=2_000)})
    assert counts_line({"a": first, "b": second}) == (
        "accepted 2,010  buffered 1  in flight 0  retrying 0  delivered 2,007  dead 2"
    )


def test_open_records_with_dead_letters_alone_is_empty() -> None:
    """Dead letters are not on their way."""
    assert open_records({"a": status({"event": counts(dead=3)})}) == ""


def test_open_records_names_places_and_what_stops_them() -> None:
    """Each place with records is named, with the reason if the destination does not run."""
    statuses = {
        "a": status({"event": counts(buffered=20, retrying=1)}, "parked"),
        "b": status({"event": counts()}),
        "c": status({"event": counts(in_flight=2)}),
    }
    assert open_records(statuses) == (
        "a (parked: credentials refused): 20 event buffered, 1 event retrying; c: 2 event in flight"
    )
