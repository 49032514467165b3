"""`python -m worker.cli`: the command `ingest`, where its script is not on the PATH."""

from . import main

main()
