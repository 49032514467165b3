"""Ask the vendor to validate records without storing them: its upload API with dryRun=1."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from time import sleep

from ..connections.backoff import backoff
from ..errors import SettingsError, VendorError
from ..settings.destination import Destination
from ..vendors.protocol import Outcome, ResponseClass, Sender, UploadAdapter, UploadResult, Verdict
from ..vendors.transport import Transport

# A person waits for the answer: a busy vendor is asked again for some seconds, not hours.
TRIES = 4
WAIT_S = 1.0
MAX_WAIT_S = 10.0
_TEMPORARY = (
    ResponseClass.THROTTLED,
    ResponseClass.UNAVAILABLE,
    ResponseClass.UNREACHABLE,
    ResponseClass.AMBIGUOUS,
    ResponseClass.GARBLED,
)


class DryRun:
    """Asks one account; nothing is stored there, so requests may be repeated."""

    def __init__(
        self, vendor: UploadAdapter, sender: Sender, *, sleep: Callable[[float], object] = sleep
    ) -> None:
        self._vendor, self._sender, self._sleep = vendor, sender, sleep

    def verdicts(self, kind: str, bodies: Sequence[bytes]) -> list[Verdict]:
        """Return a verdict for each record, in order.

        A batch that is refused as a whole is halved until the record at fault stands alone.
        ``bodies`` are one batch at most. Raises VendorError if the vendor does not validate now.
        """
        answer = self._ask(kind, bodies)
        if answer.response_class is ResponseClass.ANSWERED:
            return list(answer.verdicts)
        if len(bodies) == 1:
            return [Verdict(Outcome.DEAD, answer.response_class.value, answer.status, answer.error)]
        middle = len(bodies) // 2
        return self.verdicts(kind, bodies[:middle]) + self.verdicts(kind, bodies[middle:])

    def _ask(self, kind: str, bodies: Sequence[bytes]) -> UploadResult:
        """Return a result about the records: verdicts, or a rejection of the whole request."""
        answer = self._once(kind, bodies)
        for retry in range(TRIES - 1):
            if answer.response_class not in _TEMPORARY:
                break
            self._sleep(min(answer.retry_after_s or backoff(retry, WAIT_S, MAX_WAIT_S), MAX_WAIT_S))
            answer = self._once(kind, bodies)
        if answer.response_class in (*_TEMPORARY, ResponseClass.DENIED):
            status = f" (HTTP {answer.status})" if answer.status else ""
            what = answer.response_class.value.replace("_", " ")
            raise VendorError(
                f"the vendor does not check records now: {what}{status}: {answer.error}"
            )
        return answer

    def _once(self, kind: str, bodies: Sequence[bytes]) -> UploadResult:
        answer = self._sender.send(self._vendor.upload(kind, bodies, dry_run=True))
        if isinstance(answer, UploadResult):
            return answer
        return self._vendor.read(kind, len(bodies), answer)


@contextmanager
def dry_run(destination: Destination, timeout_s: float | None = None) -> Iterator[DryRun]:
    """Open a dry run with the vendor; SettingsError if the destination is not enabled.

    ``timeout_s`` bounds each request; by default it is that of deliveries.
    """
    if not destination.enabled:
        raise SettingsError(f"{destination.name} is not enabled, so the vendor cannot be asked")
    timeout_s = destination.request_timeout_s if timeout_s is None else timeout_s
    vendor = destination.account.adapter(destination.base_url)
    with closing(Transport(vendor.base_url, timeout_s=timeout_s, connections=1)) as transport:
        yield DryRun(vendor, transport)
