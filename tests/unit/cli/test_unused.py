"""What libraries load and kdm does not use is left out of `kdm serve`, and only there."""

from __future__ import annotations

import importlib
import importlib.util
import os
import ssl
import subprocess
import sys

import pytest

from kdm_cli.unused import MODULES, hidden, hollow, no_system_cas


def test_what_is_hidden_is_found_again_afterwards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "this", raising=False)
    with hidden("this"), pytest.raises(ModuleNotFoundError, match="this"):
        importlib.import_module("this")
    assert importlib.import_module("this").__name__ == "this"


def test_what_is_loaded_is_not_hidden() -> None:
    with hidden("pytest"):
        assert importlib.import_module("pytest") is pytest


def test_what_is_hollow_has_empty_classes_of_any_name_and_is_itself_again_afterwards(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("wsgiref", "wsgiref.headers"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    with hollow("wsgiref"):
        found = importlib.import_module("wsgiref.headers").Headers
        derived = type("Derived", (found,), {})
        assert list(derived("of", anything=1).__dict__) == list(found) == []
        with pytest.raises(AttributeError):
            _ = found.__nothing__
    assert importlib.import_module("wsgiref.headers").Headers([("a", "b")]).items() == [("a", "b")]


def test_what_is_loaded_is_not_hollow() -> None:
    with hollow("pytest"):
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


def test_a_server_loads_no_command_no_other_server_and_no_openapi_of_its_libraries() -> None:
    """A settings error is the end of a start that has loaded everything. Each name must still be one of its library."""
    start = "import sys; from kdm_cli.main import main; main(['serve', '--policy-file', '/nowhere']); "
    show = "print(sorted({'click', 'http.server', 'multiprocessing', 'uvicorn'} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", start + show], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.splitlines()[-1] == "['uvicorn']"


@pytest.mark.parametrize("name", MODULES)
def test_what_is_left_out_exists(name: str) -> None:
    """A name that a new release no longer has would be loaded under its new one."""
    assert importlib.util.find_spec(name) is not None
