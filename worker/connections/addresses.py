"""The addresses a Redis may have: one server, a master that Sentinels know, or a Cluster.

    redis://[[user]:password@]host[:port][/db]                            and rediss://, unix://
    redis+sentinel://[[user]:password@]host[:port][,host[:port]...]/service[/db]
    redis+cluster://[[user]:password@]host[:port][,host[:port]...]

`rediss+sentinel://` and `rediss+cluster://` use TLS. After a `?` come options of redis-py's
connections; `sentinel_username` and `sentinel_password` are for the Sentinels themselves.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import parse_qsl, urlencode

from redis.connection import parse_url

from ..errors import SettingsError

Form = Literal["sentinel", "cluster"]
DEFAULT_PORTS = {"sentinel": 26379, "cluster": 6379}
_SCHEME = re.compile(r"(rediss?)\+(sentinel|cluster)://")
_REST = re.compile(
    r"(?:(?P<user>.*)@)?(?P<hosts>[^@/?#]+)(?:/(?P<path>[^?#]*))?(?:\?(?P<query>.*))?"
)
_HOST = re.compile(r"(\[[^\]]+\]|[^:\[\]]+)(?::(\d{1,5}))?")
_FORMS = {
    "sentinel": "redis+sentinel://host:26379,host:26379/service/0",
    "cluster": "redis+cluster://host:6379,host:6379",
}


@dataclass(frozen=True, slots=True)
class SharedAddress:
    """Several servers under one address. ``hosts`` are Sentinels or nodes, ``user`` is percent-
    encoded (`name:password`), and ``service`` is the Sentinels' name of the master."""

    form: Form
    tls: bool
    hosts: tuple[tuple[str, int], ...]
    user: str = field(default="", repr=False)
    service: str = ""
    db: int = 0
    options: Mapping[str, str] = field(default_factory=dict, repr=False)

    def url_of(self, host: str, port: int) -> str:
        """Return the address of one server, with login and options."""
        scheme, user = ("rediss" if self.tls else "redis"), (f"{self.user}@" if self.user else "")
        host = f"[{host}]" if ":" in host else host
        plain = {k: v for k, v in self.options.items() if not k.startswith("sentinel_")}
        query = f"?{urlencode(plain)}" if plain else ""
        return f"{scheme}://{user}{host}:{port}/{self.db}{query}"

    def connection_options(self) -> dict[str, Any]:
        """Return redis-py's options for a connection to any of the servers."""
        options: dict[str, Any] = parse_url(self.url_of(*self.hosts[0]))
        for name in ("host", "port", "connection_class"):
            options.pop(name, None)
        return {**options, "ssl": self.tls}

    @property
    def sentinel_options(self) -> dict[str, str]:
        """Name and password for the Sentinels themselves, if any."""
        return {
            name.removeprefix("sentinel_"): value
            for name, value in self.options.items()
            if name.startswith("sentinel_")
        }


def shared_address(url: str) -> SharedAddress | None:
    """Parse an address of Sentinels or of a Cluster; return None for any other.

    SettingsError when it is malformed; the message never contains it.
    """
    scheme = _SCHEME.match(url)
    if scheme is None:
        return None
    form: Form = "sentinel" if scheme[2] == "sentinel" else "cluster"
    rest = _REST.fullmatch(url, scheme.end())
    if rest is None:
        raise _malformed(form)
    path = rest["path"] or ""
    service, _, db = path.partition("/") if form == "sentinel" else ("", "", path)
    if (form == "sentinel" and not service) or not re.fullmatch(r"\d*", db):
        raise _malformed(form)
    if form == "cluster" and int(db or 0):
        raise SettingsError("the address of a Redis Cluster must name no database: it has only 0")
    return SharedAddress(
        form=form,
        tls=scheme[1] == "rediss",
        hosts=tuple(_host(form, each) for each in rest["hosts"].split(",")),
        user=rest["user"] or "",
        service=service,
        db=int(db or 0),
        options=dict(parse_qsl(rest["query"] or "")),
    )


def _host(form: Form, text: str) -> tuple[str, int]:
    found = _HOST.fullmatch(text.strip())
    if found is None:
        raise _malformed(form)
    return found[1].strip("[]"), int(found[2] or DEFAULT_PORTS[form])


def _malformed(form: Form) -> SettingsError:
    return SettingsError(f"not an address of {form.title()}: it looks like {_FORMS[form]}")
