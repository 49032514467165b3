"""Run the benchmarks: `make bench`, or `make bench ARGS="--quick --only drain"`."""

from __future__ import annotations

import sys
from pathlib import Path

# Run as a file, so that `benchmarks` and `support` are found in the tests' folder.
sys.path[0] = str(Path(__file__).parents[1])

from benchmarks.program import main  # noqa: E402

if __name__ == "__main__":
    sys.exit(main())
