"""Sample traffic: a small shop's week, as the CleverTap upload API takes it.

One record in each full hundred of a kind is faulty in a way that only the vendor can find: no
published rule says that ``Web Page Viewed`` is restricted, which names were discarded in the
dashboard, which domains are refused, or which country codes exist. A sandbox with default settings
refuses exactly those.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from typing import Any

FAULTY_ONE_IN = 100
Record = dict[str, Any]

# Name, category, price in euros.
_GOODS = (
    ("Linen shirt", "Clothing", 49.0),
    ("Wool socks", "Clothing", 9.5),
    ("Rain jacket", "Clothing", 129.0),
    ("Moka pot", "Kitchen", 34.9),
    ("Cast-iron pan", "Kitchen", 59.0),
    ("Paring knife", "Kitchen", 18.25),
    ("Desk lamp", "Home", 79.0),
    ("Throw blanket", "Home", 44.5),
    ("Trail map", "Outdoors", 12.0),
    ("Headlamp", "Outdoors", 39.95),
    ("Field guide to birds", "Books", 24.0),
    ("Notebook, dotted", "Books", 7.8),
)
_SEARCHES = ("pan", "jacket", "gift for dad", "lamp", "socks wool", "café crème cups", "map")
_SOURCES = ("newsletter", "search", "direct", "instagram", "partner")
_PAYMENTS = ("Card", "PayPal", "Invoice")
_FIRST = ("Ada", "Björn", "Chiara", "Dmitri", "Esra", "Farid", "Grace", "Håkon", "Inês", "Jun")
_LAST = ("Abel", "Brandt", "Costa", "Dvořák", "Eriksen", "Fischer", "García", "Horvat", "Ito")
# Numbers set aside for fiction, in the UK (Ofcom) and the US (555-01xx).
_PHONES = ("+447700900{:03d}", "+12025550{:03d}")


def sample(
    events: int = 10_000, profiles: int = 500, seed: int = 7, *, last_ts: int | None = None
) -> Iterator[Record]:
    """Yield vendor-shaped records, profiles spread evenly among events, repeatable by ``seed``.

    With ``last_ts`` (epoch seconds) events carry times rising up to it over about an hour; without
    it they carry none, and are stamped on acceptance. No two records are equal.
    """
    rng = random.Random(seed)
    shop = _Shop(rng, max(1, profiles))
    faulty_events, faulty_profiles = _faulty(rng, events), _faulty(rng, profiles)
    sent = 0
    for index in range(events):
        while sent < profiles and sent * events <= index * profiles:
            yield shop.profile(sent, faulty=sent in faulty_profiles)
            sent += 1
        record = shop.event(faulty=index in faulty_events)
        if last_ts is not None:
            record["ts"] = last_ts - (events - 1 - index) * 3600 // max(1, events)
        yield record
    for index in range(sent, profiles):
        yield shop.profile(index, faulty=index in faulty_profiles)


def _faulty(rng: random.Random, total: int) -> set[int]:
    """Choose one position in each full hundred."""
    hundreds = range(0, total - total % FAULTY_ONE_IN, FAULTY_ONE_IN)
    return {first + rng.randrange(FAULTY_ONE_IN) for first in hundreds}


class _Shop:
    """Visitors who look around and sometimes buy, one visit after another."""

    def __init__(self, rng: random.Random, customers: int) -> None:
        self._rng, self._customers = rng, customers
        self._steps = itertools.chain.from_iterable(map(self._visit, itertools.count(1)))

    def event(self, *, faulty: bool) -> Record:
        """Return the next step of a visitor; when ``faulty``, a page view the vendor refuses."""
        step = next(self._steps)
        if not faulty:
            return step
        page, done = f"/{self._rng.choice(_GOODS)[1].lower()}", step["evtData"]
        name = self._rng.choice(("Web Page Viewed", "Legacy Page View"))
        data = {"Page": page, "Visit": done["Visit"], "Step": done["Step"]}
        return step | {"evtName": name, "evtData": data}

    def profile(self, customer: int, *, faulty: bool) -> Record:
        """Return a customer's profile; when ``faulty``, with an address or number refused."""
        rng = self._rng
        first, last = rng.choice(_FIRST), rng.choice(_LAST)
        data: Record = {
            "Name": f"{first} {last}",
            "Email": f"customer{customer}@example.com",
            "Phone": rng.choice(_PHONES).format(100 + customer % 100),
            "Gender": rng.choice("MF"),
            "Customer type": rng.choice(("Silver", "Gold", "Platinum")),
            "MSG-email": rng.random() < 0.8,
            "Favourite categories": {"$add": [rng.choice(_GOODS)[1]]},
        }
        if faulty and customer // FAULTY_ONE_IN % 2 == 0:
            data["Email"] = f"customer{customer}@undeliverable.example.com"
        elif faulty:
            # +999 is not assigned.
            data["Phone"] = f"+99920255{customer:05d}"
        return {"identity": _identity(customer), "type": "profile", "profileData": data}

    def _visit(self, visit: int) -> Iterator[Record]:
        """Yield the events of a visit; its steps are numbered, so that no two are equal."""
        identity = _identity(self._rng.randrange(self._customers))
        for step, (name, properties) in enumerate(self._actions(visit), 1):
            data = {**properties, "Visit": f"v{visit:07d}", "Step": step}
            yield {"identity": identity, "type": "event", "evtName": name, "evtData": data}

    def _actions(self, visit: int) -> Iterator[tuple[str, Record]]:
        rng = self._rng
        if rng.random() < 0.05:
            yield "Signed up", {"Source": rng.choice(_SOURCES)}
        if rng.random() < 0.5:
            yield "Searched", {"Query": rng.choice(_SEARCHES), "Results": rng.randrange(40)}
        seen = rng.sample(_GOODS, rng.randint(1, 6))
        goods = [dict(zip(("Product", "Category", "Price"), each, strict=True)) for each in seen]
        for each in goods:
            yield "Product viewed", {**each, "Currency": "EUR"}
            if rng.random() < 0.25:
                yield "Added to cart", {**each, "Currency": "EUR", "Quantity": rng.randint(1, 3)}
        if rng.random() < 0.2:
            order = {"Amount": round(sum(price for _, _, price in seen[:3]), 2), "Currency": "EUR"}
            order |= {"Payment mode": rng.choice(_PAYMENTS), "Charged ID": f"order-{visit:07d}"}
            yield "Charged", {**order, "Items": [{**each, "Quantity": 1} for each in goods[:3]]}


def _identity(customer: int) -> str:
    return f"customer-{customer:05d}"
