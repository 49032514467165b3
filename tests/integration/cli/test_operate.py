"""status, wait, pause, resume, settings and sandbox, run as their users run them."""

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
from worker.connections.embedded.binaries import preferred_binary

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


def test_status_shows_what_is_enabled_and_what_still_holds_records(
    loaded: Cli, redis_client: redis.Redis
) -> None:
    """Records of a destination that is disabled, or no longer configured, are not lost to sight."""
    redis_client.hset(keys.counters("former"), "event:accepted", 3)
    without_secrets = Cli({"REDIS_URL": loaded.env["REDIS_URL"]})
    shown = json.loads(without_secrets("status", "--json").stdout)["destinations"]
    assert set(shown) == {"clevertap", "former"}
    assert shown["former"]["kinds"]["event"]["totals"]["accepted"] == 3


def test_status_for_people_names_what_needs_attention(loaded: Cli) -> None:
    """The table is plain text in a pipe, and tells that nobody looks after waiting records."""
    shown = loaded("status").stdout
    assert "clevertap" in shown
    assert "do a worker and a beat run?" in shown
    assert "\x1b" not in shown


def test_status_can_be_watched(loaded: Cli) -> None:
    """`--watch --json` prints an object a second, until Ctrl-C ends it well."""
    with loaded.begin("status", "--watch", "--json") as watching:
        for _ in range(2):
            shown = json.loads(watching.stdout.readline())
            assert "clevertap" in shown["destinations"]
        watching.process.send_signal(signal.SIGINT)
        assert watching.process.wait(60) == 0


def test_watching_goes_on_when_redis_is_back(redis_factory: RedisFactory) -> None:
    """That Redis went away is told once, and that it is back; then the counts go on."""
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
def test_a_full_disk_is_one_line(cli: Cli, command: str, unbuffered: str) -> None:
    """What standard output does not take ends with 1 and a line, not with a traceback."""
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


def test_pause_and_resume_are_seen_and_may_be_repeated(cli: Cli) -> None:
    """A pause carries its reason into the status; a resume takes it away."""
    assert cli("pause", "clevertap", "--reason", "moving house").returncode == 0
    assert cli.status()["state"] == "paused"
    assert cli.status()["reason"] == "moving house"
    assert "already" in cli("pause", "clevertap").stdout
    assert cli("resume", "clevertap").returncode == 0
    assert (cli.status()["state"], cli.status()["reason"]) == ("running", None)


def test_an_unknown_destination_is_a_wrong_use(cli: Cli) -> None:
    """A destination that is nowhere defined is told with those there are, and exit code 2."""
    for command in (["pause", "nowhere"], ["send", "--destination", "nowhere"]):
        done = cli(*command)
        assert done.returncode == 2
        assert done.stderr == "Error: no destination 'nowhere'; there are: clevertap, bloomreach\n"


def test_wait_tells_what_is_left_at_the_timeout(loaded: Cli) -> None:
    """With records on their way, `wait` ends with 1 and names them and what holds them up."""
    loaded("pause", "clevertap", "--reason", "testing")
    waited = loaded("wait", "--timeout", "0.2")
    assert waited.returncode == 1
    assert "20 event buffered" in waited.stderr
    assert "paused: testing" in waited.stderr


def test_wait_ends_when_all_is_settled(loaded: Cli, redis_client: redis.Redis) -> None:
    """`wait` returns 0 as soon as nothing is on its way, however long it might have waited."""
    assert loaded("wait", "--destination", "bloomreach").returncode == 0
    with loaded.begin("wait", "--timeout", "30") as waiting:
        redis_client.delete(keys.pending("clevertap", "event"))
        assert waiting.process.wait(60) == 0


def test_settings_show_origins_and_no_secret(cli: Cli, tmp_path: Path) -> None:
    """Every setting is shown with its origin; secrets from anywhere are masked."""
    file = tmp_path / "key"
    file.write_text("s3cret-bloomreach\n")
    given = {
        "REDIS_URL": "redis://:s3cret-p@ss@127.0.0.1:1/0",
        "CELERY_BROKER_URL": "redis://127.0.0.1:1/0?password=s3cret-query",
        "BLOOMREACH_API_SECRET_FILE": str(file),
        "FLOWER_BASIC_AUTH": "admin:s3cret-flower",
        "INGEST_MAX_WAIT_S": "7",
    }
    as_table, as_json = cli("settings", **given), cli("settings", "--json", **given)
    assert as_table.returncode == as_json.returncode == 0
    assert "s3cret" not in as_table.stdout + as_json.stdout
    assert "p@ss" not in as_table.stdout
    assert "ss@127" not in as_table.stdout
    shown = json.loads(as_json.stdout)
    assert shown["destinations.clevertap.max_wait_s"] == {
        "value": "7.0",
        "origin": "environment INGEST_MAX_WAIT_S",
    }
    assert shown["destinations.bloomreach.api_secret"]["value"] == "***"
    assert shown["FLOWER_BASIC_AUTH"]["value"] == "***"


def test_settings_remark_on_what_is_seldom_meant(cli: Cli) -> None:
    """Half of a vendor's credentials, and a misspelt variable: remarks, for neither is an error."""
    done = cli(
        "settings",
        "--json",
        CLEVERTAP_PASSCODE="",
        INGEST_MAX_ATTEMPS="3",
        INGEST_MAX_WAIT_S="7",
        INGEST_SANDBOX_FAULTS="none",
    )
    assert done.returncode == 0
    assert json.loads(done.stdout)
    assert done.stderr.splitlines() == [
        "destinations.clevertap: not enabled: passcode is not set",
        "INGEST_MAX_ATTEMPS: set, but no setting has this name",
    ]


def test_half_of_the_credentials_do_not_start_the_sandbox(tmp_path: Path) -> None:
    """`ingest up` names what is missing: who set an account does not want a stand-in of it."""
    done = Cli({"CLEVERTAP_ACCOUNT_ID": "ACC"}, cwd=tmp_path)("up", "--no-sample")
    assert (done.returncode, done.stderr) == (
        1,
        "Error: destinations.clevertap: passcode is not set\n",
    )


@pytest.mark.parametrize("command", ["wait", "up"])
@pytest.mark.parametrize("wrong", ["nan", "-1", "soon"])
def test_a_timeout_is_a_time(cli: Cli, command: str, wrong: str) -> None:
    """NaN would be waited for for ever: no clock reaches it."""
    done = cli(command, "--timeout", wrong)
    assert done.returncode == 2
    assert f"'--timeout': {wrong!r} is no number of seconds" in done.stderr


@pytest.mark.parametrize(
    ("command", "named"), [("dlq list --id x", "--id"), ("trace x", "ID"), ("dlq show x", "ID")]
)
def test_a_wrong_id_is_told_by_the_option_it_stands_in(cli: Cli, command: str, named: str) -> None:
    """As every other wrong value is."""
    done = cli(*command.split())
    assert done.returncode == 2
    assert done.stderr.endswith(f"Error: Invalid value for {named}: 'x' is no record's id\n")


def test_a_host_that_is_not_found_is_told_in_words(cli: Cli) -> None:
    """The resolver's numbers mean nothing to anybody."""
    done = cli("metrics", "--port", "0", "--host", "nowhere.invalid")
    assert done.returncode == 1
    assert done.stderr.startswith("Error: cannot listen on nowhere.invalid port 0: ")
    assert "Unknown error" not in done.stderr


def test_no_error_is_a_traceback(cli: Cli, tmp_path: Path) -> None:
    """Wrong settings and an unreachable Redis are one line and exit code 1, without secrets."""
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
def test_a_redis_that_wants_another_password_is_told_by_its_setting(
    redis_client: redis.Redis, cli: Cli, command: list[str]
) -> None:
    """Without a password, and with a wrong one: a line that names the setting alone."""
    records = json_lines(map(event, range(500)))  # more than Redis reads of a stranger
    redis_client.config_set("requirepass", "sesame")
    try:
        without = cli(*command, stdin=records)
        wrong = cli(
            *command, stdin=records, REDIS_URL=cli.env["REDIS_URL"].replace("//", "//:hush@")
        )
    finally:
        redis_client.config_set("requirepass", "")
    for done, told in (
        (without, "it wants a password, and REDIS_URL has none"),
        (wrong, "it refuses the user or the password of REDIS_URL"),
    ):
        assert (done.returncode, len(done.stderr.splitlines())) == (1, 1), done.stderr
        assert told in done.stderr
        assert "hush" not in done.stderr


def test_a_replica_is_told_as_one(redis_factory: RedisFactory) -> None:
    """Whatever the Redis: those before 7 speak of scripts."""
    server = redis_factory()
    cli = Cli({"REDIS_URL": server.url, **CREDENTIALS})
    with redis.Redis.from_url(server.url) as client:
        client.replicaof("127.0.0.1", find_free_port())
    for command in (["pause", "clevertap"], ["send"]):
        done = cli(*command, stdin=json_lines([event(1)]))
        assert done.returncode == 1
        assert "it is a replica, which takes no writes" in done.stderr


def test_sentinels_that_do_not_answer_are_a_short_line(cli: Cli) -> None:
    """The error of redis-py goes on with the insides of its clients; ours does not."""
    done = cli("status", REDIS_URL=f"redis+sentinel://127.0.0.1:{find_free_port()}/records/0")
    assert done.returncode == 1
    assert done.stderr.startswith("Error: Redis: No master found for 'records': no Sentinel of")
    assert len(done.stderr) < 200


def test_a_redis_on_a_unix_socket_is_used(tmp_path: Path, processes: Processes) -> None:
    """With password and database; a socket that is not there is one line."""
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
def test_a_file_that_cannot_be_written_is_one_line(
    cli: Cli, tmp_path: Path, command: list[str]
) -> None:
    """The line names the file, for the files that are asked for and for those of ./var."""
    (tmp_path / "file").touch()
    (tmp_path / "var").touch()
    done = Cli(cli.env, cwd=tmp_path)(*command)
    assert done.returncode == 1
    assert re.fullmatch(r"Error: (file/x.partial|\S*var\S*): [A-Z][a-z ]+\n", done.stderr)


def test_without_redis_url_the_private_redis_is_named(tmp_path: Path) -> None:
    """With no REDIS_URL and nothing running in ./var, the error tells what to do."""
    done = Cli(CREDENTIALS, cwd=tmp_path)("status")
    assert done.returncode == 1
    assert "ingest up" in done.stderr


def test_the_sandbox_runs_until_it_is_stopped(free_port: int) -> None:
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


def test_help_shows_the_exit_codes_and_every_command(cli: Cli) -> None:
    """The menu is whole, each command has a help of its own, and its line is not cut off."""
    menu = cli("--help").stdout
    for name in ("up", "send", "check", "status", "wait", "pause", "resume", "settings", "sandbox"):
        assert f"\n  {name} " in menu
        assert cli(name, "--help").returncode == 0
    assert "Exit codes:" in menu
    assert "..." not in menu.partition("\n")[2]
