"""What is compared with the vendor's counts."""

from __future__ import annotations

from worker.readback.reconcile import EventDeliveries, merge_spellings


def test_merge_spellings_merges_as_the_vendor_does() -> None:
    """Spellings that the vendor treats as one are merged, the most frequent first."""
    found = merge_spellings({"Sign Up": 2, "signup": 5, "SIGNUP": 5, "Charged": 1})
    assert found == {
        "signup": EventDeliveries(("SIGNUP", "signup", "Sign Up"), 12),
        "charged": EventDeliveries(("Charged",), 1),
    }
