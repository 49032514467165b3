"""All errors that this package raises, by who must act.

IngestError
├── InvalidRecord         the caller fixes the record
├── BufferError
│   ├── BufferFull        the caller slows down, or the operator raises the limit
│   └── BufferUnavailable the caller retries; the operator checks Redis
├── SettingsError         the operator fixes the configuration
│   └── UnknownDestination
├── EmbeddedRedisError    the operator installs a Redis, or names one
├── InvalidQuery          the caller fixes the query, which was not sent
├── Stopped               no one: repeat the command to continue
└── VendorError           the vendor rejected a query
    ├── CredentialsRefused the operator fixes credentials, region or permissions
    └── CursorExpired     the caller starts the export again
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence


class IngestError(Exception):
    """The base class of all errors of this package."""


class InvalidRecord(IngestError):
    """A record breaks the vendor's published rules; nothing was enqueued.

    ``errors`` maps a field path (``evtData.Price``) to messages about the rules it breaks.
    ``code`` is the vendor's own code for the first of them, if the vendor has one.
    The message names fields and rules, never values: values may be personal data.
    """

    def __init__(self, errors: Mapping[str, Sequence[str]], code: int | None = None) -> None:
        self.errors: dict[str, list[str]] = {field: list(rules) for field, rules in errors.items()}
        self.code = code
        text = "; ".join(f"{field}: {' '.join(rules)}" for field, rules in self.errors.items())
        super().__init__(f"{text} (vendor code {code})" if code is not None else text)

    def __reduce__(self) -> tuple[type[InvalidRecord], tuple[dict[str, list[str]], int | None]]:
        return (type(self), (self.errors, self.code))


class BufferError(IngestError):
    """The buffer did not accept the record.

    ``accepted`` holds the ids of records of the same call that were accepted before.
    """

    accepted: Sequence[str] = ()


class BufferFull(BufferError):
    """The destination's buffer, or Redis' memory, has reached its limit; nothing was enqueued."""


class BufferUnavailable(BufferError):
    """Redis did not respond in time.

    ``sent`` says whether the records may have been accepted anyway: False means that no byte
    reached Redis, True that the response was lost, so repeating the call may duplicate them.
    """

    def __init__(self, message: str, *, sent: bool = False) -> None:
        super().__init__(message)
        self.sent = sent


class SettingsError(IngestError):
    """A setting is missing or wrong; the message has its name, the rule and its origin."""


class UnknownDestination(SettingsError):
    """The configuration does not define the named destination."""


class EmbeddedRedisError(IngestError):
    """The embedded Redis cannot be started or stopped; the message says why and what to do."""


class InvalidQuery(IngestError):
    """The vendor's documentation rules out a query (export, count); it was not sent."""


class Stopped(IngestError):
    """A signal stopped the process during a long task; nothing is lost."""


class VendorError(IngestError):
    """The vendor rejected a query (export, count, dry run); the message has the vendor's text."""


class CredentialsRefused(VendorError):
    """The vendor rejects the account, so further queries are pointless."""


class CursorExpired(VendorError):
    """The vendor no longer knows an export's cursor, and some events were already returned."""
