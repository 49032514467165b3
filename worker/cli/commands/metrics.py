"""`ingest metrics`: Prometheus' metrics, printed once or served to whoever scrapes."""

from __future__ import annotations

import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import TYPE_CHECKING

import click

from ..console.listening import ANY_PORT, HOST, extra, listening

if TYPE_CHECKING:
    from worker.monitoring.metrics.page import MetricsPage

_LOOK_EVERY_S = 0.1


@click.command
@click.option(
    "--port",
    type=ANY_PORT,
    help="Serve them at /metrics until Ctrl-C; 0 takes a free port, and tells which.",
)
@click.option("--host", default=HOST, show_default=True, help="Where to listen.")
def metrics(port: int | None, host: str) -> None:
    """Print the metrics of all processes once, or serve them with --port.

    The gateway has the same at /metrics. With INGEST_METRICS_TOKEN set, readers must show it as a
    bearer token; without, only programs on this machine may read.
    """
    with extra("metrics"):
        from worker.monitoring.metrics.page import MetricsPage, scraping_client
    from worker.settings.environment import secret_of
    from worker.settings.settings import Settings

    settings = Settings.from_env()
    page = MetricsPage(settings, scraping_client(settings), secret_of("INGEST_METRICS_TOKEN"))
    if port is None:
        click.echo(page.text(), nl=False)
        return
    _serve(page, host, port)


def _serve(page: MetricsPage, host: str, port: int) -> None:
    """Until told to stop."""
    from ..console.signals import StopSignals

    class Handler(_Handler):
        shown = page

    with listening(host, port):
        server = ThreadingHTTPServer((host, port), Handler)
    signals = StopSignals()
    with server, signals.caught():
        Thread(target=server.serve_forever, daemon=True).start()
        click.echo(f"metrics: http://{host}:{server.server_address[1]}/metrics", err=True)
        while not signals.stop:
            time.sleep(_LOOK_EVERY_S)
        server.shutdown()


class _Handler(BaseHTTPRequestHandler):
    """One page and nothing else."""

    shown: MetricsPage
    timeout = 10  # a reader that says nothing keeps no thread

    def do_GET(self) -> None:
        """Answer a reader."""
        from worker.monitoring.metrics.page import CONTENT_TYPE

        if self.path.partition("?")[0] != "/metrics":
            self.send_error(404)
            return
        refusal = self.shown.refusal(
            self.client_address[0], lambda name: self.headers.get(name) or ""
        )
        if refusal:
            self.send_error(refusal)
            return
        text = self.shown.text()
        self.send_response(200)
        self.send_header("Content-Type", CONTENT_TYPE)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name there
        """Say nothing: a line for each scrape tells nobody anything."""
