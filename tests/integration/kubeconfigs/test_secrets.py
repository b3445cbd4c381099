"""Nothing that is secret in a kubeconfig is ever in an answer, a metric, a span or the log, whatever fails."""

from __future__ import annotations

import json
import os
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Final
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from .failures import FAILURES
from .recording import recording
from .running import Worker

NIGHTLY: Final = os.environ.get("HYPOTHESIS_PROFILE") == "nightly"

SERVED: Final = "integration.kubeconfigs.served:tell_everything"

# Letters between what other texts do not have, so that a secret is found where it is and nowhere else.
secrets = st.builds(
    "zq{}zq".format,
    st.text("abcdefghijklmnopqrstuvwxyz0123456789", min_size=6, max_size=10)
    | st.text("aeiou-._~+/=%&'\"\\:@ ", min_size=6, max_size=40)
    | st.just("eyJhbGciOiJub25lIn0.eyJzdWIiOiJrZG0ifQ.c2lnbmF0dXJl")
    | st.text("äöü€", min_size=4, max_size=8),
)


def forms(secret: str) -> Iterator[str]:
    """Return what somebody could read a secret from."""
    yield secret
    yield json.dumps(secret)[1:-1]
    yield repr(secret)[1:-1]
    yield quote(secret, safe="")
    yield quote(secret)
    yield b64encode(secret.encode()).decode().rstrip("=")
    yield b64encode(f"u:{secret}".encode()).decode().rstrip("=")


@pytest.mark.asyncio(loop_scope="session")
@pytest.mark.timeout(0 if NIGHTLY else 300)
@pytest.mark.parametrize("failure", FAILURES)
@settings(
    max_examples=100 if NIGHTLY else 2,
    deadline=None,
    derandomize=not NIGHTLY,
    database=None,
    print_blob=NIGHTLY,
    suppress_health_check=list(HealthCheck),
)
@given(secret=secrets, log_format=st.sampled_from(["json", "console"]))
async def test_no_secret_is_told(
    failure: str,
    worker: Worker,
    certificates: Path,
    tmp_path_factory: pytest.TempPathFactory,
    secret: str,
    log_format: str,
) -> None:
    """Over both APIs, the probes, the metrics, the spans and the log, in both of its formats."""
    case = FAILURES[failure](secret)
    home = tmp_path_factory.mktemp("secrets") / "home"
    log = home / "log"
    async with recording(case.servers, certificates) as found:
        environ = case.write(home, certificates, found.ports)
        code = await worker.run(SERVED, environ, home / "cwd", log, log_format)
    told = log.read_text(errors="replace")
    assert code in {0, 1}, told
    assert (code == 0) == ("everything was told" in told), told
    leaked = [form for form in forms(secret) if form in told]
    assert not leaked, next(line for line in told.splitlines() if any(form in line for form in leaked))
