"""No secret of a kubeconfig, and no word of a plugin, is ever told: whatever is wrong, and whatever fails."""

from __future__ import annotations

import asyncio
import json
import logging
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kdm_adapters.kubernetes import ClusterConfig, InvalidClusterConfig, KubernetesDeploymentRepository
from kdm_adapters.kubernetes.config.credentials import Credentials, CredentialsError
from kdm_adapters.kubernetes.config.redaction import Redactor
from kdm_core.errors import CacheNotSynced, ClusterUnreachable, ClusterUnrecognized, WriteForbidden
from kdm_core.model import DeploymentRef
from unit.adapters.kubernetes.api_server import DEADLINE_S, ApiServer, Reply, erring, refusing
from unit.adapters.kubernetes.conftest import until
from unit.adapters.kubernetes.kubeconfig import kubeconfig
from unit.adapters.kubernetes.plugins import V1, plugin

SECRET: Final = "s3cret"
_secrets = st.sampled_from([f"{SECRET}-{n}" for n in range(3)] + [f"{SECRET}\nline", f" {SECRET} ", f"{SECRET}é\x7f"])
_odd: st.SearchStrategy[Any] = (
    _secrets | st.none() | st.just("") | st.just(5) | st.just([SECRET]) | st.just({SECRET: SECRET})
)
_plugins = st.fixed_dictionaries(
    {},
    optional={
        "apiVersion": st.sampled_from([V1, V1, V1, "v9"]),
        "command": st.sampled_from(["./login", "./missing", "no-such-program"]),
        "interactiveMode": st.sampled_from(["Never", "Never", "Always"]),
        "args": st.lists(_secrets, max_size=2) | _odd,
        "env": st.lists(st.fixed_dictionaries({"name": st.just("LOGIN_SECRET"), "value": _odd}), max_size=2) | _odd,
    },
)
_users = st.fixed_dictionaries(
    {},
    optional={
        "token": _odd,
        "username": st.just("me") | _odd,
        "password": _odd,
        "client-key-data": _odd,
        "client-certificate-data": _odd,
        "as": _odd,
        "as-groups": _odd,
        "exec": _plugins,
        "auth-provider": st.just({"name": "oidc", "config": {"refresh-token": SECRET}}) | st.none(),
    },
)
_servers = st.sampled_from(["https://127.0.0.1:1", "http://127.0.0.1:1", f"https://me:{SECRET}@127.0.0.1:1"])
_proxies = st.sampled_from(
    [f"http://me:{SECRET}@127.0.0.1:1", f"socks5://me:{SECRET}@127.0.0.1:1", f"ftp://{SECRET}", ""]
)


async def _try(directory: Path) -> list[str]:
    """Start on a kubeconfig, and return everything that can be read of it."""
    try:
        repository = KubernetesDeploymentRepository(ClusterConfig(kubeconfig=directory / "config"))
    except InvalidClusterConfig as error:
        return [str(error), repr(error)]
    async with repository:
        told = [repr(await _outcome(repository))]
        await until(lambda: repository.sync_status().reason != "the first list has not been read yet")
        return [*told, repr(repository.sync_status())]


async def _outcome(repository: KubernetesDeploymentRepository) -> BaseException | None:
    try:
        await repository.probe()
    except ClusterUnreachable as error:
        return error
    return None


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(user=_users, server=_servers, proxy=_proxies)
def test_no_secret_of_any_kubeconfig_is_told(
    caplog: pytest.LogCaptureFixture, user: object, server: str, proxy: str
) -> None:
    caplog.clear()
    caplog.set_level(logging.DEBUG)
    with TemporaryDirectory() as name:
        directory = Path(name)
        (directory / "login").write_text('#!/bin/sh\necho "$LOGIN_SECRET $*" | tee /dev/stderr\nexit 1\n')
        (directory / "login").chmod(0o700)
        content = kubeconfig(server, user=user, cluster={"proxy-url": proxy})
        (directory / "config").write_text(json.dumps(content))
        told = asyncio.run(asyncio.wait_for(_try(directory), DEADLINE_S))
    assert all(SECRET not in each for each in told), told
    assert SECRET not in caplog.text


async def test_what_a_plugin_says_and_where_the_cluster_is_reaches_neither_callers_nor_the_open_port(
    server: ApiServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    user = plugin(tmp_path / "login", None, "echo 'please open https://sso.test/device' >&2; exit 1")
    config = server.kubeconfig(tmp_path, user=user)
    async with KubernetesDeploymentRepository(ClusterConfig(kubeconfig=config)) as repository:
        with pytest.raises(ClusterUnreachable, match="the login plugin failed: it failed with exit code 1") as probed:
            await repository.probe()
        await until(lambda: "login plugin" in repository.sync_status().reason)
        with pytest.raises(CacheNotSynced) as read:
            repository.list()
    for told in (str(probed.value), str(read.value)):
        assert "sso.test" not in told
        assert str(server.port) not in told
        assert str(tmp_path) not in told
    assert "please open https://sso.test/device" in caplog.text, "whoever runs kdm has to know"


async def test_a_cluster_that_went_away_is_told_without_its_address(server: ApiServer, tmp_path: Path) -> None:
    async with KubernetesDeploymentRepository(ClusterConfig(kubeconfig=server.kubeconfig(tmp_path))) as repository:
        await repository.wait_synced(DEADLINE_S)
        await server.watch()
        await server.stop()
        await until(lambda: not repository.sync_status().connected)
        with pytest.raises(ClusterUnreachable, match="the connection was refused") as probed:
            await repository.probe()
        await until(lambda: "refused" in repository.sync_status().reason)
        for told in (str(probed.value), repository.sync_status().reason):
            assert "127.0.0.1" not in told
            assert str(server.port) not in told


async def test_a_configuration_that_breaks_while_kdm_runs_is_told_to_the_log_alone(
    tmp_path: Path, server: ApiServer
) -> None:
    config = server.kubeconfig(tmp_path)
    credentials = Credentials(ClusterConfig(kubeconfig=config), environ={})
    config.write_text(json.dumps(kubeconfig("http://127.0.0.1:1", user={"token": f"{SECRET}\nx"})))
    with pytest.raises(CredentialsError) as caught:
        await credentials.load()
    assert str(caught.value) == (
        "kdm's credentials for the cluster cannot be renewed: their configuration cannot be used"
    )
    assert "user 'test': token holds a line feed" in caught.value.detail
    assert SECRET not in caught.value.detail


def test_secrets_are_replaced_in_every_spelling_and_texts_are_one_short_line() -> None:
    redact = Redactor(["pass word/1", "line one\nline two", "x", ""])
    assert redact("a pass word/1 b pass%20word%2F1 or pass%20word/1 c line one d line two x") == (
        "a [secret] b [secret] or [secret] c [secret] d [secret] x"
    )
    assert redact('the beginning, in quotes: "pass"') == 'the beginning, in quotes: "[secret]"'
    assert len(redact("a\nb " * 1000)) == 500
    assert "\n" not in redact("a\nb")


@pytest.mark.parametrize(
    "args", [["kubernetes", "cluster", "get-token"], ["--cluster", "shopping"], ["--profile=shop"]]
)
async def test_the_words_of_a_plugins_command_are_no_secrets_in_what_the_cluster_says(
    server: ApiServer, tmp_path: Path, args: list[str]
) -> None:
    """The missing permission is named, and a write that lacks it is forbidden, whatever else the words mean."""
    user: Any = plugin(tmp_path / "login", {"token": "minted-token"})
    user["exec"]["args"] = args
    everywhere, here = " at the cluster scope", ' in the namespace "shop"'
    denied = 'deployments.apps is forbidden: User "kdm" cannot {} resource "deployments{}" in API group "apps"{}'
    server.cluster.create("web")
    server.faults["patch"].append(refusing(403, "Forbidden", denied.format("patch", "/scale", here)))
    config = ClusterConfig(kubeconfig=server.kubeconfig(tmp_path, user=user))
    async with KubernetesDeploymentRepository(config) as repository:
        with pytest.raises(WriteForbidden, match="permission 'patch' on 'deployments/scale' in namespace 'shop'"):
            await repository.set_replicas(DeploymentRef("shop", "web"), 2)
    server.standing_faults |= dict.fromkeys(
        ("watch", "list"), refusing(403, "Forbidden", denied.format("list", "", everywhere))
    )
    async with KubernetesDeploymentRepository(config) as repository:
        await until(
            lambda: (
                "lacks the RBAC permission 'list' on 'deployments' in all namespaces" in repository.sync_status().reason
            )
        )


@pytest.mark.parametrize(
    ("secret", "user"),
    [("mirrored-token", {"token": "mirrored-token"}), ("bWU6cHc=", {"username": "me", "password": "pw"})],
)
@pytest.mark.parametrize("cut", [False, True], ids=["whole", "cut off"])
async def test_credentials_that_a_server_repeats_are_not_told_on(
    server: ApiServer, tmp_path: Path, caplog: pytest.LogCaptureFixture, secret: str, user: object, *, cut: bool
) -> None:
    said = ("x" * 190 if cut else "") + f" you sent {secret}"
    status = json.dumps({"kind": "Status", "apiVersion": "v1", "code": 503, "message": said}).encode()

    async def mirror(reply: Reply) -> None:
        await reply.whole(*((503, status) if reply.request.verb == "get" else (200, said.encode())))

    server.standing_faults |= {"watch": mirror, "list": mirror, "patch": mirror, "get": mirror}
    config = server.kubeconfig(tmp_path, user=user)
    async with KubernetesDeploymentRepository(ClusterConfig(kubeconfig=config)) as repository:
        with pytest.raises(ClusterUnreachable) as probed:
            await repository.probe()
        with pytest.raises(ClusterUnrecognized) as written:
            await repository.set_replicas(DeploymentRef("shop", "web"), 2)
        await until(lambda: "answer" in repository.sync_status().reason)
        told = f"{probed.value} {written.value} {repository.sync_status().reason} {caplog.text}"
    assert secret not in told
    assert secret[:6] not in told


async def test_credentials_that_a_watch_repeats_in_an_error_are_not_told_on(
    server: ApiServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    server.standing_faults["watch"] = erring(500, "InternalError", "you sent mirrored-token and so on")
    config = server.kubeconfig(tmp_path, user={"token": "mirrored-token"})
    async with KubernetesDeploymentRepository(ClusterConfig(kubeconfig=config)) as repository:
        await until(lambda: repository.sync_status().reason.endswith("and so on"))
        told = f"{repository.sync_status().reason} {caplog.text}"
    assert "mirrored-token" not in told


async def test_credentials_that_a_refusal_repeats_as_its_reason_are_not_told_on(
    server: ApiServer, tmp_path: Path
) -> None:
    async def mirror(reply: Reply) -> None:
        escaped = rb'{"kind":"Status","apiVersion":"v1","code":409,"reason":"mirrored\u002btoken","message":"no"}'
        await reply.whole(418, escaped)

    server.standing_faults |= {"list": mirror}
    config = server.kubeconfig(tmp_path, user={"token": "mirrored+token"})
    async with KubernetesDeploymentRepository(ClusterConfig(kubeconfig=config)) as repository:
        with pytest.raises(ClusterUnreachable) as written:
            await repository.set_replicas(DeploymentRef("shop", "other"), 2)
    assert "mirrored" not in str(written.value)


async def test_credentials_that_a_list_repeats_are_not_told_to_the_log(
    server: ApiServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def mirror(reply: Reply) -> None:
        await reply.whole(200, b"you sent mirrored-token")

    caplog.set_level(logging.DEBUG)
    server.standing_faults |= {"list": mirror, "version": mirror}
    config = server.kubeconfig(tmp_path, user={"token": "mirrored-token"})
    async with KubernetesDeploymentRepository(ClusterConfig(kubeconfig=config)) as repository:
        await repository.wait_synced(DEADLINE_S)
        await server.watch()
        await server.change(lambda cluster: cluster.create("web"))
        await until(repository.list)
        await server.stop()
        await server.start()
        await until(lambda: "newest version cannot be read" in caplog.text)
    assert "mirrored-token" not in caplog.text
