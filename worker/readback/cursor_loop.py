"""Where an export's cursors have led: one that leads in a circle would never end."""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import VendorError


@dataclass(frozen=True, slots=True)
class Trail:
    """Brent's search for a circle: whatever its length, with one cursor remembered.

    ``mark`` is compared with each cursor that follows it; it moves up after ``span`` of them, and
    the span doubles. So a circle is found within about three of its rounds.
    """

    mark: str = ""
    steps: int = 0
    span: int = 1

    def after(self, cursor: str) -> Trail:
        """Return the trail with one more cursor; VendorError for one seen before."""
        if cursor == self.mark:
            raise VendorError(
                "the vendor's cursors lead in a circle: the export would never end, and what came "
                "of it holds events more than once; begin it again"
            )
        if not self.mark or self.steps + 1 == self.span:
            return Trail(cursor, 0, 2 * self.span if self.mark else 1)
        return Trail(self.mark, self.steps + 1, self.span)
