"""status, wait, pause, resume, sandbox and others, run as their users run them."""

from __future__ import annotations

import json
import re
import signal
import subprocess
from pathlib import Path

import pytest
import redis

from support.commands import CREDENTIALS, INGEST, Cli, event, json_lines
from support.environment import environment
from support.polling import poll_until
from support.ports import find_free_port, listens
from support.processes import Processes
from support.redis_servers import RedisFactory
from worker.buffer import keys
from worker.connections.embedded.processes import preferred_binary

PLACES = {"buffered", "in_flight", "retrying", "dead", "oldest_wait_s", "totals"}
TOTALS = {
    "accepted",
    "delivered",
    "dead_lettered",
    "replayed",
    "purged",
    "ambiguous",
    "attempts",
}


@pytest.fixture
def cli(redis_url: str) -> Cli:
    """The command, with an empty Redis."""
    return Cli({"REDIS_URL": redis_url, **CREDENTIALS})


@pytest.fixture
def loaded(cli: Cli) -> Cli:
    """The command, with twenty events in the buffer."""
    assert cli("send", stdin=json_lines(map(event, range(20)))).returncode == 0
    return cli


def test_status_has_the_shape_that_programs_rely_on(loaded: Cli) -> None:
    """`status --json` holds the contract's fields and no others, for every kind."""
    status = json.loads(loaded("status", "--json").stdout)
    assert set(status) == {"destinations"}
    assert set(status["destinations"]) == {"clevertap"}
    shown = status["destinations"]["clevertap"]
    assert set(shown) == {"state", "reason", "concurrency", "kinds"}
    assert (shown["state"], shown["reason"]) == ("running", None)
    assert set(shown["kinds"]) == {"event", "profile", "token"}
    assert all(set(kind) == PLACES for kind in shown["kinds"].values())
    assert all(set(kind["totals"]) == TOTALS for kind in shown["kinds"].values())
    assert shown["kinds"]["event"]["buffered"] == 20
    assert shown["kinds"]["event"]["totals"]["accepted"] == 20


def test_status_includes_disabled_destinations_with_records(
    loaded: Cli, redis_client: redis.Redis
) -> None:
    """Records of a disabled or removed destination stay visible."""
    redis_client.hset(keys.counters("former"), "event:accepted", 3)
    without_secrets = Cli({"REDIS_URL": loaded.env["REDIS_URL"]})
    shown = json.loads(without_secrets("status", "--json").stdout)["destinations"]
    assert set(shown) == {"clevertap", "former"}
    assert shown["former"]["kinds"]["event"]["totals"]["accepted"] == 3


def test_status_in_a_pipe_is_plain_text_with_remarks(loaded: Cli) -> None:
    """The table is plain text, and says that no worker looks after waiting records."""
    shown = loaded("status").stdout
    assert "clevertap" in shown
    assert "are a worker and beat running?" in shown
    assert "\x1b" not in shown


def test_status_with_watch_prints_until_interrupted(loaded: Cli) -> None:
    """`--watch --json` prints an object a second; Ctrl-C ends it with exit code 0."""
    with loaded.begin("status", "--watch", "--json") as watching:
        for _ in range(2):
            shown = json.loads(watching.stdout.readline())
            assert "clevertap" in shown["destinations"]
        watching.process.send_signal(signal.SIGINT)
        assert watching.process.wait(60) == 0


def test_status_with_watch_survives_a_restart_of_redis(redis_factory: RedisFactory) -> None:
    """It says once that Redis is away and once that it is back; then the counts continue."""
    server = redis_factory()
    cli = Cli({"REDIS_URL": server.url, **CREDENTIALS})
    with cli.begin("status", "--watch", "--json") as watching:
        assert "clevertap" in watching.stdout.readline()
        server.stop()
        assert "; waiting for it" in watching.stderr.readline()
        server.start()
        assert watching.stderr.readline() == "Redis answers again\n"
        assert "clevertap" in watching.stdout.readline()


@pytest.mark.parametrize(
    "command",
    [
        "status",
        "status --json",
        "settings",
        "dlq summary",
        "check /dev/null",
        "--help",
        "--version",
        "dlq --help",
    ],
)
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_full_disk_ends_with_one_line(cli: Cli, command: str, unbuffered: str) -> None:
    """If standard output cannot be written: exit code 1 and a line, not a traceback."""
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [str(INGEST), *command.split()],
            stdout=full,
            stderr=subprocess.PIPE,
            env=environment({**cli.env, "PYTHONUNBUFFERED": unbuffered}),
            timeout=60,
            check=False,
        )
    assert done.returncode == 1
    assert done.stderr == b"Error: cannot write: No space left on device\n"


def test_pause_and_resume_show_in_status_and_may_repeat(cli: Cli) -> None:
    """A pause carries its reason into the status; a resume takes it away."""
    assert cli("pause", "clevertap", "--reason", "moving house").returncode == 0
    assert cli.status()["state"] == "paused"
    assert cli.status()["reason"] == "moving house"
    assert "already" in cli("pause", "clevertap").stdout
    assert cli("resume", "clevertap").returncode == 0
    assert (cli.status()["state"], cli.status()["reason"]) == ("running", None)


def test_an_unknown_destination_is_a_usage_error(cli: Cli) -> None:
    """The error lists the destinations there are; the exit code is 2."""
    for command in (["pause", "nowhere"], ["send", "--destination", "nowhere"]):
        done = cli(*command)
        assert done.returncode == 2
        assert done.stderr == "Error: no destination 'nowhere'; there are: clevertap, bloomreach\n"


def test_wait_at_the_timeout_names_what_is_left(loaded: Cli) -> None:
    """With records on their way, `wait` exits with 1 and names them and what stops them."""
    loaded("pause", "clevertap", "--reason", "testing")
    waited = loaded("wait", "--timeout", "0.2")
    assert waited.returncode == 1
    assert "20 event buffered" in waited.stderr
    assert "paused: testing" in waited.stderr


def test_wait_ends_when_nothing_is_on_its_way(loaded: Cli, redis_client: redis.Redis) -> None:
    """`wait` exits with 0 as soon as that is so, long before its timeout."""
    assert loaded("wait", "--destination", "bloomreach").returncode == 0
    with loaded.begin("wait", "--timeout", "30") as waiting:
        redis_client.delete(keys.pending("clevertap", "event"))
        assert waiting.process.wait(60) == 0


def test_up_with_incomplete_credentials_is_refused(tmp_path: Path) -> None:
    """`ingest up` names what is missing, rather than start the sandbox."""
    done = Cli({"CLEVERTAP_ACCOUNT_ID": "ACC"}, cwd=tmp_path)("up", "--no-sample")
    assert (done.returncode, done.stderr) == (
        1,
        "Error: destinations.clevertap: passcode is not set\n",
    )


def test_metrics_on_an_unknown_host_fails_in_words(cli: Cli) -> None:
    """The resolver's numbers alone would mean nothing."""
    done = cli("metrics", "--port", "0", "--host", "nowhere.invalid")
    assert done.returncode == 1
    assert done.stderr.startswith("Error: cannot listen on nowhere.invalid port 0: ")
    assert "Unknown error" not in done.stderr


def test_expected_errors_are_one_line_without_secrets(cli: Cli, tmp_path: Path) -> None:
    """Wrong settings and an unreachable Redis: one line and exit code 1."""
    wrong = {
        "REDIS_URL": [f"redis://:hush@127.0.0.1:{find_free_port()}/0", "hush://hush@nowhere"],
        "INGEST_MAX_WAIT_S": ["soon"],
        "INGEST_DESTINATIONS": [str(tmp_path / "nowhere.toml")],
    }
    for name, values in wrong.items():
        for value in values:
            done = cli("status", **{name: value})
            assert done.returncode == 1, (name, value, done.stderr)
            assert len(done.stderr.splitlines()) == 1
            assert "hush" not in done.stderr


@pytest.mark.parametrize("command", [["status"], ["send", "-"]])
def test_a_redis_with_another_password_names_the_setting(
    redis_client: redis.Redis, cli: Cli, command: list[str]
) -> None:
    """Without a password, and with a wrong one: one line that names REDIS_URL."""
    records = json_lines(map(event, range(500)))  # more than Redis reads of a stranger
    redis_client.config_set("requirepass", "sesame")
    try:
        without = cli(*command, stdin=records)
        wrong = cli(
            *command, stdin=records, REDIS_URL=cli.env["REDIS_URL"].replace("//", "//:hush@")
        )
    finally:
        redis_client.config_set("requirepass", "")
    for done, expected in (
        (without, "it wants a password, and REDIS_URL has none"),
        (wrong, "it refuses the user or the password of REDIS_URL"),
    ):
        assert (done.returncode, len(done.stderr.splitlines())) == (1, 1), done.stderr
        assert expected in done.stderr
        assert "hush" not in done.stderr


def test_a_replica_is_reported_as_one(redis_factory: RedisFactory) -> None:
    """On every version of Redis: those before 7 wrap the error of a script."""
    server = redis_factory()
    cli = Cli({"REDIS_URL": server.url, **CREDENTIALS})
    with redis.Redis.from_url(server.url) as client:
        client.replicaof("127.0.0.1", find_free_port())
    for command in (["pause", "clevertap"], ["send"]):
        done = cli(*command, stdin=json_lines([event(1)]))
        assert done.returncode == 1
        assert "it is a replica, which takes no writes" in done.stderr


def test_unreachable_sentinels_are_a_short_line(cli: Cli) -> None:
    """The error of redis-py also shows the insides of its clients; ours does not."""
    done = cli("status", REDIS_URL=f"redis+sentinel://127.0.0.1:{find_free_port()}/records/0")
    assert done.returncode == 1
    assert done.stderr.startswith("Error: Redis: No master found for 'records': no Sentinel of")
    assert len(done.stderr) < 200


def test_a_redis_on_a_unix_socket_is_used(tmp_path: Path, processes: Processes) -> None:
    """With password and database; a missing socket is one line."""
    address = f"unix://:sesame@{tmp_path}/s?db=2"
    away = Cli({**CREDENTIALS, "REDIS_URL": address})("status")
    assert (away.returncode, len(away.stderr.splitlines())) == (1, 1)
    options = ["--port", "0", "--unixsocket", f"{tmp_path}/s", "--requirepass", "sesame"]
    server = preferred_binary().path
    processes.run([str(server), *options, "--dir", str(tmp_path)], env={})
    poll_until((tmp_path / "s").exists, what="Redis listens")
    cli = Cli({**CREDENTIALS, "REDIS_URL": address})
    assert cli("send", stdin=json_lines([event(1)])).returncode == 0
    assert cli.status()["kinds"]["event"]["buffered"] == 1


@pytest.mark.parametrize("command", [["dlq", "export", "--out", "file/x"], ["up", "--no-sample"]])
def test_a_file_that_cannot_be_written_is_named(
    cli: Cli, tmp_path: Path, command: list[str]
) -> None:
    """One line names it, whether it was asked for or belongs to ./var."""
    (tmp_path / "file").touch()
    (tmp_path / "var").touch()
    done = Cli(cli.env, cwd=tmp_path)(*command)
    assert done.returncode == 1
    assert re.fullmatch(r"Error: (file/x.partial|\S*var\S*): [A-Z][a-z ]+\n", done.stderr)


def test_without_redis_url_the_error_suggests_ingest_up(tmp_path: Path) -> None:
    """Without REDIS_URL and with nothing running in ./var, the error says what to do."""
    done = Cli(CREDENTIALS, cwd=tmp_path)("status")
    assert done.returncode == 1
    assert "ingest up" in done.stderr


def test_sandbox_serves_until_stopped_and_reports_a_used_port(free_port: int) -> None:
    """`sandbox` serves on the port given; a port in use is one line and exit code 1."""
    command = ("sandbox", "--port", str(free_port))
    with Cli({}).begin(*command) as serving:
        poll_until(lambda: listens(free_port), what="the sandbox listens")
        again = Cli({})(*command)
        assert again.returncode == 1
        assert "in use" in again.stderr
        assert len(again.stderr.splitlines()) == 1
        serving.process.send_signal(signal.SIGTERM)
        serving.process.wait(60)
    assert not listens(free_port)


def test_help_shows_exit_codes_and_every_command(cli: Cli) -> None:
    """The menu is complete, its lines are not cut off, and each command has a help text."""
    menu = cli("--help").stdout
    for name in ("up", "send", "check", "status", "wait", "pause", "resume", "settings", "sandbox"):
        assert f"\n  {name} " in menu
        assert cli(name, "--help").returncode == 0
    assert "Exit codes:" in menu
    assert "..." not in menu.partition("\n")[2]
