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


class Desk:
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
            assert self.buffer.settle(claim, Settle(verdict), "200")
            self.adds_up()

    def kill(self, number: int, verdict: Verdict = REFUSED) -> list[str]:
        """Let events be accepted and die; returns their ids."""
        ids = [self.producer.event("Viewed", {"at": at}, identity=f"i{at}") for at in range(number)]
        self.settle(verdict)
        return ids

    def adds_up(self) -> None:
        """Every accepted record is in one place."""
        for kind, places in self.buffer.status().kinds.items():
            assert places.adds_up, (kind, places)


@pytest.fixture
def desk(redis_client: redis.Redis, redis_url: str, vendor: LoopbackVendor) -> Desk:
    """A destination without a record."""
    return Desk(redis_client, redis_url, vendor)


def told(result: Result) -> Any:
    """What a command printed on standard output: one line of JSON, and nothing else."""
    assert result.stdout.count("\n") == 1, result.output
    return json.loads(result.stdout)


@contextmanager
def at_a_terminal(desk: Desk, *arguments: str) -> Iterator[tuple[int, subprocess.Popen[bytes]]]:
    """The command with a terminal as its standard input; gives the terminal's other side."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "worker.cli", *arguments],
        env=environment(desk.env),
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


def test_lists_are_json_lines_with_the_agreed_fields(desk: Desk) -> None:
    """`list --json` and `export` print the same lines, with these fields in this order."""
    ids = desk.kill(3)
    (update,) = [desk.producer.profile({"Name": "Ann"}, identity="a")]
    desk.settle(EXPIRED)
    listed = desk.lines("dlq", "list", "--json")
    assert [list(letter) for letter in listed] == [FIELDS] * 4
    assert [letter["id"] for letter in listed] == [*ids, update]
    assert listed[0]["code"] == 513
    assert listed[0]["record"]["evtData"] == {"at": 0}
    assert (listed[3]["code"], listed[3]["reason"], listed[3]["kind"]) == (
        None,
        "expired",
        "profile",
    )
    assert listed == desk.lines("dlq", "export") == desk.lines("dlq", "show", "--json")
    assert desk.lines("dlq", "list", "--json", "--limit", "2") == listed[:2]


def test_options_filter(desk: Desk) -> None:
    """Every command takes the same filters."""
    ids = desk.kill(2)
    old = desk.kill(1, EXPIRED)

    def chosen(*options: str) -> list[str]:
        return [letter["id"] for letter in desk.lines("dlq", "list", "--json", *options)]

    assert chosen("--code", "513") == ids
    assert chosen("--code", "expired") == old
    assert chosen("--kind", "event", "--destination", "clevertap") == ids + old
    assert chosen("--kind", "profile") == chosen("--destination", "bloomreach") == []
    assert chosen("--id", ids[1]) == chosen("--id", UUID(ids[1]).hex.upper()) == [ids[1]]
    assert [each["count"] for each in desk.lines("dlq", "summary", "--json", "--code", "513")] == [
        2
    ]
    assert desk.run("dlq", "list", "--id", "x").exit_code == 2
    assert desk.run("dlq", "list", "--destination", "nowhere").exit_code == 2


def test_tables_leave_the_records_out(desk: Desk) -> None:
    """The list for people has ids and causes, no personal data, and nothing a terminal obeys."""
    verdict = Verdict(Outcome.DEAD, "refused", 513, "\x1b[31m[bold]Restricted[/bold]")
    (shown,) = [desk.producer.event("Viewed", {"Secret": "s3cr3t"}, identity="jack@example.com")]
    desk.settle(verdict)
    table = desk.run("dlq", "list").stdout
    for text in (shown, "event", "Viewed", "513", "[bold]Restricted[/bold]"):
        assert text in table
    for text in ("s3cr3t", "jack@example.com", "\x1b"):
        assert text not in table
    summary = desk.run("dlq", "summary").stdout
    assert "513" in summary
    assert "Viewed" in summary
    assert "jack@example.com" in desk.run("dlq", "show", shown).stdout


def test_a_short_list_says_that_there_is_more(desk: Desk) -> None:
    """A table is cut at its limit, and says so; an empty one says that it is."""
    assert (
        desk.run("dlq", "list").stdout == desk.run("dlq", "summary").stdout == "No dead letters.\n"
    )
    desk.kill(3)
    shown = desk.run("dlq", "list", "--limit", "2").stdout
    assert "Shown are the first 2;" in shown
    assert len(shown.splitlines()) == 4
    assert "are shown" not in desk.run("dlq", "list", "--limit", "3").stdout


def test_show_tells_when_there_is_none(desk: Desk) -> None:
    """An id that is no dead letter ends with exit code 1."""
    result = desk.run("dlq", "show", "0" * 32)
    assert (result.exit_code, result.stdout) == (1, "")
    assert "trace" in result.stderr


def test_export_writes_a_file_for_its_owner_alone(desk: Desk, tmp_path: Path) -> None:
    """The file holds what `list --json` prints, appears when complete, and is nobody else's."""
    desk.kill(900)
    file = tmp_path / "dead.jsonl"
    result = desk.run("dlq", "export", "--out", str(file))
    assert (result.exit_code, result.stdout) == (0, "")
    assert "900" in result.stderr
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert lines == desk.lines("dlq", "list", "--json")
    assert file.stat().st_mode & 0o077 == 0
    assert list(tmp_path.iterdir()) == [file]


def test_replay_and_purge_print_their_number_alone(desk: Desk) -> None:
    """One line of JSON on standard output, whatever the number; the totals know it too."""
    desk.kill(5)
    assert told(desk.run("dlq", "replay", "--yes", "--code", "expired")) == {"replayed": 0}
    assert told(desk.run("dlq", "replay", "--yes")) == {"replayed": 5}
    desk.adds_up()
    desk.settle(REFUSED)
    (chosen, *_) = desk.lines("dlq", "list", "--json")
    assert told(desk.run("dlq", "purge", "--yes", "--id", chosen["id"])) == {"purged": 1}
    assert told(desk.run("dlq", "purge", "-y", "--json")) == {"purged": 4}
    desk.adds_up()
    totals = desk.buffer.status().kinds["event"].totals
    assert (totals["replayed"], totals["purged"], totals["accepted"]) == (5, 5, 5)


@pytest.mark.parametrize("command", ["replay", "purge"])
def test_nobody_to_ask_is_told_in_a_sentence(desk: Desk, command: str) -> None:
    """Without a terminal and without --yes nothing happens, and the exit code is 2."""
    desk.kill(1)
    result = desk.run("dlq", command, given="y\n")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "--yes" in result.stderr
    assert len(desk.lines("dlq", "list", "--json")) == 1


@pytest.mark.parametrize(("command", "number"), [("replay", "replayed"), ("purge", "purged")])
@pytest.mark.parametrize("answer", ["y", "n"])
def test_a_person_is_asked(desk: Desk, command: str, number: str, answer: str) -> None:
    """At a terminal the question goes to standard error, with how many there are."""
    desk.kill(3)
    with at_a_terminal(desk, "dlq", command) as (terminal, process):
        os.write(terminal, f"{answer}\n".encode())
        out, err = process.communicate(timeout=60)
    assert b"3 dead letters" in err
    if answer == "y":
        assert (process.returncode, json.loads(out)) == (0, {number: 3})
    else:
        assert (process.returncode, out) == (1, b"")
        assert len(desk.lines("dlq", "list", "--json")) == 3
    desk.adds_up()


def test_a_check_asks_the_vendor_first(desk: Desk) -> None:
    """Without --yes it only tells; with it, what would pass is replayed and the rest stays."""
    ids = desk.kill(4)
    desk.vendor.prescribe("i1", always=RESTRICTED_EVENT)
    said = told(desk.run("dlq", "replay", "--check"))
    assert said == {
        "would_pass": 3,
        "would_be_refused": 1,
        "refused": [{"code": RESTRICTED_EVENT, "error": "No.", "count": 1}],
        "replayed": 0,
    }
    assert len(desk.lines("dlq", "list", "--json")) == 4
    result = desk.run("dlq", "replay", "--check", "--yes")
    assert told(result) == {"replayed": 3}
    assert "3 would pass, 1 would be refused" in result.stderr
    assert str(RESTRICTED_EVENT) in result.stderr
    assert [letter["id"] for letter in desk.lines("dlq", "list", "--json")] == [ids[1]]
    assert desk.vendor.uploads == []
    assert all(request.dry_run for request in desk.vendor.requests)
    desk.adds_up()


def test_mended_lines_are_replayed(desk: Desk, tmp_path: Path) -> None:
    """Lines of an export, mended, replace what died; those that break a rule stay, by line."""
    desk.kill(4)
    letters = desk.lines("dlq", "list", "--json")
    letters[0]["record"]["evtName"] = "Bought"
    letters[1]["record"]["evtName"] = ""
    file = tmp_path / "mended.jsonl"
    lines = [json.dumps(letter) for letter in letters[:3]]
    file.write_text("\n".join([*lines, "{", '{"id": "x"}', "", json.dumps({"id": "0" * 32})]))
    result = desk.run("dlq", "replay", "--from", str(file), "--yes")
    assert (result.exit_code, told(result)) == (2, {"replayed": 2})
    refused = {each["line"]: each for each in map(json.loads, result.stderr.splitlines())}
    assert list(refused) == [2, 4, 5, 7]
    assert {line: list(each["errors"]) for line, each in refused.items()} == {
        2: ["evtName"],
        4: ["line"],
        5: ["id"],
        7: ["record"],
    }
    assert refused[2]["id"] == letters[1]["id"]
    claim = desk.buffer.claim(begun=True)
    assert claim is not None
    bodies = [json.loads(each.split(b"\n", 1)[1]) for each in claim.records]
    assert sorted(bodies, key=lambda body: str(body["evtName"])) == [
        letters[0]["record"],
        letters[2]["record"],
    ]
    desk.adds_up()


def test_mended_lines_are_checked_and_stay(desk: Desk, tmp_path: Path) -> None:
    """--from with --check tells how many would pass, and each that would not; nothing moves."""
    desk.kill(5)
    letters = desk.lines("dlq", "list", "--json")
    desk.vendor.prescribe("i1", always=RESTRICTED_EVENT)
    letters[0]["record"]["evtName"] = "Bought"
    letters[2]["record"]["evtName"] = ""
    file = tmp_path / "mended.jsonl"
    file.write_text("\n".join(["{", *map(json.dumps, letters)]))
    result = desk.run("dlq", "replay", "--from", str(file), "--check")
    expected = {"would_pass": 3, "would_be_refused": 3, "replayed": 0}
    assert (result.exit_code, told(result)) == (2, expected)
    lines = [json.loads(line) for line in result.stderr.splitlines()]
    assert [each["line"] for each in lines] == [1, 3, 4]
    assert lines[1]["id"] == letters[1]["id"]
    assert lines[1]["errors"] == {"vendor": [f"code {RESTRICTED_EVENT}: No."]}
    assert list(lines[2]["errors"]) == ["evtName"]
    assert [each.identities for each in desk.vendor.requests] == [["i0", "i1", "i3", "i4"]]
    assert desk.vendor.uploads == []
    assert len(desk.lines("dlq", "list", "--json")) == 5
    assert desk.run("dlq", "replay", "--from", str(file), "--check", "--yes").exit_code == 2
    assert len(desk.lines("dlq", "list", "--json")) == 5
    desk.adds_up()


def test_mended_lines_come_from_standard_input_too(desk: Desk) -> None:
    """What `export` prints may be piped through a program that mends it."""
    desk.kill(2)
    exported = desk.run("dlq", "export").stdout.replace("Viewed", "Bought")
    assert told(desk.run("dlq", "replay", "--from", "-", "--yes", given=exported)) == {
        "replayed": 2
    }
    again = desk.run("dlq", "replay", "--from", "-", "--yes", given=exported)
    assert (again.exit_code, told(again)) == (2, {"replayed": 0})
    other = desk.run(
        "dlq", "replay", "--from", "-", "--yes", "--destination", "bloomreach", given=exported
    )
    assert (other.exit_code, told(other)) == (2, {"replayed": 0})
    assert "--destination" in other.stderr
    assert desk.run("dlq", "replay", "--from", "-", "--code", "1", "--yes").exit_code == 2
    desk.adds_up()


def test_letters_of_a_removed_destination_stay(
    desk: Desk, redis_client: redis.Redis, tmp_path: Path
) -> None:
    """They are listed and may be purged; replayed, nobody would deliver them."""
    desk.kill(2)
    config = tmp_path / "destinations.toml"
    config.write_text(
        '[destinations.other]\nvendor = "clevertap"\n'
        "[destinations.other.kinds.event]\nbatch_records = 10\n"
    )
    desk.env["INGEST_DESTINATIONS"] = str(config)
    assert len(desk.lines("dlq", "list", "--json")) == 2
    result = desk.run("dlq", "replay", "--yes")
    assert told(result) == {"replayed": 0}
    assert "2 dead letters stay" in result.stderr
    assert told(desk.run("dlq", "purge", "--yes")) == {"purged": 2}


def test_trace_tells_the_place(desk: Desk) -> None:
    """Each place has its words for people and its fields for programs; the exit code tells both."""
    record_id = desk.producer.event("Viewed", {}, identity="ann")

    def place() -> dict[str, Any]:
        result = desk.run("trace", record_id, "--json")
        assert result.exit_code == 0
        found: dict[str, Any] = told(result)
        assert (found["id"], found["destination"], found["kind"]) == (
            record_id,
            "clevertap",
            "event",
        )
        assert desk.run("trace", record_id).stdout.startswith(found["place"].replace("_", " "))
        return found

    buffered = place()
    assert (buffered["place"], buffered["partition"], buffered["position"]) == ("buffered", 0, 1)
    claim = desk.buffer.claim(begun=True)
    assert claim is not None
    flying = place()
    assert (flying["place"], flying["batch"], flying["last_answer"]) == (
        "in_flight",
        claim.batch,
        None,
    )
    again = Verdict(Outcome.RETRY, "unavailable", 503, "HTTP 503")
    desk.buffer.settle(claim, Settle(again), "503")
    waiting = place()
    assert (waiting["place"], waiting["attempts"]) == ("retrying", 1)
    assert waiting["last_answer"] == "HTTP 503"
    desk.settle(REFUSED)
    dead = place()
    assert (dead["place"], dead["code"], dead["attempts"]) == ("dead", 513, 2)
    assert told(desk.run("dlq", "replay", "--yes")) == {"replayed": 1}
    desk.settle(DELIVERED)
    delivered = place()
    assert (delivered["place"], delivered["answer"]) == ("delivered", "200")
    assert delivered["delivered_at"] >= delivered["accepted_at"]


def test_trace_of_the_unknown(desk: Desk) -> None:
    """No trace is exit code 1, with what that can mean; no id is exit code 2."""
    (record_id,) = desk.kill(1)
    desk.run("dlq", "purge", "--yes")
    result = desk.run("trace", record_id)
    assert result.exit_code == 1
    assert "purged" in result.output
    as_json = desk.run("trace", record_id, "--json")
    assert (as_json.exit_code, told(as_json)["place"]) == (1, "unknown")
    assert desk.run("trace", "f" * 32).exit_code == 1
    assert desk.run("trace", "nonsense").exit_code == 2


def test_a_full_redis_is_made_room_in(desk: Desk, redis_client: redis.Redis) -> None:
    """What the runbook says works then: look, export, replay, purge."""
    ids = desk.kill(3)
    redis_client.config_set("maxmemory", 1)
    try:
        with pytest.raises(redis.exceptions.OutOfMemoryError):
            redis_client.set("more", 1)
        assert [each["id"] for each in desk.lines("dlq", "export")] == ids
        assert desk.lines("dlq", "summary", "--json")[0]["count"] == 3
        assert desk.lines("dlq", "replay", "--id", ids[0], "--yes") == [{"replayed": 1}]
        assert desk.lines("dlq", "purge", "--yes") == [{"purged": 2}]
    finally:
        redis_client.config_set("maxmemory", 0)
    desk.adds_up()
