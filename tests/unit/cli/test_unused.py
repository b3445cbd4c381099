"""What libraries load and kdm does not use is left out of `kdm serve`, and only there."""

from __future__ import annotations

import importlib
import os
import ssl
import subprocess
import sys

import pytest

from kdm_cli.unused import hidden, no_system_cas


def test_what_is_hidden_is_found_again_afterwards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "this", raising=False)
    with hidden("this"), pytest.raises(ModuleNotFoundError, match="this"):
        importlib.import_module("this")
    assert importlib.import_module("this").__name__ == "this"


def test_what_is_loaded_is_not_hidden() -> None:
    with hidden("pytest"):
        assert importlib.import_module("pytest") is pytest


def test_without_the_systems_cas_a_context_has_none_and_the_environment_is_as_before(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", "/mine")
    monkeypatch.delenv("SSL_CERT_DIR", raising=False)
    with no_system_cas():
        assert ssl.create_default_context().get_ca_certs() == []
    assert (os.environ["SSL_CERT_FILE"], os.environ.get("SSL_CERT_DIR")) == ("/mine", None)


def test_a_server_loads_neither_pydantic_nor_rich() -> None:
    """Both are installed here: a settings error is the end of a start that has loaded everything."""
    start = "import sys; from kdm_cli.main import main; main(['serve', '--policy-file', '/nowhere']); "
    show = "print(sorted({'pydantic', 'rich', 'litestar'} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", start + show], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.splitlines()[-1] == "['litestar']"
