"""`ingest dlq` and `ingest trace` as a person and a script use them: real Redis, real sockets."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import redis
from click.testing import CliRunner, Result

from support.environment import environment
from support.vendor import RESTRICTED_EVENT, LoopbackVendor
from worker.buffer.buffer import Buffer
from worker.buffer.claims import Settle
from worker.cli import ingest
from worker.producer.producer import Producer
from worker.settings.settings import Settings
from worker.vendors.protocol import DELIVERED, Outcome, Verdict

FIELDS = [
    "id",
    "destination",
    "kind",
    "reason",
    "code",
    "error",
    "attempts",
    "accepted_at",
    "failed_at",
    "record",
]
REFUSED = Verdict(Outcome.DEAD, "refused", 513, "Restricted. Skipped record number : 7")
EXPIRED = Verdict(Outcome.DEAD, "expired", None, "HTTP 503")


class Operator:
    """An operator at a command line, and a destination with an account at the vendor."""

    def __init__(self, client: redis.Redis, url: str, vendor: LoopbackVendor) -> None:
        self.vendor = vendor
        self.env = {
            "REDIS_URL": url,
            "CLEVERTAP_ACCOUNT_ID": "TEST",
            "CLEVERTAP_PASSCODE": "secret",
            "CLEVERTAP_BASE_URL": vendor.base_url,
            "INGEST_MAX_WAIT_S": "0",
        }
        settings = Settings.from_env(self.env)
        self.producer = Producer(settings, client)
        self.buffer = Buffer(client, settings.destination("clevertap"))

    def run(self, *arguments: str, given: str | None = None) -> Result:
        """Run a command as a script does: without a terminal."""
        return CliRunner().invoke(ingest, arguments, env=self.env, input=given)

    def lines(self, *arguments: str) -> list[Any]:
        """The JSON Lines that a command prints."""
        result = self.run(*arguments)
        assert result.exit_code == 0, result.stderr
        return [json.loads(line) for line in result.stdout.splitlines()]

    def settle(self, verdict: Verdict) -> None:
        """Settle everything that is ready alike."""
        while (claim := self.buffer.claim(begun=True)) is not None:
            assert self.buffer.finish(claim, Settle(verdict), "200").settled
            self.adds_up()

    def kill(self, number: int, verdict: Verdict = REFUSED) -> list[str]:
        """Let events be accepted and fail; returns their ids."""
        ids = [self.producer.event("Viewed", {"at": at}, identity=f"i{at}") for at in range(number)]
        self.settle(verdict)
        return ids

    def adds_up(self) -> None:
        """Every accepted record is in one place."""
        for kind, places in self.buffer.status().kinds.items():
            assert places.adds_up, (kind, places)


@pytest.fixture
def operator(redis_client: redis.Redis, redis_url: str, vendor: LoopbackVendor) -> Operator:
    """A destination without a record."""
    return Operator(redis_client, redis_url, vendor)


def printed(result: Result) -> Any:
    """What a command printed on standard output: one line of JSON, and nothing else."""
    assert result.stdout.count("\n") == 1, result.output
    return json.loads(result.stdout)


@contextmanager
def at_a_terminal(
    operator: Operator, *arguments: str
) -> Iterator[tuple[int, subprocess.Popen[bytes]]]:
    """The command with a terminal as its standard input; gives the terminal's other side."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "worker.cli", *arguments],
        env=environment(operator.env),
        stdin=theirs,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        yield ours, process
    finally:
        process.kill()
        process.wait(60)
        os.close(ours)
        os.close(theirs)


def test_list_and_export_print_the_agreed_fields(operator: Operator) -> None:
    """`list --json` and `export` print the same lines, with these fields in this order."""
    ids = operator.kill(3)
    (update,) = [operator.producer.profile({"Name": "Ann"}, identity="a")]
    operator.settle(EXPIRED)
    listed = operator.lines("dlq", "list", "--json")
    assert [list(letter) for letter in listed] == [FIELDS] * 4
    assert [letter["id"] for letter in listed] == [*ids, update]
    assert listed[0]["code"] == 513
    assert listed[0]["record"]["evtData"] == {"at": 0}
    assert (listed[3]["code"], listed[3]["reason"], listed[3]["kind"]) == (
        None,
        "expired",
        "profile",
    )
    assert listed == operator.lines("dlq", "export") == operator.lines("dlq", "show", "--json")
    assert operator.lines("dlq", "list", "--json", "--limit", "2") == listed[:2]


def test_filter_options_select_dead_letters(operator: Operator) -> None:
    """Every command takes the same filters."""
    ids = operator.kill(2)
    old = operator.kill(1, EXPIRED)

    def chosen(*options: str) -> list[str]:
        return [letter["id"] for letter in operator.lines("dlq", "list", "--json", *options)]

    assert chosen("--code", "513") == ids
    assert chosen("--code", "expired") == old
    assert chosen("--kind", "event", "--destination", "clevertap") == ids + old
    assert chosen("--kind", "profile") == chosen("--destination", "bloomreach") == []
    assert chosen("--id", ids[1]) == chosen("--id", UUID(ids[1]).hex.upper()) == [ids[1]]
    assert [
        each["count"] for each in operator.lines("dlq", "summary", "--json", "--code", "513")
    ] == [2]
    assert operator.run("dlq", "list", "--id", "x").exit_code == 2
    assert operator.run("dlq", "list", "--destination", "nowhere").exit_code == 2


def test_tables_leave_out_the_records(operator: Operator) -> None:
    """The list for people has ids and reasons, no personal data, no control characters."""
    verdict = Verdict(Outcome.DEAD, "refused", 513, "\x1b[31m[bold]Restricted[/bold]")
    (shown,) = [
        operator.producer.event("Viewed", {"Secret": "s3cr3t"}, identity="jack@example.com")
    ]
    operator.settle(verdict)
    table = operator.run("dlq", "list").stdout
    for text in (shown, "event", "Viewed", "513", "[bold]Restricted[/bold]"):
        assert text in table
    for text in ("s3cr3t", "jack@example.com", "\x1b"):
        assert text not in table
    summary = operator.run("dlq", "summary").stdout
    assert "513" in summary
    assert "Viewed" in summary
    assert "jack@example.com" in operator.run("dlq", "show", shown).stdout


def test_list_with_a_limit_says_that_there_is_more(operator: Operator) -> None:
    """A table is cut at its limit, and says so; an empty one says so too."""
    assert (
        operator.run("dlq", "list").stdout
        == operator.run("dlq", "summary").stdout
        == "No dead letters.\n"
    )
    operator.kill(3)
    shown = operator.run("dlq", "list", "--limit", "2").stdout
    assert "Showing the first 2;" in shown
    assert len(shown.splitlines()) == 4
    assert "Showing" not in operator.run("dlq", "list", "--limit", "3").stdout


def test_show_of_an_unknown_id_fails(operator: Operator) -> None:
    """An id without a dead letter ends with exit code 1, and a hint."""
    result = operator.run("dlq", "show", "0" * 32)
    assert (result.exit_code, result.stdout) == (1, "")
    assert "trace" in result.stderr


def test_export_writes_a_file_that_only_its_owner_may_read(
    operator: Operator, tmp_path: Path
) -> None:
    """The file holds what `list --json` prints, and appears when it is complete."""
    operator.kill(900)
    file = tmp_path / "dead.jsonl"
    result = operator.run("dlq", "export", "--out", str(file))
    assert (result.exit_code, result.stdout) == (0, "")
    assert "900" in result.stderr
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert lines == operator.lines("dlq", "list", "--json")
    assert file.stat().st_mode & 0o077 == 0
    assert list(tmp_path.iterdir()) == [file]


def test_replay_and_purge_print_only_their_number(operator: Operator) -> None:
    """One line of JSON on standard output, whatever the number; the totals agree."""
    operator.kill(5)
    assert printed(operator.run("dlq", "replay", "--yes", "--code", "expired")) == {"replayed": 0}
    assert printed(operator.run("dlq", "replay", "--yes")) == {"replayed": 5}
    operator.adds_up()
    operator.settle(REFUSED)
    (chosen, *_) = operator.lines("dlq", "list", "--json")
    assert printed(operator.run("dlq", "purge", "--yes", "--id", chosen["id"])) == {"purged": 1}
    assert printed(operator.run("dlq", "purge", "-y", "--json")) == {"purged": 4}
    operator.adds_up()
    totals = operator.buffer.status().kinds["event"].totals
    assert (totals["replayed"], totals["purged"], totals["accepted"]) == (5, 5, 5)


@pytest.mark.parametrize("command", ["replay", "purge"])
def test_commands_without_terminal_and_yes_are_refused(operator: Operator, command: str) -> None:
    """Nothing happens, the error names --yes, and the exit code is 2."""
    operator.kill(1)
    result = operator.run("dlq", command, given="y\n")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "--yes" in result.stderr
    assert len(operator.lines("dlq", "list", "--json")) == 1


@pytest.mark.parametrize(("command", "number"), [("replay", "replayed"), ("purge", "purged")])
@pytest.mark.parametrize("answer", ["y", "n"])
def test_commands_at_a_terminal_ask_first(
    operator: Operator, command: str, number: str, answer: str
) -> None:
    """The question goes to standard error, with the number of dead letters."""
    operator.kill(3)
    with at_a_terminal(operator, "dlq", command) as (terminal, process):
        os.write(terminal, f"{answer}\n".encode())
        out, err = process.communicate(timeout=60)
    assert b"3 dead letters" in err
    if answer == "y":
        assert (process.returncode, json.loads(out)) == (0, {number: 3})
    else:
        assert (process.returncode, out) == (1, b"")
        assert len(operator.lines("dlq", "list", "--json")) == 3
    operator.adds_up()


def test_replay_with_check_asks_the_vendor_first(operator: Operator) -> None:
    """Without --yes it only reports; with it, what would pass is replayed."""
    ids = operator.kill(4)
    operator.vendor.prescribe("i1", always=RESTRICTED_EVENT)
    said = printed(operator.run("dlq", "replay", "--check"))
    assert said == {
        "would_pass": 3,
        "would_be_refused": 1,
        "refused": [{"code": RESTRICTED_EVENT, "error": "No.", "count": 1}],
        "replayed": 0,
    }
    assert len(operator.lines("dlq", "list", "--json")) == 4
    result = operator.run("dlq", "replay", "--check", "--yes")
    assert printed(result) == {"replayed": 3}
    assert "3 would pass, 1 would be refused" in result.stderr
    assert str(RESTRICTED_EVENT) in result.stderr
    assert [letter["id"] for letter in operator.lines("dlq", "list", "--json")] == [ids[1]]
    assert operator.vendor.uploads == []
    assert all(request.dry_run for request in operator.vendor.requests)
    operator.adds_up()


def test_replay_from_a_file_replaces_dead_letters(operator: Operator, tmp_path: Path) -> None:
    """Edited lines of an export replace dead letters; unusable ones are reported by line."""
    operator.kill(4)
    letters = operator.lines("dlq", "list", "--json")
    letters[0]["record"]["evtName"] = "Bought"
    letters[1]["record"]["evtName"] = ""
    file = tmp_path / "edited.jsonl"
    lines = [json.dumps(letter) for letter in letters[:3]]
    file.write_text("\n".join([*lines, "{", '{"id": "x"}', "", json.dumps({"id": "0" * 32})]))
    result = operator.run("dlq", "replay", "--from", str(file), "--yes")
    assert (result.exit_code, printed(result)) == (2, {"replayed": 2})
    refused = {each["line"]: each for each in map(json.loads, result.stderr.splitlines())}
    assert list(refused) == [2, 4, 5, 7]
    assert {line: list(each["errors"]) for line, each in refused.items()} == {
        2: ["evtName"],
        4: ["line"],
        5: ["id"],
        7: ["record"],
    }
    assert refused[2]["id"] == letters[1]["id"]
    claim = operator.buffer.claim(begun=True)
    assert claim is not None
    bodies = [json.loads(each.split(b"\n", 1)[1]) for each in claim.records]
    assert sorted(bodies, key=lambda body: str(body["evtName"])) == [
        letters[0]["record"],
        letters[2]["record"],
    ]
    operator.adds_up()


def test_replay_from_a_file_with_check_moves_nothing(operator: Operator, tmp_path: Path) -> None:
    """It reports how many would pass, and each line that would not."""
    operator.kill(5)
    letters = operator.lines("dlq", "list", "--json")
    operator.vendor.prescribe("i1", always=RESTRICTED_EVENT)
    letters[0]["record"]["evtName"] = "Bought"
    letters[2]["record"]["evtName"] = ""
    file = tmp_path / "edited.jsonl"
    file.write_text("\n".join(["{", *map(json.dumps, letters)]))
    result = operator.run("dlq", "replay", "--from", str(file), "--check")
    expected = {"would_pass": 3, "would_be_refused": 3, "replayed": 0}
    assert (result.exit_code, printed(result)) == (2, expected)
    lines = [json.loads(line) for line in result.stderr.splitlines()]
    assert [each["line"] for each in lines] == [1, 3, 4]
    assert lines[1]["id"] == letters[1]["id"]
    assert lines[1]["errors"] == {"vendor": [f"code {RESTRICTED_EVENT}: No."]}
    assert list(lines[2]["errors"]) == ["evtName"]
    assert [each.identities for each in operator.vendor.requests] == [["i0", "i1", "i3", "i4"]]
    assert operator.vendor.uploads == []
    assert len(operator.lines("dlq", "list", "--json")) == 5
    assert operator.run("dlq", "replay", "--from", str(file), "--check", "--yes").exit_code == 2
    assert len(operator.lines("dlq", "list", "--json")) == 5
    operator.adds_up()


def test_replay_from_standard_input_works_in_a_pipe(operator: Operator) -> None:
    """What `export` prints may be piped through a program that edits it."""
    operator.kill(2)
    exported = operator.run("dlq", "export").stdout.replace("Viewed", "Bought")
    assert printed(operator.run("dlq", "replay", "--from", "-", "--yes", given=exported)) == {
        "replayed": 2
    }
    again = operator.run("dlq", "replay", "--from", "-", "--yes", given=exported)
    assert (again.exit_code, printed(again)) == (2, {"replayed": 0})
    other = operator.run(
        "dlq", "replay", "--from", "-", "--yes", "--destination", "bloomreach", given=exported
    )
    assert (other.exit_code, printed(other)) == (2, {"replayed": 0})
    assert "--destination" in other.stderr
    assert operator.run("dlq", "replay", "--from", "-", "--code", "1", "--yes").exit_code == 2
    operator.adds_up()


def test_replay_of_a_removed_destination_leaves_its_letters(
    operator: Operator, redis_client: redis.Redis, tmp_path: Path
) -> None:
    """They are listed and may be purged; no process would deliver them."""
    operator.kill(2)
    config = tmp_path / "destinations.toml"
    config.write_text(
        '[destinations.other]\nvendor = "clevertap"\n'
        "[destinations.other.kinds.event]\nbatch_records = 10\n"
    )
    operator.env["INGEST_DESTINATIONS"] = str(config)
    assert len(operator.lines("dlq", "list", "--json")) == 2
    result = operator.run("dlq", "replay", "--yes")
    assert printed(result) == {"replayed": 0}
    assert "2 dead letters stay" in result.stderr
    assert printed(operator.run("dlq", "purge", "--yes")) == {"purged": 2}


def test_trace_shows_each_place(operator: Operator) -> None:
    """Each place has its words for people and its fields for programs."""
    record_id = operator.producer.event("Viewed", {}, identity="ann")

    def place() -> dict[str, Any]:
        result = operator.run("trace", record_id, "--json")
        assert result.exit_code == 0
        found: dict[str, Any] = printed(result)
        assert (found["id"], found["destination"], found["kind"]) == (
            record_id,
            "clevertap",
            "event",
        )
        assert operator.run("trace", record_id).stdout.startswith(found["place"].replace("_", " "))
        return found

    buffered = place()
    assert (buffered["place"], buffered["partition"], buffered["position"]) == ("buffered", 0, 1)
    claim = operator.buffer.claim(begun=True)
    assert claim is not None
    flying = place()
    assert (flying["place"], flying["batch"], flying["last_answer"]) == (
        "in_flight",
        claim.batch,
        None,
    )
    again = Verdict(Outcome.RETRY, "unavailable", 503, "HTTP 503")
    operator.buffer.finish(claim, Settle(again), "503")
    waiting = place()
    assert (waiting["place"], waiting["attempts"]) == ("retrying", 1)
    assert waiting["last_answer"] == "HTTP 503"
    operator.settle(REFUSED)
    dead = place()
    assert (dead["place"], dead["code"], dead["attempts"]) == ("dead", 513, 2)
    assert printed(operator.run("dlq", "replay", "--yes")) == {"replayed": 1}
    operator.settle(DELIVERED)
    delivered = place()
    assert (delivered["place"], delivered["answer"]) == ("delivered", "200")
    assert delivered["delivered_at"] >= delivered["accepted_at"]


def test_trace_of_an_unknown_record_fails(operator: Operator) -> None:
    """Not found is exit code 1, with what that can mean; not an id is exit code 2."""
    (record_id,) = operator.kill(1)
    operator.run("dlq", "purge", "--yes")
    result = operator.run("trace", record_id)
    assert result.exit_code == 1
    assert "purged" in result.output
    as_json = operator.run("trace", record_id, "--json")
    assert (as_json.exit_code, printed(as_json)["place"]) == (1, "unknown")
    assert operator.run("trace", "f" * 32).exit_code == 1
    assert operator.run("trace", "nonsense").exit_code == 2


def test_dlq_commands_work_with_a_full_redis(operator: Operator, redis_client: redis.Redis) -> None:
    """As the runbook says: export, summary, replay and purge make room."""
    ids = operator.kill(3)
    redis_client.config_set("maxmemory", 1)
    try:
        with pytest.raises(redis.exceptions.OutOfMemoryError):
            redis_client.set("more", 1)
        assert [each["id"] for each in operator.lines("dlq", "export")] == ids
        assert operator.lines("dlq", "summary", "--json")[0]["count"] == 3
        assert operator.lines("dlq", "replay", "--id", ids[0], "--yes") == [{"replayed": 1}]
        assert operator.lines("dlq", "purge", "--yes") == [{"purged": 2}]
    finally:
        redis_client.config_set("maxmemory", 0)
    operator.adds_up()
