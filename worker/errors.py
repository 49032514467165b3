"""Every error this package raises, by who must act on it.

IngestError
├── InvalidRecord         the caller mends the record
├── BufferError
│   ├── BufferFull        the caller slows down or asks the operator for room
│   └── BufferUnavailable the caller tries again; the operator looks at Redis
├── SettingsError         the operator mends the configuration
│   └── UnknownDestination
├── EmbeddedRedisError    the operator installs a Redis, or names one
├── InvalidQuery          the caller mends the question: it was not sent
├── Stopped               nobody: what was going on is taken up again when asked for again
└── VendorError           the vendor refused a question we asked it
    ├── CredentialsRefused the operator mends credentials, region or permissions
    └── CursorExpired     the caller begins the export again
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence


class IngestError(Exception):
    """The base of all errors of this package."""


class InvalidRecord(IngestError):
    """A record that the vendor's published rules forbid; nothing was enqueued.

    ``errors`` maps a field path (``evtData.Price``) to the rules it breaks, in words.
    ``code`` is the vendor's own code for the first of them, where the vendor has one.
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
    """The buffer did not take the record.

    ``accepted`` holds the ids of the records of the same call that it had taken before.
    """

    accepted: Sequence[str] = ()


class BufferFull(BufferError):
    """The destination's buffer, or Redis' memory, is at its limit; nothing was enqueued."""


class BufferUnavailable(BufferError):
    """Redis did not answer in time.

    ``sent`` tells whether the records may have been accepted all the same: False means that
    no byte reached Redis, True that the answer was lost, so a repeat may double them.
    """

    def __init__(self, message: str, *, sent: bool = False) -> None:
        super().__init__(message)
        self.sent = sent


class SettingsError(IngestError):
    """A setting is missing or wrong; the message names it, the rule, and where it came from."""


class UnknownDestination(SettingsError):
    """A destination was named that the configuration does not define."""


class EmbeddedRedisError(IngestError):
    """The private Redis cannot be started or stopped; the message says why and what to do."""


class InvalidQuery(IngestError):
    """A question (export, count) that the vendor's documents rule out; it was not sent."""


class Stopped(IngestError):
    """The process was told to stop in the middle of a long task; nothing is lost by it."""


class VendorError(IngestError):
    """The vendor answered a question (export, count, dry run) with a failure, told in its words."""


class CredentialsRefused(VendorError):
    """The vendor refuses the account: asking anything else of it is of no use."""


class CursorExpired(VendorError):
    """An export's cursor is no longer known, after events of it were handed out already."""
