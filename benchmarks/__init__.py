"""Measurements of kdm beside its peers on a real control plane. Run from the repository's root: see README.md."""

import sys
from pathlib import Path

# The control plane and the proxy are the integration tests'.
sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
