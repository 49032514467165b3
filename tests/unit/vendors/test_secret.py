"""A credential shows itself only when asked."""

from __future__ import annotations

import copy

from worker.vendors.secret import Secret


def test_secret_is_hidden_in_every_way_of_printing() -> None:
    """Format, repr and str are masked; reveal is the one way in, also after a copy."""
    secret = Secret("s3cret")
    assert "s3cret" not in f"{secret} {secret!r} {secret!s:>9} {secret:>9}"
    assert copy.deepcopy(secret).reveal() == "s3cret"
    assert not str(Secret(""))
