"""uvicorn is still what kdm takes it for. Where it is not, the failure says what has moved.

Most of what kdm uses of uvicorn is not documented, so a new version may change it.
"""

from __future__ import annotations

import ast
import asyncio
import importlib.metadata
import inspect
import itertools
import tomllib
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.version import Version
from uvicorn.lifespan.on import LifespanOn
from uvicorn.protocols.http.flow_control import FlowControl

import kdm_http.server
from kdm_http.server import uvicorn_seam as seam

SERVER = Path(kdm_http.server.__file__).parent
VERSION = importlib.metadata.version("uvicorn")
TYPES: dict[str, type] = {
    "HttpToolsProtocol": seam.HttpToolsProtocol,
    "RequestResponseCycle": seam.RequestResponseCycle,
    "FlowControl": FlowControl,
    "ServerState": seam.ServerState,
    "Config": seam.Config,
    "Lifespan": LifespanOn,
}


def moved(what: str, how: str) -> str:
    return f"uvicorn {VERSION}: {what} {how}. kdm uses it: read there what took its place, and adapt uvicorn_seam.py"


async def app(scope: Any, receive: Any, send: Any) -> None:
    del scope, receive, send


class Transport(asyncio.Transport):
    """Notes what is done to it."""

    def __init__(self) -> None:
        super().__init__()
        self.closed = False
        self.written: list[bytes] = []

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        del name
        return default

    def write(self, data: Any) -> None:
        self.written.append(bytes(data))

    def close(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...


def config() -> seam.Config:
    made = seam.Config(app, http=seam.HttpToolsProtocol, ws="none", interface="asgi3", log_config=None)
    made.load()
    return made


def protocol(of: type[seam.HttpToolsProtocol] = seam.HttpToolsProtocol) -> seam.HttpToolsProtocol:
    made = of(config(), seam.ServerState(), {}, asyncio.get_running_loop())
    made.connection_made(Transport())
    return made


def asked() -> seam.HttpToolsProtocol:
    made = protocol()
    made.data_received(b"GET / HTTP/1.1\r\nhost: kdm\r\n\r\n")
    return made


def instance(name: str) -> Any:
    match name:
        case "HttpToolsProtocol":
            return asked()
        case "RequestResponseCycle":
            return asked().cycle
        case "FlowControl":
            return FlowControl(Transport())
        case "ServerState":
            return seam.ServerState()
        case "Config":
            return config()
        case _:
            return LifespanOn(config())


@pytest.mark.parametrize(
    ("owner", "name"), [(owner, name) for owner in seam.ATTRIBUTES for name in seam.ATTRIBUTES[owner]]
)
async def test_an_attribute_that_is_used_is_there(owner: str, name: str) -> None:
    meaning = seam.ATTRIBUTES[owner][name]
    assert hasattr(instance(owner), name), moved(f"{owner}.{name}", f"({meaning}) is gone")


@pytest.mark.parametrize(("owner", "name"), [(owner, name) for owner in seam.METHODS for name in seam.METHODS[owner]])
def test_a_method_that_is_called_or_overridden_has_its_signature(owner: str, name: str) -> None:
    method = getattr(TYPES[owner], name, None)
    assert method is not None, moved(f"{owner}.{name}()", "is gone")
    takes = tuple(inspect.signature(method).parameters)[1:]
    assert takes == seam.METHODS[owner][name], moved(
        f"{owner}.{name}()", f"takes {takes}, not {seam.METHODS[owner][name]}"
    )


def _classes() -> list[ast.ClassDef]:
    trees = [ast.parse((SERVER / name).read_text()) for name in ("connection.py", "uvicorn_seam.py")]
    return [node for tree in trees for node in tree.body if isinstance(node, ast.ClassDef)]


def _of_self(node: ast.AST) -> bool:
    is_super = isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "super"
    return is_super or (isinstance(node, ast.Name) and node.id == "self")


async def test_the_tables_name_what_is_used_of_the_protocol_and_nothing_else() -> None:
    """Else the tests above would look at something else than the code does."""
    classes = _classes()
    touched = {
        node.attr
        for each in classes
        for node in ast.walk(each)
        if isinstance(node, ast.Attribute) and _of_self(node.value)
    }
    defined = {node.name for each in classes for node in each.body if isinstance(node, ast.FunctionDef)}
    used = (touched | defined) & {*vars(asked()), *vars(seam.HttpToolsProtocol)} - {"__doc__"}
    used.add("pipeline")  # by HttpCycles
    listed = {*seam.ATTRIBUTES["HttpToolsProtocol"], *seam.METHODS["HttpToolsProtocol"]}
    assert used == listed, f"not in the tables of uvicorn_seam.py: {used - listed}; not used: {listed - used}"


async def test_requests_that_wait_are_in_the_pipeline_the_newest_on_the_left() -> None:
    asking = protocol()
    first = None
    for number in range(3):
        asking.data_received(b"GET /%d HTTP/1.1\r\nhost: kdm\r\n\r\n" % number)
        first = first or asking.cycle
    paths = [cycle.scope["path"] for cycle, _ in asking.pipeline]
    assert paths == ["/2", "/1"], moved("HttpToolsProtocol.pipeline", f"holds {paths}")
    assert asking.cycle.scope["path"] == "/2", moved("HttpToolsProtocol.cycle", "is not the newest request")
    assert first is not None
    first.response_complete = True
    asking.on_response_complete()
    paths = [cycle.scope["path"] for cycle, _ in asking.pipeline]
    assert paths == ["/2"], moved("HttpToolsProtocol.on_response_complete()", "starts another request than the oldest")


async def test_bytes_that_are_not_http_and_errors_of_callbacks_come_to_send_400_response() -> None:
    said: list[str] = []

    class Asking(seam.HttpToolsProtocol):
        def send_400_response(self, msg: str) -> None:
            said.append(msg)

        def on_header(self, name: bytes, value: bytes) -> None:
            if name == b"bad":
                raise ValueError(value)

    protocol(Asking).data_received(b"\0\0\r\n\r\n")
    assert len(said) == 1, moved("HttpToolsProtocol.data_received()", "does not call send_400_response for garbage")
    protocol(Asking).data_received(b"GET / HTTP/1.1\r\nbad: x\r\n\r\n")
    assert len(said) == 2, moved("HttpToolsProtocol.data_received()", "does not call send_400_response for a callback")


async def test_shutdown_waits_for_the_response_that_is_due() -> None:
    quiet, asking = protocol(), protocol()
    quiet.shutdown()
    assert quiet.transport.is_closing(), moved("HttpToolsProtocol.shutdown()", "does not close a quiet connection")
    asking.data_received(b"GET / HTTP/1.1\r\nhost: kdm\r\n\r\n")
    asking.shutdown()
    assert not asking.transport.is_closing(), moved("HttpToolsProtocol.shutdown()", "closes under a response")
    assert not asking.cycle.keep_alive, moved("HttpToolsProtocol.shutdown()", "keeps the connection after it")


async def test_a_lost_connection_is_passed_on_to_the_newest_request() -> None:
    asking = protocol()
    asking.data_received(b"GET / HTTP/1.1\r\nhost: kdm\r\n\r\n")
    asking.connection_lost(None)
    assert asking.cycle.disconnected, moved("HttpToolsProtocol.connection_lost()", "does not set cycle.disconnected")
    message = await asking.cycle.receive()
    assert message["type"] == "http.disconnect", moved("RequestResponseCycle.receive()", f"returns {message}")
    await asking.cycle.send({"type": "http.response.start", "status": 200, "headers": []})
    assert asking.transport.written == [], moved(  # type: ignore[attr-defined]
        "RequestResponseCycle.send()", "writes after a disconnect"
    )


async def test_the_keep_alive_timer_is_what_unset_keepalive_cancels() -> None:
    asking = protocol()
    asking.data_received(b"GET / HTTP/1.1\r\nhost: kdm\r\n\r\n")
    asking.cycle.response_complete = True
    asking.on_response_complete()
    timer = asking.timeout_keep_alive_task
    assert timer is not None, moved("HttpToolsProtocol.on_response_complete()", "sets no keep-alive timer")
    asking._unset_keepalive_if_required()
    assert timer.cancelled(), moved("HttpToolsProtocol._unset_keepalive_if_required()", "does not cancel it")


async def test_the_scope_is_made_when_a_message_begins_and_the_application_taken_when_its_header_ends() -> None:
    calls = []

    async def other(scope: Any, receive: Any, send: Any) -> None:
        del receive, send
        calls.append((scope["path"], scope["headers"]))

    class Asking(seam.UvicornConnection):
        def on_headers_complete(self) -> None:
            self.url, self.headers = b"/other", [(b"a", b"b")]
            self.call(other)

    asking = protocol(Asking)
    asking.data_received(b"GET / HTTP/1.1\r\nhost: kdm\r\n\r\n")
    await asyncio.gather(*asking.tasks)
    assert calls == [("/other", [(b"a", b"b")])], moved("HttpToolsProtocol.on_headers_complete()", f"made {calls}")


def test_only_the_minor_versions_that_were_tested_are_allowed() -> None:
    project = tomllib.loads((SERVER.parents[2] / "pyproject.toml").read_text())["project"]
    needed = [*project["dependencies"], *itertools.chain(*project["optional-dependencies"].values())]
    [uvicorn] = [each for each in map(Requirement, needed) if each.name == "uvicorn"]
    installed = Version(VERSION)
    assert uvicorn.specifier.contains(VERSION)
    assert not uvicorn.specifier.contains(f"{installed.major}.{installed.minor + 1}.0")
    assert not uvicorn.specifier.contains(f"{installed.major + 1}.0.0")
