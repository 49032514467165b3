"""Export and count queries; what the vendor's pages rule out is refused before anything is sent."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from typing import Any, Final

from ..errors import InvalidQuery
from ..vendors.clevertap.property_rules import plain_name

LARGEST_BATCH: Final = 5000  # vendor page "Get Events API"

#: Listed on the page "Get Events API", with the other ways to get them.
NOT_EXPORTABLE: Final = (
    "Notification Sent",
    "Notification Bounce",
    "Notification Viewed",
    "Notification Control Group",
    "Notification Rendered",
    "Notification System Control Group",
)
_NUMERIC: Final = ("greater_than", "less_than", "between")


def day_number(value: int | str | date) -> int:
    """Return a day as yyyymmdd; raise InvalidQuery if there is no such day."""
    text = value.strftime("%Y%m%d") if isinstance(value, date) else str(value)
    try:
        if not re.fullmatch(r"[0-9]{8}", text, re.ASCII):
            raise ValueError
        date(int(text[:4]), int(text[4:6]), int(text[6:]))
    except ValueError:
        raise InvalidQuery(
            f"{text[:40]!r} is not a date; days are YYYYMMDD, as in 20261121"
        ) from None
    return int(text)


@dataclass(frozen=True)
class _EventQuery:
    """One event and its days (yyyymmdd, both included). Raises InvalidQuery."""

    event: str
    first: int
    last: int

    def __post_init__(self) -> None:
        if not self.event.strip():
            raise InvalidQuery("the event name is empty")
        if day_number(self.first) > day_number(self.last):
            raise InvalidQuery(f"the range ends before it begins: {self.first} to {self.last}")

    @property
    def body(self) -> dict[str, Any]:
        """The request's body."""
        return {"event_name": self.event, "from": self.first, "to": self.last}


@dataclass(frozen=True)
class ExportQuery(_EventQuery):
    """One export, in days of the account.

    ``app``, ``profile`` and ``events`` include or exclude those parts of a record; None leaves it
    to the vendor (its pages differ on the default). Raises InvalidQuery.
    """

    batch_size: int = LARGEST_BATCH
    app: bool | None = None
    profile: bool | None = None
    events: bool | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 1 <= self.batch_size <= LARGEST_BATCH:
            raise InvalidQuery(f"batch size {self.batch_size}: must be 1 to {LARGEST_BATCH}")
        if plain_name(self.event) in map(plain_name, NOT_EXPORTABLE):
            raise InvalidQuery(
                f"the vendor's export API does not provide {self.event!r}; use its S3 export, "
                "its GCP export, or a download from its dashboard"
            )

    @property
    def parameters(self) -> Mapping[str, str]:
        """The request's query parameters."""
        flags = {"app": self.app, "profile": self.profile, "events": self.events}
        chosen = {name: str(flag).lower() for name, flag in flags.items() if flag is not None}
        return {"batch_size": str(self.batch_size), **chosen}


@dataclass(frozen=True, slots=True)
class CountCondition:
    """A condition on an event's property; ``operator`` as the vendor's pages spell it."""

    name: str
    operator: str
    value: Any

    @classmethod
    def parse(cls, text: str) -> CountCondition:
        """Parse NAME:OPERATOR:VALUE; raise InvalidQuery for another form.

        A list is written as JSON, ``["a","b"]``. With greater_than, less_than and between, numbers
        are numbers; everything else is text, as in the vendor's example.
        """
        name, operator, value = (*text.split(":", 2), "", "")[:3]
        if not name or not re.fullmatch(r"[a-z_]+", operator) or text.count(":") < 2:
            raise InvalidQuery(f"{text[:80]!r} is not NAME:OPERATOR:VALUE, as in City:contains:Pra")
        return cls(name, operator, _parse_value(operator, value))


def _parse_value(operator: str, text: str) -> Any:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return text
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    takes_it = isinstance(value, list) or (is_number and operator.startswith(_NUMERIC))
    return value if takes_it else text


@dataclass(frozen=True)
class CountQuery(_EventQuery):
    """One count, in days of the account; every condition must hold. Raises InvalidQuery."""

    conditions: Sequence[CountCondition] = ()

    @property
    def body(self) -> dict[str, Any]:
        """The request's body."""
        conditions = {"event_properties": list(map(asdict, self.conditions))}
        return super().body | (conditions if self.conditions else {})
