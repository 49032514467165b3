"""What the worker and a vendor's package exchange: accounts, records, requests, verdicts."""

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
    A named tuple, because a frozen dataclass takes three times as long to make.
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
    """A response, read to its end; header names are lower case.

    ``too_large``: it was above the transport's limit, and ``content`` is empty.
    """

    status: int
    headers: Mapping[str, str]
    content: bytes = field(repr=False)
    too_large: bool = False


class Outcome(StrEnum):
    """The outcome of one attempt for one record."""

    DELIVERED = "delivered"
    DEAD = "dead"
    RETRY = "retry"


@dataclass(frozen=True, slots=True)
class Verdict:
    """One record's outcome, with the vendor's code and text where it gave them.

    ``reason`` is a DeadLetterReason if the record becomes a dead letter, now or after its last
    attempt.
    """

    outcome: Outcome
    reason: str = ""
    code: int | None = None
    error: str = ""


DELIVERED = Verdict(Outcome.DELIVERED)
#: It is not certain whether the record was delivered.
UNCONFIRMED = Verdict(
    Outcome.RETRY, DeadLetterReason.UNCONFIRMED, None, "the response does not confirm it"
)


class ResponseClass(StrEnum):
    """What a response, or the lack of one, says about the request as a whole."""

    ANSWERED = "answered"  # a verdict for each record
    GARBLED = "garbled"  # success, but the body cannot be read or does not add up
    REFUSED = "refused"  # 400: something in it is wrong, but not which record
    TOO_LARGE = "too_large"  # 413
    DENIED = "denied"  # 401-405: credentials, address or permission
    THROTTLED = "throttled"  # 429
    UNAVAILABLE = "unavailable"  # 5xx
    UNREACHABLE = "unreachable"  # no byte of the request can have been acted on
    AMBIGUOUS = "ambiguous"  # sent, and no whole response


@dataclass(frozen=True, slots=True)
class UploadResult:
    """The result of one request.

    ``verdicts`` holds one verdict per record, in the order sent, when the class is ANSWERED, and
    nothing otherwise. ``error`` is for people; it holds no record and no secret.
    ``retry_after_s`` is what the vendor asks for (Retry-After), in seconds.
    """

    response_class: ResponseClass
    verdicts: Sequence[Verdict] = field(default_factory=tuple)
    status: int | None = None
    error: str = ""
    retry_after_s: float | None = None


class Schema(Protocol):
    """A vendor's published rules; builds records in the vendor's shape from calls common to all."""

    def prepare(self, record: Mapping[str, Any], *, now_s: float) -> Prepared:
        """Check a record in the vendor's shape, stamp its time if it has none, serialise it once.

        ``now_s`` is in epoch seconds; the vendor decides whether its fraction is kept. Raises
        InvalidRecord, and nothing else, for whatever it is given.
        """

    def event(
        self, name: str, properties: Mapping[str, Any], *, ids: Mapping[str, str], ts: int | None
    ) -> dict[str, Any]:
        """Return an event in the vendor's shape."""

    def profile(
        self, properties: Mapping[str, Any], *, ids: Mapping[str, str], ts: int | None
    ) -> dict[str, Any]:
        """Return a profile update in the vendor's shape."""


class Sender(Protocol):
    """Sends requests: the transport."""

    def send(self, request: Request) -> Response | UploadResult:
        """Return the vendor's response, or a result that explains its absence."""


class UploadAdapter(Protocol):
    """A vendor's upload API. Pure: it builds requests and reads responses, and sends nothing."""

    base_url: str

    def upload(self, kind: str, bodies: Sequence[bytes], *, dry_run: bool = False) -> Request:
        """Return the request for one batch; ``bodies`` are joined as they are."""

    def read(self, kind: str, size: int, response: Response) -> UploadResult:
        """Return a verdict for each of the ``size`` records sent, or one for the request.

        Raises nothing, however odd the response is.
        """

    def probe(self) -> Request:
        """Return a harmless request that shows whether credentials and address are valid."""

    def read_probe(self, response: Response) -> UploadResult:
        """Return the probe's result; ANSWERED means that deliveries may go on."""


@dataclass(frozen=True, slots=True)
class VendorAccount:
    """An account at a vendor; this base class stands for one that is no longer configured.

    A vendor's package derives a frozen dataclass; its fields, with defaults, are the keys in
    `destinations.toml`. Producers import it too: slow imports belong in the methods that need them.
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
        """Return each field with a value that the vendor would not take, and the rule it breaks."""
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
