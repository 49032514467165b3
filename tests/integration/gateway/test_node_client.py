"""CleverTap's own Node client uploads through a real gateway."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import redis

from support.environment import ROOT
from support.gateway import GatewayProcessFactory, buffered, event, profile
from worker.gateway.auth.api_keys import KeyTable

BATCH = 100  # what the client puts into one call
BAD: dict[int, tuple[dict[str, Any], int]] = {
    0: (event(evtName=""), 509),
    17: (profile(Phone="12"), 516),
    99: (profile(Email="no-address"), 515),
    100: (event(ts=0), 525),
    555: (event(evtName="App Launched"), 513),
    998: (event("null"), 523),
    999: (profile(Age="aa"), 520),
}


@pytest.mark.timeout(500)
def test_clevertaps_node_client_uploads_a_thousand_mixed_records(
    start_gateway: GatewayProcessFactory,
    redis_client: redis.Redis,
    redis_url: str,
    clevertap_node: Path,
    tmp_path: Path,
) -> None:
    """Good records are in Redis; bad ones come back with their codes at the right positions."""
    records = [
        BAD[at][0] if at in BAD else (event(str(at)) if at % 3 else profile(str(at)))
        for at in range(1000)
    ]
    file = tmp_path / "records.json"
    file.write_text(json.dumps(records))
    gateway = start_gateway(redis_url)
    key = KeyTable(redis_client).create("node")
    script = str(ROOT / "tests" / "data" / "upload.js")
    done = subprocess.run(
        ["node", script, gateway.url, "TEST-ACC-OUNT", key, str(file)],
        cwd=clevertap_node,
        capture_output=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()[-2000:]
    answers = json.loads(done.stdout)
    assert len(answers) == 10
    found = {
        number * BATCH + int(each["error"].rpartition(":")[2]) - 1: (each["record"], each["code"])
        for number, answer in enumerate(answers)
        for each in answer["unprocessed"]
    }
    assert found == BAD
    assert sum(answer["processed"] for answer in answers) == 1000 - len(BAD)
    taken = buffered(redis_client, "event") + buffered(redis_client, "profile")
    assert sorted(each["identity"] for each in taken) == sorted(
        str(at) for at in range(1000) if at not in BAD
    )
