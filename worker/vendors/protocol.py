"""What the worker and a vendor's package say to each other: kinds, records, requests, verdicts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, ClassVar, NamedTuple, Protocol

from .reasons import DeadLetterReason


class Kind(StrEnum):
    """The kinds of records."""

    EVENT = "event"
    PROFILE = "profile"
    TOKEN = "token"  # noqa: S105 - a kind of record, no password


class Prepared(NamedTuple):
    """A record that passed its schema, serialised once.

    ``identity`` is what order is kept by (``b"identity:42"``), ``ts`` the record's own time in
    epoch seconds, ``name`` the event's name (empty for other kinds), ``body`` the JSON to send.
    One is made for each record, and a frozen dataclass takes three times as long to make.
    """

    kind: str
    body: bytes
    identity: bytes
    ts: int
    name: str = ""


@dataclass(frozen=True, slots=True)
class Request:
    """A request, ready to be sent; ``path`` starts with a slash and carries its query verbatim."""

    method: str
    path: str
    headers: Mapping[str, str] = field(repr=False)
    content: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class Response:
    """An answer, read to its end; header names are lower case.

    ``too_large`` tells that there was more than anybody reads: ``content`` is then empty.
    """

    status: int
    headers: Mapping[str, str]
    content: bytes = field(repr=False)
    too_large: bool = False


class Outcome(StrEnum):
    """What became of one record in one attempt."""

    DELIVERED = "delivered"
    DEAD = "dead"
    RETRY = "retry"


@dataclass(frozen=True, slots=True)
class Verdict:
    """One record's outcome, with the vendor's code and text where it gave them.

    ``reason`` is a DeadLetterReason when the record dies of this verdict, or may die of it after
    its last attempt.
    """

    outcome: Outcome
    reason: str = ""
    code: int | None = None
    error: str = ""


DELIVERED = Verdict(Outcome.DELIVERED)
#: Neither delivered nor refused for sure.
UNCONFIRMED = Verdict(
    Outcome.RETRY, DeadLetterReason.UNCONFIRMED, None, "the response does not confirm it"
)


class ResponseClass(StrEnum):
    """What an answer, or the lack of one, says of the request as a whole."""

    ANSWERED = "answered"  # a verdict for each record
    GARBLED = "garbled"  # success, but the body cannot be read or does not add up
    REFUSED = "refused"  # 400: something in it is wrong, no word on which record
    TOO_LARGE = "too_large"  # 413
    DENIED = "denied"  # 401-405: credentials, address or permission
    THROTTLED = "throttled"  # 429
    UNAVAILABLE = "unavailable"  # 5xx
    UNREACHABLE = "unreachable"  # no byte of the request can have been acted on
    AMBIGUOUS = "ambiguous"  # sent, and no whole answer


@dataclass(frozen=True, slots=True)
class UploadResult:
    """The result of one request.

    ``verdicts`` holds one verdict per record, in the order sent, when the class is ANSWERED, and
    nothing otherwise. ``error`` is for people; it holds no record and no secret.
    ``retry_after_s`` is the vendor's own wish, in seconds.
    """

    response_class: ResponseClass
    verdicts: Sequence[Verdict] = field(default_factory=tuple)
    status: int | None = None
    error: str = ""
    retry_after_s: float | None = None


class Schema(Protocol):
    """A vendor's published rules, and the way from our neutral calls to the vendor's shape."""

    def prepare(self, record: Mapping[str, Any], *, now_s: float) -> Prepared:
        """Check a record in the vendor's shape, stamp its time when it has none, serialise it once.

        ``now_s`` is in epoch seconds; whether fractions of it are kept is the vendor's matter.

        Raises InvalidRecord, and nothing else, whatever it is given.
        """

    def event(
        self, name: str, properties: Mapping[str, Any], *, ids: Mapping[str, str], ts: int | None
    ) -> dict[str, Any]:
        """An event in the vendor's shape."""

    def profile(
        self, properties: Mapping[str, Any], *, ids: Mapping[str, str], ts: int | None
    ) -> dict[str, Any]:
        """A profile update in the vendor's shape."""


class UploadAdapter(Protocol):
    """A vendor's upload API. Pure: it builds requests and reads responses, and sends nothing."""

    base_url: str

    def upload(self, kind: str, bodies: Sequence[bytes], *, dry_run: bool = False) -> Request:
        """The request for one batch; ``bodies`` are joined as they are."""

    def read(self, kind: str, size: int, response: Response) -> UploadResult:
        """What the response says of the ``size`` records sent: a verdict for each, or one for all.

        Total: no response, however odd, raises.
        """

    def probe(self) -> Request:
        """A harmless request that tells whether our credentials and address are taken."""

    def read_probe(self, response: Response) -> UploadResult:
        """What the probe's response says; ANSWERED means that deliveries may go on."""


@dataclass(frozen=True, slots=True)
class VendorAccount:
    """An account at a vendor; this class itself is one at a vendor that is not configured any more.

    A vendor's package declares its settings as a frozen dataclass derived from this class, with
    defaults, whose fields are keys in `destinations.toml`. It is imported by producers too: what
    takes long to import belongs into the methods that need it.
    """

    vendor: ClassVar[str] = ""
    kinds: ClassVar[Sequence[str]] = tuple(Kind)
    #: The fields without which nothing can be sent.
    credentials: ClassVar[Sequence[str]] = ()
    #: The most records that a request may hold.
    max_records: ClassVar[int] = 1
    #: Whether the vendor checks records without storing them.
    has_dry_run: ClassVar[bool] = False
    #: Whether events can be exported and counted, in the way that `worker.readback` does.
    has_read_back: ClassVar[bool] = False
    fields_by_code: ClassVar[Mapping[int, str]] = {}

    @property
    def public_id(self) -> str:
        """Return what clients name the account by; not a secret."""
        return ""

    def field_of(self, code: int | None) -> str | None:
        """Return the path of the field that an error code is about, if it is about one."""
        return None if code is None else self.fields_by_code.get(code)

    def missing(self) -> list[str]:
        """Return the credentials that are not set."""
        return [key for key in self.credentials if not getattr(self, key)]

    def gateway_credentials(self) -> tuple[str | None, str]:
        """Return the public part (None when any will do) and the secret that clients send."""
        return None, ""

    def problems(self, base_url: str) -> Iterable[tuple[str, str]]:
        """Return each field whose value the vendor would not take, with the rule it breaks."""
        del base_url
        return ()

    def schema(self) -> Schema:
        """Return the rules that the account's records must follow."""
        raise NotImplementedError

    def adapter(self, base_url: str) -> UploadAdapter:
        """Return the upload API, at the vendor's usual address if ``base_url`` is empty.

        Raises SettingsError for credentials or an address that cannot be used.
        """
        raise NotImplementedError
