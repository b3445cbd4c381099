"""What the README shows is what happens."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

README = Path(__file__).parents[2] / "README.md"


def test_the_library_example_prints_what_the_readme_says() -> None:
    examples = re.findall(r"^```python\n(.*?)^```\n+^```\n(.*?)^```", README.read_text(), re.MULTILINE | re.DOTALL)
    assert examples
    for code, output in examples:
        ran = subprocess.run(
            [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False, timeout=60
        )
        assert ran.stdout == output, ran.stderr
