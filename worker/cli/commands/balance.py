"""The proof at the end: accepted = delivered + dead, by destination and kind, and why they died."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from worker.buffer.status import DestinationStatus, KindCounts


def balance(statuses: Mapping[str, DestinationStatus]) -> Iterator[str]:
    """A line for each kind that was used, then one for each code of the vendor's refusals."""
    used = [
        (name, kind, places, status.codes.get(kind, {}))
        for name, status in statuses.items()
        for kind, places in status.kinds.items()
        if places.totals["accepted"]
    ]
    for name, kind, places, _ in used:
        yield f"{name:<12} {kind:<8} {_equation(places)}"
    codes = [
        (name, kind, code, number)
        for name, kind, _, by_code in used
        for code, number in sorted(by_code.items())
    ]
    if codes:
        yield "dead letters by code (`ingest dlq summary` tells more):"
    for name, kind, code, number in codes:
        yield f"{name:<12} {kind:<8} {code:>12} {number:>10,}"


def _equation(places: KindCounts) -> str:
    delivered, purged = places.totals["delivered"], places.totals["purged"]
    parts = {"delivered": delivered, "dead": places.dead}
    if purged:
        parts["purged"] = purged
    if places.open:
        parts["still open"] = places.open
    right = " + ".join(f"{name} {number:,}" for name, number in parts.items())
    sign = "=" if places.adds_up else "is NOT"
    return f"accepted {places.totals['accepted']:,} {sign} {right}"
