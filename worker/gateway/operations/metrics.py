"""`/metrics` for Prometheus; it is the same whichever gateway process answers."""

from __future__ import annotations

import asyncio

from worker.monitoring.metrics.page import CONTENT_TYPE, MetricsPage, scraping_client
from worker.settings.settings import Settings
from worker.vendors.secret import Secret

from ..server.endpoint import Endpoint, HttpResponse, Request
from ..server.errors import HttpError

_TEXTS = {401: "Needs the token", 403: "Set INGEST_METRICS_TOKEN to read this from elsewhere"}


class Metrics(Endpoint):
    """Serves the page; Redis is asked on a thread, so that uploads do not wait for it."""

    path = "/metrics"
    method = "GET"

    def __init__(self, settings: Settings, token: Secret) -> None:
        self._page = MetricsPage(settings, scraping_client(settings), token)

    async def answer(self, request: Request) -> HttpResponse:
        """The metrics, for who may read them."""
        client = request.scope.get("client")
        refusal = self._page.refusal(
            client[0] if client else "", lambda name: request.header(name.encode())
        )
        if refusal:
            raise HttpError(refusal, _TEXTS[refusal])
        text = await asyncio.to_thread(self._page.text)
        return HttpResponse(200, text, content_type=CONTENT_TYPE.encode())
