"""An exec plugin runs as under kubectl: what it is given, what it may answer, and how it ends."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import signal
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
import trustme
import uvloop

from kdm_adapters.kubernetes import ClusterConfig
from kdm_adapters.kubernetes.config import exec_plugin as module
from kdm_adapters.kubernetes.config.credentials import Credentials, CredentialsError
from unit.adapters.kubernetes.api_server import DEADLINE_S
from unit.adapters.kubernetes.conftest import until
from unit.adapters.kubernetes.kubeconfig import write_kubeconfig
from unit.adapters.kubernetes.plugins import V1, plugin

LOOPS = pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
Loop = Callable[[], asyncio.AbstractEventLoop]
ENVIRON = {"PATH": os.environ["PATH"]}


def credentials(directory: Path, user: object, environ: dict[str, str] = ENVIRON, **cluster: Any) -> Credentials:
    path = write_kubeconfig(directory / "config", "https://cluster.test/", user=user, cluster=cluster)
    return Credentials(ClusterConfig(kubeconfig=path), environ=environ)


async def authorization(directory: Path, user: object, environ: dict[str, str] = ENVIRON, **cluster: Any) -> str:
    access = await credentials(directory, user, environ, **cluster).load()
    return dict(access.headers)["Authorization"]


def run(loop: Loop, work: Coroutine[Any, Any, None]) -> None:
    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(asyncio.wait_for(work, DEADLINE_S))


def ended(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"


@LOOPS
def test_a_plugins_token_is_used(loop: Loop, tmp_path: Path) -> None:
    async def work() -> None:
        assert await authorization(tmp_path, plugin(tmp_path / "login", {"token": "minted"})) == "Bearer minted"

    run(loop, work())


async def test_a_plugin_is_given_its_arguments_and_environment(tmp_path: Path) -> None:
    """Its own variables win over kdm's, and none over KUBERNETES_EXEC_INFO."""
    script = f'echo "$1 $EXTRA $INHERITED $KUBERNETES_EXEC_INFO" > {tmp_path}/given; cat {tmp_path}/login.answer'
    user: Any = plugin(tmp_path / "login", {"token": "minted"}, script)
    variables = {"EXTRA": "own", "KUBERNETES_EXEC_INFO": "forged"}
    user["exec"] |= {"args": ["get"], "env": [{"name": name, "value": value} for name, value in variables.items()]}
    await authorization(tmp_path, user, ENVIRON | {"INHERITED": "kdms", "EXTRA": "kdms"})
    given = (tmp_path / "given").read_text()
    assert given.startswith("get own kdms {")
    assert json.loads(given.removeprefix("get own kdms ")) == {
        "kind": "ExecCredential",
        "apiVersion": V1,
        "spec": {"interactive": False},
    }


async def test_a_plugin_that_asks_is_told_all_of_the_cluster(tmp_path: Path) -> None:
    script = f'echo "$KUBERNETES_EXEC_INFO" > {tmp_path}/info; cat {tmp_path}/login.answer'
    user: Any = plugin(tmp_path / "login", {"token": "minted"}, script)
    user["exec"]["provideClusterInfo"] = True
    ca = trustme.CA().cert_pem
    ca.write_to_path(str(tmp_path / "ca.crt"))
    cluster: dict[str, Any] = {
        "certificate-authority": "ca.crt",
        "tls-server-name": "other.test",
        "proxy-url": "http://u:p@proxy.test:3128",
        "disable-compression": True,
        "extensions": [
            {"name": "client.authentication.k8s.io/exec", "extension": {"audience": "x", "level": 3}},
            {"name": "other", "extension": {}},
        ],
    }
    await authorization(tmp_path, user, **cluster)
    told = json.loads((tmp_path / "info").read_text())["spec"]["cluster"]
    assert base64.b64decode(told.pop("certificate-authority-data")) == ca.bytes()
    assert told == {
        "server": "https://cluster.test/",
        "tls-server-name": "other.test",
        "proxy-url": "http://u:p@proxy.test:3128",
        "disable-compression": True,
        "config": {"audience": "x", "level": 3},
    }
    insecure: dict[str, Any] = {"insecure-skip-tls-verify": True}
    await authorization(tmp_path, user, **insecure)
    told = json.loads((tmp_path / "info").read_text())["spec"]["cluster"]
    assert told == {"server": "https://cluster.test/", "insecure-skip-tls-verify": True, "config": None}


async def test_a_command_with_a_slash_is_relative_to_the_kubeconfig(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    user: Any = plugin(tmp_path / "bin" / "login", {"token": "minted"})
    user["exec"]["command"] = "./bin/login"
    assert await authorization(tmp_path, user) == "Bearer minted"


async def test_a_bare_command_is_looked_up_in_kdms_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither in the plugin's own PATH nor in the working directory."""
    directory = tmp_path / "bin"
    directory.mkdir()
    user: Any = plugin(directory / "kdm-test-login", {"token": "minted"})
    user["exec"] |= {"command": "kdm-test-login", "installHint": "install \x1b[1mlogin", "env": []}
    path = f"{directory}{os.pathsep}{ENVIRON['PATH']}"
    assert await authorization(tmp_path, user, {"PATH": path}) == "Bearer minted"
    user["exec"]["env"] = [{"name": "PATH", "value": path}]
    monkeypatch.chdir(directory)
    for elsewhere in (ENVIRON, {"PATH": f".{os.pathsep}{ENVIRON['PATH']}"}, {}):
        with pytest.raises(CredentialsError, match="its program is not in PATH") as caught:
            await authorization(tmp_path, user, elsewhere)
        assert "install" in caught.value.detail
        assert "\x1b" not in caught.value.detail


@pytest.mark.parametrize(
    ("answer", "token"),
    [
        (f'{{"apiVersion": "{V1}", "status": {{"token": "minted"}}}}', "Bearer minted"),
        (f"apiVersion: {V1}\nkind: ExecCredential\nstatus:\n  token: minted\n", "Bearer minted"),
        (
            f'{{"apiVersion": "{V1}", "status": {{"token": "minted", "expirationTimestamp": null, "x": 1}}}}',
            "Bearer minted",
        ),
        (
            f"apiVersion: {V1}\nstatus: {{token: a, expirationTimestamp: '2020-01-01T00:00:00.5+02:00'}}",
            "Bearer a",
        ),
    ],
)
async def test_an_answer_may_be_what_client_go_takes(tmp_path: Path, answer: str, token: str) -> None:
    user = plugin(tmp_path / "login")
    (tmp_path / "login.answer").write_text(answer)
    assert await authorization(tmp_path, user) == token


@pytest.mark.parametrize(
    ("status", "script", "message"),
    [
        (None, "echo 's3cret: log in first' >&2; exit 3", "it failed with exit code 3"),
        (None, "kill -9 $$", "it failed with exit code -9"),
        (None, "echo s3cret", "its answer must be a mapping, not a string"),
        (None, "echo '{s3cret'", "its answer is not JSON"),
        (None, """yes '{"s3cret":' | head -n 50000""", "its answer is not JSON"),
        (None, "echo '[]'", "its answer must be a mapping"),
        (None, "", "neither a token nor a client certificate"),
        ({}, "", "neither a token nor a client certificate"),
        ({"clientCertificateData": "s3cret"}, "", "a client certificate without its key"),
        ({"clientKeyData": "s3cret"}, "", "a key without its certificate"),
        ({"clientKeyData": "s3cret", "clientCertificateData": "x"}, "", "its answer cannot be used"),
        ({"token": 5}, "", "status.token must be a string"),
        ({"token": "s3cret\nx"}, "", "its answer cannot be used"),
        ({"token": "s3cret\ud800"}, "", "its answer holds half of a surrogate pair"),
        ({"clientKeyData": "s3cret\ud800", "clientCertificateData": "x"}, "", "holds half of a surrogate pair"),
        ({"token": "s3cret", "expirationTimestamp": "tomorrow"}, "", "expirationTimestamp is not a time"),
        ({"token": "s3cret", "expirationTimestamp": ""}, "", "expirationTimestamp is not a time"),
        ({"token": "s3cret", "expirationTimestamp": "2020-13-01T00:00:00Z"}, "", "expirationTimestamp is not a time"),
        (None, f'echo \'{{"apiVersion": "{V1}beta1", "kind": "ExecCredential"}}\'', "is not an ExecCredential of"),
        (None, f'echo \'{{"apiVersion": "{V1}", "kind": "Pod"}}\'', "is not an ExecCredential of"),
        (None, "sleep 60", "it took more than 0.2 s"),
        (None, "head -c 2000000 /dev/zero", "it printed more than"),
    ],
)
async def test_a_plugin_that_fails_is_an_error_that_holds_nothing_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, status: dict[str, object] | None, script: str, message: str
) -> None:
    if "sleep" in script:
        monkeypatch.setattr(module, "EXEC_TIMEOUT_S", 0.2)
    asked = credentials(tmp_path, plugin(tmp_path / "login", status, script))
    with pytest.raises(CredentialsError, match=message) as caught:
        await asked.load()
    assert "s3cret" not in str(caught.value)
    assert str(tmp_path) not in str(caught.value)


@pytest.mark.parametrize("at", ["0001-01-01T00:00:00Z", "0001-01-01T00:00:00+00:00", "0001-01-01T01:00:00.000+01:00"])
async def test_what_expires_at_the_zero_time_never_expires(tmp_path: Path, at: str) -> None:
    """So Go says that there is no time, and so does .NET, which writes the zone in another way."""
    now_s = 0.0
    user = plugin(tmp_path / "login", {"token": "minted", "expirationTimestamp": at})
    config = ClusterConfig(kubeconfig=write_kubeconfig(tmp_path / "config", "https://cluster.test/", user=user))
    asked = Credentials(config, environ=ENVIRON, clock=lambda: now_s)
    await asked.load()
    now_s += 3600
    assert not await asked.is_outdated()


async def test_what_a_plugin_complains_of_is_told_to_the_log_without_the_secrets(tmp_path: Path) -> None:
    script = 'echo "cannot log in with $PASSWORD and $2\nat all" >&2; exit 1'
    user: Any = plugin(tmp_path / "login", None, script)
    user["exec"] |= {"args": ["--secret", "arg-s3cret"], "env": [{"name": "PASSWORD", "value": "env-s3cret"}]}
    with pytest.raises(CredentialsError) as caught:
        await credentials(tmp_path, user).load()
    assert "cannot log in with [secret] and [secret] at all" in caught.value.detail


@LOOPS
def test_cancelling_ends_a_plugin_and_its_children(loop: Loop, tmp_path: Path) -> None:
    script = f"sleep 60 & echo $! > {tmp_path}/child; echo $$ > {tmp_path}/pid; wait"

    async def work() -> None:
        loading = asyncio.create_task(credentials(tmp_path, plugin(tmp_path / "login", None, script)).load())
        await until(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text().strip())
        loading.cancel()
        await asyncio.wait({loading})
        pids = [int((tmp_path / name).read_text()) for name in ("pid", "child")]
        await until(lambda: all(map(ended, pids)))

    run(loop, work())


@LOOPS
def test_a_plugin_may_leave_a_child_behind_that_keeps_its_standard_error(loop: Loop, tmp_path: Path) -> None:
    """A cache or an agent, say: kubectl does not wait for it either."""
    script = f"sleep 60 >/dev/null & echo $! > {tmp_path}/child; cat {tmp_path}/login.answer"

    async def work() -> None:
        assert await authorization(tmp_path, plugin(tmp_path / "login", {"token": "a"}, script)) == "Bearer a"
        child = int((tmp_path / "child").read_text())
        assert not ended(child)
        os.kill(child, signal.SIGKILL)

    run(loop, work())


async def test_a_plugin_has_neither_input_nor_terminal(tmp_path: Path) -> None:
    look = f"cat > {tmp_path}/input; (: > /dev/tty) 2>/dev/null && echo tty > {tmp_path}/tty"
    script = f"{look}; cat {tmp_path}/login.answer"
    await authorization(tmp_path, plugin(tmp_path / "login", {"token": "minted"}, script))
    assert not (tmp_path / "input").read_text()
    assert not (tmp_path / "tty").exists()
