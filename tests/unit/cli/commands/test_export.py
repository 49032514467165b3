"""The progress bar of `ingest export`."""

from __future__ import annotations

import io

from rich.console import Console
from rich.progress import Progress

from support.reading import DAY, NAME, ScriptedVendor, reply
from worker.cli.commands.export import ProgressBar
from worker.readback.export_file import ExportProgress
from worker.readback.queries import ExportQuery

QUERY = ExportQuery(NAME, int(DAY), int(DAY))


def test_export_bar_gives_up_a_failing_count() -> None:
    """The bar's count ends after one failure; one smaller than the progress is not a total."""
    vendor = ScriptedVendor()
    vendor.script(reply(b"", 503), reply({"status": "success", "count": 5}))
    reader = vendor.reader()
    with Progress(console=Console(file=io.StringIO())) as progress:
        bar = ProgressBar(progress, reader, QUERY)
        bar.on_page(ExportProgress(1, 10))
        bar.on_page(ExportProgress(2, 20))
        assert len(vendor.requests) == 1
        second = ProgressBar(progress, reader, QUERY)
        second.on_page(ExportProgress(3, 30))
        assert progress.tasks[1].total == 5
        second.on_page(ExportProgress(6, 60))
        assert progress.tasks[1].total is None
