"""`ingest metrics`: Prometheus metrics, printed once or served for scraping."""

from __future__ import annotations

import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import TYPE_CHECKING

import click

from worker.settings.environment import secret_of
from worker.settings.settings import Settings

from .. import options
from ..console.terminal import StopSignals
from ..exit_codes import listening, needs_extra

if TYPE_CHECKING:
    from worker.monitoring.metrics.collector import MetricsPage

_POLL_S = 0.1


@click.command
@click.option(
    "--port",
    type=options.ANY_PORT,
    help="Serve them at /metrics until Ctrl-C; 0 takes a free port, and prints it.",
)
@options.host
def metrics(port: int | None, host: str) -> None:
    """Print the metrics of all processes once, or serve them with --port.

    The gateway serves the same at /metrics. If INGEST_METRICS_TOKEN is set, clients must send it as
    a bearer token; otherwise only clients on this machine may read.
    """
    with needs_extra("metrics"):
        from worker.monitoring.metrics.collector import MetricsPage
    settings = Settings.from_env()
    metrics_page = MetricsPage(settings, secret_of("INGEST_METRICS_TOKEN"))
    if port is None:
        click.echo(metrics_page.text(), nl=False)
        return

    class Handler(_Handler):
        page = metrics_page

    with listening(host, port):
        server = ThreadingHTTPServer((host, port), Handler)
    signals = StopSignals()
    with server, signals.caught():
        Thread(target=server.serve_forever, daemon=True).start()
        click.echo(f"metrics: http://{host}:{server.server_address[1]}/metrics", err=True)
        while not signals.stop:
            time.sleep(_POLL_S)
        server.shutdown()


class _Handler(BaseHTTPRequestHandler):
    """Serves one page and nothing else."""

    page: MetricsPage
    timeout = 10  # a silent client holds no thread

    def do_GET(self) -> None:
        """Answer a request."""
        from worker.monitoring.metrics.collector import CONTENT_TYPE

        if self.path.partition("?")[0] != "/metrics":
            self.send_error(404)
            return
        client = self.client_address[0]
        if refusal := self.page.refusal(client, lambda name: self.headers.get(name) or ""):
            self.send_error(refusal)
            return
        text = self.page.text()
        self.send_response(200)
        self.send_header("Content-Type", CONTENT_TYPE)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name there
        """Log nothing: a line for each scrape is noise."""
