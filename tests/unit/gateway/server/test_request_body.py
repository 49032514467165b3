"""The limits of a body's content."""

from __future__ import annotations

import pytest

from worker.gateway.server.endpoint import HttpError
from worker.gateway.server.request_body import MAX_CONTAINERS, MAX_VALUES, BodyReader
from worker.gateway.settings import GatewaySettings


def nest(levels: int) -> bytes:
    """Return arrays in an object, with this many levels together."""
    return b'{"a":' + b"[" * (levels - 1) + b"]" * (levels - 1) + b"}"


@pytest.mark.parametrize(("levels", "fits"), [(1, True), (5, True), (6, False), (2000, False)])
def test_parse_beyond_max_depth_raises_value_error(levels: int, fits: bool) -> None:
    """The limit passes and one more level does not, also where the parser itself gives up."""
    reader = BodyReader(GatewaySettings(max_depth=5))
    body = nest(levels) if levels > 1 else b'{"a":1}'
    if fits:
        assert reader.parse(body)
    else:
        with pytest.raises(ValueError, match=r"nest|depth"):
            reader.parse(body)


@pytest.mark.parametrize(("value", "most"), [(b"{}", MAX_CONTAINERS - 1), (b"1", MAX_VALUES + 1)])
def test_parse_of_too_many_values_raises_413(value: bytes, most: int) -> None:
    """Values, and above all arrays and objects, are cheap to send and expensive to parse and check,
    so their number is limited."""
    reader = BodyReader(GatewaySettings())
    fits = b"[" + b",".join([value] * most) + b"]"
    assert len(reader.parse(fits)) == most
    with pytest.raises(HttpError) as raised:
        reader.parse(b"[" + value + b"," + fits + b"]")
    assert raised.value.status == 413
