"""send and check, run as their users run them, against a real Redis."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import redis

from support.commands import (
    CREDENTIALS,
    INGEST,
    Cli,
    event,
    json_lines,
    numbers,
    profile,
    stderr_objects,
)
from support.environment import environment
from support.polling import poll_until
from support.ports import find_free_port
from worker.buffer import keys
from worker.connections.clients import worker_client
from worker.connections.embedded.server import EmbeddedRedis
from worker.sandbox.server import running


@pytest.fixture
def cli(redis_url: str) -> Cli:
    """The command, with an empty Redis."""
    return Cli({"REDIS_URL": redis_url, **CREDENTIALS})


def buffered(client: redis.Redis) -> list[int]:
    """The numbers of the events in the buffer, in order."""
    stored = client.lrange(keys.pending("clevertap", "event"), 0, -1)
    return numbers(each for each in stored if isinstance(each, bytes))


def test_send_of_valid_lines_buffers_all_in_order(cli: Cli, redis_client: redis.Redis) -> None:
    """An input of several chunks is in the buffer, in its order, and the command says so."""
    sent = cli("send", "-", stdin=json_lines(map(event, range(2500))))
    assert (sent.returncode, sent.stderr) == (0, "")
    assert sent.stdout == '{"accepted": 2500, "rejected": 0}\n'
    assert buffered(redis_client) == list(range(2500))


@pytest.mark.parametrize("command", ["send", "check"])
def test_integers_beyond_64_bits_are_rejected_and_others_kept(
    cli: Cli, redis_client: redis.Redis, command: str
) -> None:
    """No number becomes another: field and rule are reported as by a producer."""
    beyond = [2**64, -(2**63) - 1]
    lines = [{**event(0), "evtData": {"n": value, "s": "9" * 30}} for value in beyond]
    longest = json.dumps({**event(0), "evtData": {"n": "!"}}).replace('"!"', "9" * 300)
    kept = {**event(1), "evtData": {"number": 1, "n": 2**64 - 1, "m": -(2**63), "s": "9" * 30}}
    done = cli(command, stdin=json_lines([*lines, longest, kept]))
    assert (done.returncode, json.loads(done.stdout)) == (2, {"accepted": 1, "rejected": 3})
    rule = ["must be an integer of at most 64 bits"]
    assert [each["errors"] for each in stderr_objects(done)] == [{"evtData.n": rule}] * 3
    assert stderr_objects(done)[0]["record"]["evtData"]["n"] == 2**64
    if command == "send":
        (stored,) = redis_client.lrange(keys.pending("clevertap", "event"), 0, -1)
        assert isinstance(stored, bytes)
        assert json.loads(stored.partition(b"\n")[2])["evtData"] == kept["evtData"]


def test_rejected_lines_with_a_full_stderr_are_still_counted(cli: Cli) -> None:
    """A full disk behind standard error makes no rejected line an accepted or a forgotten one."""
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [str(INGEST), "check"],
            input=json_lines([event(1), "no JSON", "nor this"]).encode(),
            stdout=subprocess.PIPE,
            stderr=full,
            env=environment(cli.env),
            timeout=60,
            check=False,
        )
    assert done.returncode == 1
    assert json.loads(done.stdout) == {"accepted": 1, "rejected": 2}


def test_send_to_a_full_buffer_fills_it_and_names_the_rest(
    cli: Cli, redis_client: redis.Redis
) -> None:
    """Without room the command stops; `--lines` with what it names completes the input."""
    mixed = [event(at) if at % 3 else profile(at) for at in range(400)]
    mixed[7] = {"type": "event"}
    text = json_lines(mixed)
    first = cli("send", stdin=text, INGEST_MAX_BUFFERED="150")
    assert first.returncode == 1
    assert "holds its limit of 150 records" in first.stderr
    counts = json.loads(first.stdout)
    assert counts["accepted"] == 150

    rest = first.stderr.rpartition("--lines: ")[2].strip()
    second = cli("send", "--lines", rest, stdin=text)
    assert counts["accepted"] + json.loads(second.stdout)["accepted"] == 399
    assert counts["rejected"] + json.loads(second.stdout)["rejected"] == 1
    expected = [at for at in range(400) if at % 3 and at != 7]
    assert sorted(buffered(redis_client)) == expected
    assert cli.status()["kinds"]["profile"]["buffered"] == 134


def test_send_with_wait_continues_when_there_is_room(cli: Cli, redis_client: redis.Redis) -> None:
    """Without room the command waits, and then continues where it stopped."""
    state = keys.state("clevertap")
    with cli.begin("send", "--wait", INGEST_MAX_BUFFERED="60") as sending:
        sending.stdin.write(json_lines(map(event, range(100))))
        sending.stdin.close()
        poll_until(lambda: redis_client.hget(state, "buffered") == b"60", what="it is full")
        assert "waiting" in sending.stderr.readline()
        assert buffered(redis_client) == list(range(60))
        redis_client.hset(state, "buffered", 0)  # as if a batch had been claimed
        assert json.loads(sending.stdout.read()) == {"accepted": 100, "rejected": 0}
        assert sending.process.wait(60) == 0
    assert buffered(redis_client) == list(range(100))


def test_an_interrupted_send_names_the_lines_that_are_left(
    cli: Cli, redis_client: redis.Redis
) -> None:
    """Lines that were read but did not fill a chunk yet are among those left."""
    with cli.begin("send") as sending:
        sending.stdin.write(json_lines(map(event, range(1003))))
        sending.stdin.flush()
        poll_until(lambda: len(buffered(redis_client)) == 1000, what="a chunk is sent")
        sending.process.send_signal(signal.SIGINT)
        assert sending.process.wait(10) == 1
        assert sending.stdout.read() == '{"accepted": 1000, "rejected": 0}\n'
        assert "interrupted; to continue, use --lines 1001-" in sending.stderr.read()
    assert len(buffered(redis_client)) == 1000


def test_send_without_redis_fails_with_one_line(cli: Cli) -> None:
    """An unreachable Redis is reported with what was not sent, and exit code 1."""
    gone = f"redis://:hush@127.0.0.1:{find_free_port()}/0"
    sent = cli("send", stdin=json_lines([event(0)]), REDIS_URL=gone)
    assert sent.returncode == 1
    assert json.loads(sent.stdout) == {"accepted": 0, "rejected": 0}
    assert "--lines: 1-" in sent.stderr
    assert len(sent.stderr.splitlines()) == 1
    assert "hush" not in sent.stderr


def test_send_with_a_lost_answer_names_the_uncertain_lines(
    cli: Cli, redis_factory: Callable[..., EmbeddedRedis]
) -> None:
    """If Redis does not answer, the lines that may or may not be in the buffer are named."""
    server = redis_factory()
    pending = keys.pending("clevertap", "event")
    with cli.begin("send", REDIS_URL=server.url) as sending, worker_client(server.url) as client:
        sending.stdin.write(json_lines(map(event, range(1000))))
        sending.stdin.flush()
        poll_until(lambda: client.llen(pending) == 1000, what="the first chunk is in")
        client.client_pause(60_000, all=False)
        sending.stdin.write(json_lines(map(event, range(1000, 1500))))
        sending.stdin.close()
        poll_until(
            lambda: any("b" in each["flags"] for each in client.client_list()),
            what="Redis has the second chunk",
        )
        server.kill()
        stderr = sending.stderr.read()
        assert sending.process.wait(60) == 1
        assert json.loads(sending.stdout.read()) == {"accepted": 1000, "rejected": 0}
    assert "Lines 1001-1500 may or may not have been accepted" in stderr


def test_check_needs_no_redis(cli: Cli) -> None:
    """`check` validates without a Redis or a secret, and reports what `send` would."""
    checking = Cli({})
    lines = json_lines([event(0), {"type": "event"}])
    checked = checking("check", "-", stdin=lines)
    assert checked.returncode == 2
    assert json.loads(checked.stdout) == {"accepted": 1, "rejected": 1}
    assert checked.stderr == cli("send", stdin=lines).stderr


def test_check_with_vendor_reports_what_only_it_refuses(cli: Cli) -> None:
    """A name that only the vendor knows as restricted is reported, and nothing is kept."""
    with running() as sandbox:
        settings = sandbox.state.settings
        checked = cli(
            "check",
            "--vendor",
            stdin=json_lines([event(0), event(1, "Web Page Viewed"), profile(2)]),
            CLEVERTAP_BASE_URL=sandbox.url,
            CLEVERTAP_ACCOUNT_ID=settings.account_id,
            CLEVERTAP_PASSCODE=settings.passcode,
        )
        assert checked.returncode == 2, checked.stderr
        assert json.loads(checked.stdout) == {"accepted": 2, "rejected": 1}
        assert stderr_objects(checked)[0]["line"] == 2
        assert "code 513" in stderr_objects(checked)[0]["errors"]["vendor"][0]
        assert sandbox.state.ledger.kept == 0


def test_check_with_wrong_credentials_fails_as_a_whole(cli: Cli) -> None:
    """Refused credentials are an error of the command, not of each record."""
    with running() as sandbox:
        checked = cli(
            "check", "--vendor", stdin=json_lines([event(0)]), CLEVERTAP_BASE_URL=sandbox.url
        )
    assert checked.returncode == 1
    assert "HTTP 401" in checked.stderr
    assert "s3cret" not in checked.stderr


def test_a_progress_bar_appears_only_on_a_terminal(cli: Cli, tmp_path: Path) -> None:
    """On a terminal there is a bar on standard error; in a pipe there is nothing but JSON."""
    file = tmp_path / "records.jsonl"
    file.write_text(json_lines(map(event, range(10))))
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [str(INGEST), "send", str(file)],
        stdout=subprocess.PIPE,
        stderr=theirs,
        env=environment({**cli.env, "TERM": "xterm"}),
    ) as sending:
        os.close(theirs)
        assert sending.stdout
        assert json.loads(sending.stdout.read()) == {"accepted": 10, "rejected": 0}
    assert b"sending" in os.read(ours, 4096)
    os.close(ours)
    assert cli("send", str(file)).stderr == ""
