"""`python -m benchmarks.http`: measure kdm beside what one would use instead, on one control plane, in one run."""

from __future__ import annotations

import sys
from benchmarks.http.cli import main

if __name__ == "__main__":
    sys.exit(main())
