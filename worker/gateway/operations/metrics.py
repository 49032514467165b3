"""`/metrics` for Prometheus; every gateway process answers the same."""

from __future__ import annotations

import asyncio

from worker.monitoring.metrics.collector import CONTENT_TYPE, MetricsPage
from worker.settings.settings import Settings
from worker.vendors.secret import Secret

from ..server.endpoint import Endpoint, HttpError, HttpRequest, HttpResponse

_TEXTS = {
    401: "The token is missing or wrong",
    403: "Set INGEST_METRICS_TOKEN to read this from elsewhere",
}


class Metrics(Endpoint):
    """Serves the page to those who may read it; a thread reads Redis, and uploads go on."""

    path = "/metrics"

    def __init__(self, settings: Settings, token: Secret) -> None:
        self._page = MetricsPage(settings, token)

    async def handle(self, request: HttpRequest) -> HttpResponse:
        address = (request.scope.get("client") or ("",))[0]
        refusal = self._page.refusal(address, lambda name: request.header(name.encode()))
        if refusal:
            raise HttpError(refusal, _TEXTS[refusal])
        text = await asyncio.to_thread(self._page.text)
        return HttpResponse(200, text, content_type=CONTENT_TYPE.encode())
