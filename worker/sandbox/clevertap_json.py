"""JSON as CleverTap's server writes it: ``{ "k" : v , "l" : [ 1 , 2]}``, empty as ``[ ]``, ``{ }``.

The spacing comes from recorded responses (2017 and 2018). It is valid JSON; sending it byte for
byte catches a client that compares text instead of parsing.
"""

from __future__ import annotations

import json
from typing import Any


def spaced(value: Any) -> str:
    """Serialise ``value`` with the server's spacing; members keep their order."""
    if isinstance(value, dict):
        members = " , ".join(f"{_quoted(str(key))} : {spaced(item)}" for key, item in value.items())
        return "{ " + members + "}"
    if isinstance(value, list | tuple):
        return "[ " + " , ".join(map(spaced, value)) + "]"
    if isinstance(value, str):
        return _quoted(value)
    return json.dumps(value)


def _quoted(value: str) -> str:
    return json.dumps(value, ensure_ascii=False)
