"""The reader of settings: variables, files that stand for secrets, and origins."""

from __future__ import annotations

from pathlib import Path

import pytest

from worker.dashboard.settings import DashboardSettings
from worker.errors import SettingsError
from worker.settings.environment import secret_of
from worker.settings.settings import Settings


def test_secret_is_read_from_its_file(tmp_path: Path) -> None:
    """NAME_FILE is read when NAME is not set; a final line feed is not part of the secret."""
    file = tmp_path / "passcode"
    file.write_text("from-a-file\n")
    given = {"CLEVERTAP_ACCOUNT_ID": "ACC", "CLEVERTAP_PASSCODE_FILE": str(file)}
    settings = Settings.from_env(given)
    assert settings.destination().account.gateway_credentials()[1] == "from-a-file"
    shown = {each.name: each for each in settings.sources}["destinations.clevertap.passcode"]
    assert (shown.value, shown.origin) == ("***", "file named by CLEVERTAP_PASSCODE_FILE")


def test_secret_file_with_a_mark_is_read_without_it(tmp_path: Path) -> None:
    """A byte order mark is not part of the secret; a file that is not text is refused."""
    file = tmp_path / "passcode"
    named = {"CLEVERTAP_ACCOUNT_ID": "ACC", "CLEVERTAP_PASSCODE_FILE": str(file)}
    file.write_bytes(b"\xef\xbb\xbfPASS-1\r\n")
    account = Settings.from_env(named).destination().account
    assert account.gateway_credentials() == ("ACC", "PASS-1")
    file.write_bytes(b"\xff\xfeP\x00")
    with pytest.raises(
        SettingsError, match=r"^CLEVERTAP_PASSCODE_FILE: the file is not UTF-8 text"
    ):
        Settings.from_env(named)


def test_missing_file_is_refused_by_name(tmp_path: Path) -> None:
    """Both the destinations file and a secret's file are named by what is wrong with them."""
    with pytest.raises(SettingsError, match=r"destinations file .*: No such file"):
        Settings.from_env({"INGEST_DESTINATIONS": str(tmp_path / "none.toml")})
    with pytest.raises(SettingsError, match="CLEVERTAP_PASSCODE_FILE: cannot read"):
        Settings.from_env({"CLEVERTAP_PASSCODE_FILE": str(tmp_path / "none")})
    (tmp_path / "empty").write_text("\n")
    with pytest.raises(SettingsError, match="CLEVERTAP_PASSCODE_FILE: the file is empty"):
        Settings.from_env({"CLEVERTAP_PASSCODE_FILE": str(tmp_path / "empty")})


def password_of(name: str, path: Path) -> str:
    """A secret from a file, as the class or function that declares it reads it."""
    environ = {f"{name}_FILE": str(path)}
    if name == "INGEST_DASHBOARD_PASSWORD":
        return DashboardSettings.from_env(environ).password.reveal()
    return secret_of(name, environ).reveal()


@pytest.mark.parametrize("name", ["INGEST_DASHBOARD_PASSWORD", "INGEST_METRICS_TOKEN"])
@pytest.mark.parametrize(
    ("content", "error"),
    [
        (b"", "the file is empty"),
        (b" \n", "the file is empty"),
        ("p\u00e4ssword".encode("latin-1"), "the file is not UTF-8 text"),
        (None, "cannot read the file: No such file or directory"),
    ],
    ids=["empty", "blank", "latin-1", "missing"],
)
def test_secret_file_that_is_no_use_is_refused_in_one_line(
    name: str, content: bytes | None, error: str, tmp_path: Path
) -> None:
    """An empty password would silently turn the dashboard off; a traceback would show a byte."""
    path = tmp_path / "secret"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SettingsError) as refused:
        password_of(name, path)
    assert str(refused.value) == f"{name}_FILE: {error}"


@pytest.mark.parametrize("name", ["INGEST_DASHBOARD_PASSWORD", "INGEST_METRICS_TOKEN"])
def test_secret_file_with_a_byte_order_mark_is_read_without_it(name: str, tmp_path: Path) -> None:
    """An editor's mark is not part of the secret, nor is the final line feed."""
    path = tmp_path / "secret"
    path.write_bytes(b"\xef\xbb\xbfopen sesame\r\n")
    assert password_of(name, path) == "open sesame"
