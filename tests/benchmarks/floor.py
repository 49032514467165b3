"""The floor: pop a thousand, join, post; without any safety or checks.

python -m benchmarks.floor REDIS_URL PORT
"""

from __future__ import annotations

import http.client
import sys
from typing import Any

import redis

KEY = "bench:floor"
CHUNK = 1000


def drain(client: Any, connection: http.client.HTTPConnection) -> None:
    """Run until the list is empty."""
    while bodies := client.lpop(KEY, CHUNK):
        content = b'{"d":[' + b",".join(bodies) + b"]}"
        connection.request(
            "POST", "/1/upload", content, {"Content-Type": "application/json; charset=utf-8"}
        )
        connection.getresponse().read()


if __name__ == "__main__":
    drain(
        redis.Redis.from_url(sys.argv[1]), http.client.HTTPConnection("127.0.0.1", int(sys.argv[2]))
    )
