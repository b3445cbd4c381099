"""Kubeconfigs say to kdm what they say to kubectl, and what is wrong is said in one line, without any value."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trustme

from kdm_adapters.kubernetes import ClusterConfig, InvalidClusterConfig
from kdm_adapters.kubernetes.config.access import Access
from kdm_adapters.kubernetes.config.credentials import Credentials
from kdm_adapters.kubernetes.config.tls_context import client_certificate
from unit.adapters.kubernetes.kubeconfig import kubeconfig, write_kubeconfig

SERVER = "https://cluster.test:6443"
V1 = "client.authentication.k8s.io/v1"
CA = trustme.CA()
ME = CA.issue_cert(common_name="me")
CHAIN, KEY = ME.cert_chain_pems[0].bytes(), ME.private_key_pem.bytes()


def base64_of(data: bytes) -> str:
    return base64.b64encode(data).decode()


def write(path: Path, **entries: Any) -> Path:
    return write_kubeconfig(path, entries.pop("server", SERVER), **entries)


async def access(*paths: Path | str, context: str | None = None, **environ: str) -> Access:
    environ = {"KUBECONFIG": os.pathsep.join(map(str, paths)), **environ}
    return await Credentials(ClusterConfig("kubeconfig", context=context), environ=environ).load()


async def authorization(*paths: Path | str, context: str | None = None) -> str | None:
    return dict((await access(*paths, context=context)).headers).get("Authorization")


def refused(path: Path, match: str) -> None:
    """Assert that a kubeconfig is refused in one line, which names the file and holds no secret."""
    with pytest.raises(InvalidClusterConfig, match=match) as caught:
        Credentials(ClusterConfig(kubeconfig=path), environ={})
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "s3cret" not in str(caught.value)


# Several files


async def test_the_first_current_context_that_is_set_wins(tmp_path: Path) -> None:
    none = tmp_path / "none"
    none.write_text('{"current-context": "", "contexts": []}')
    one, two = (write(tmp_path / each, name=each, user={"token": each}) for each in ("one", "two"))
    assert await authorization(none, one, two) == "Bearer one"
    assert await authorization(two, one) == "Bearer two"
    assert await authorization(two, one, context="one") == "Bearer one"


async def test_the_first_definition_of_a_name_wins_as_a_whole(tmp_path: Path) -> None:
    one = write(tmp_path / "one", user={"username": "me", "password": "p"})
    two = write(tmp_path / "two", user={"token": "two"}, server="https://other.test")
    found = await access(one, two)
    assert found.endpoint.server == SERVER
    assert dict(found.headers)["Authorization"].startswith("Basic ")


async def test_missing_and_empty_files_count_for_nothing(tmp_path: Path) -> None:
    empty, comment, good = tmp_path / "empty", tmp_path / "comment", write(tmp_path / "good")
    empty.write_text("")
    comment.write_text("# nothing yet\n")
    assert await authorization(tmp_path / "missing", empty, comment, "", good, good) == "Bearer let-me-in"


async def test_a_kubeconfig_that_is_named_wins_over_the_environments(tmp_path: Path) -> None:
    """It may be several joined, too, or one whose name looks like that."""
    path = write(tmp_path / f"a{os.pathsep}b")
    for named in (path, f"{tmp_path / 'missing'}{os.pathsep}{write(tmp_path / 'config')}"):
        found = await Credentials(ClusterConfig(kubeconfig=named), environ={"KUBECONFIG": "/nowhere"}).load()
        assert found.endpoint.server == SERVER


async def test_without_any_name_the_one_in_the_home_directory_is_read(tmp_path: Path) -> None:
    (tmp_path / ".kube").mkdir()
    write(tmp_path / ".kube" / "config")
    for environ in ({"HOME": str(tmp_path)}, {"HOME": str(tmp_path), "KUBECONFIG": ""}):
        found = await Credentials(ClusterConfig(), environ=environ).load()
        assert found.endpoint.server == SERVER


async def test_a_path_is_relative_to_the_file_that_names_it(tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    for directory in (here, there):
        directory.mkdir()
    (here / "ca.crt").write_bytes(CA.cert_pem.bytes())
    (there / "me.crt").write_bytes(CHAIN)
    (there / "me.key").write_bytes(KEY)
    cluster = kubeconfig(SERVER, cluster={"certificate-authority": "ca.crt"}) | {"users": []}
    (here / "config").write_text(json.dumps(cluster))
    user = {"client-certificate": "me.crt", "client-key": "../there/me.key"}
    (there / "config").write_text(json.dumps({"users": [{"name": "test", "user": user}]}))
    found = await access(here / "config", there / "config")
    assert found.endpoint.tls is not None
    assert found.endpoint.tls.certificate == client_certificate(CHAIN, KEY)[0]
    assert found.endpoint.tls.authorities is not None


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "cannot be read: it is not YAML"),
        ("[]", "config must be a mapping, not a list"),
        ("", "current-context is not set"),
        ("a: b: s3cret", "it is not YAML"),
        ('{"kind": "Pod"}', "kind must be Config"),
        ('{"apiVersion": "v2"}', "apiVersion must be v1"),
        ('{"current-context": "x"}', "there is no context 'x'"),
        ('{"current-context": 123}', "current-context must be a string"),
        ('{"users": {"s3cret": 1}}', "users must be a list, not a mapping"),
        ('{"users": ["s3cret"]}', r"users\[0\] must be a mapping, not a string"),
        ('{"users": [{"name": "x", "user": {"token": 5}}]}', "user 'x': token must be a string"),
        ('{"users": [{"name": "x", "user": {"as-groups": ["a", 5]}}]}', r"user 'x': as-groups\[1\] must be a string"),
        ('{"users": [{"name": "x", "user": {"exec": {"args": "s3cret"}}}]}', "user 'x': exec.args must be a list"),
        (
            '{"users": [{"name": "x", "user": {"client-key-data": "s3cret!"}}]}',
            "user 'x': client-key-data is not base64",
        ),
        ('{"users": [{"name": "x"}, {"name": "x"}]}', "user 'x' is defined twice"),
        ('{"clusters": [{"name": "x"}, {"name": "x"}]}', "cluster 'x' is defined twice"),
        ('{"contexts": [{"name": "x"}, {"name": "x"}]}', "context 'x' is defined twice"),
        ('{"preferences": {"colors": "s3cret"}}', "preferences.colors must be true or false"),
    ],
)
def test_a_file_that_makes_no_sense_is_refused(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "config"
    path.write_text(content)
    refused(path, message)


def test_a_file_that_is_not_there_or_cannot_be_read_is_refused(tmp_path: Path) -> None:
    refused(tmp_path / "missing", "no kubeconfig at")
    refused(tmp_path, "cannot be read: Is a directory")
    write(tmp_path / "file")
    refused(tmp_path / "file" / "below", "cannot be read: Not a directory")


async def test_names_that_are_quoted_numbers_and_booleans_are_names(tmp_path: Path) -> None:
    for name in ("123", "true", "no", "a b/c:d"):
        assert await authorization(write(tmp_path / "config", name=name)) == "Bearer let-me-in"
    path = tmp_path / "yaml"
    path.write_text((tmp_path / "config").read_text().replace('"a b/c:d"', "123"))
    refused(path, "current-context must be a string")


def test_a_context_that_leads_nowhere_is_refused(tmp_path: Path) -> None:
    for key, message in (("users", "names user 'test', who is not there"), ("clusters", "names cluster 'test', which")):
        path = tmp_path / key
        path.write_text(json.dumps(kubeconfig(SERVER) | {key: []}))
        refused(path, message)
    path = tmp_path / "contexts"
    path.write_text(json.dumps(kubeconfig(SERVER) | {"contexts": [{"name": "test", "context": {"user": "test"}}]}))
    refused(path, "names no cluster")


async def test_unknown_fields_and_other_entries_do_not_matter(tmp_path: Path) -> None:
    content: Any = kubeconfig(SERVER) | {"colour": 1}
    content["users"] += [{"name": "other", "user": {"auth-provider": {"name": "gcp"}, "exec": {}}}]
    content["users"][0]["user"]["Token"] = 5
    path = tmp_path / "config"
    path.write_text(json.dumps(content))
    assert await authorization(path) == "Bearer let-me-in"


# Clusters


@pytest.mark.parametrize(
    ("server", "base"),
    [
        ("https://cluster.test", "https://cluster.test"),
        ("https://cluster.test/", "https://cluster.test"),
        ("HTTPS://cluster.test:6443/", "https://cluster.test:6443"),
        ("https://cluster.test/k8s/clusters/c-1", "https://cluster.test/k8s/clusters/c-1"),
        ("https://cluster.test//k8s//c/", "https://cluster.test/k8s/c"),
        ("https://cluster.test/a/../b/./c", "https://cluster.test/b/c"),
        ("https://cluster.test/a%20b%2Fc", "https://cluster.test/a%20b/c"),
        ("https://cluster.test/k8s?project=x", "https://cluster.test/k8s"),
        ("https://cluster.test?project=x", "https://cluster.test"),
        ("https://[2001:db8::1]:6443", "https://[2001:db8::1]:6443"),
        ("https://[fe80::1%25eth0]:6443", "https://[fe80::1%25eth0]:6443"),
        ("127.0.0.1:8001", "http://127.0.0.1:8001"),
        ("localhost", "http://localhost"),
        ("http://localhost:8001/", "http://localhost:8001"),
        ("http://[::1]:8001/", "http://[::1]:8001"),
    ],
)
async def test_a_server_means_the_address_that_kubectl_takes_it_for(tmp_path: Path, server: str, base: str) -> None:
    assert (await access(write(tmp_path / "config", server=server))).endpoint.server == base


@pytest.mark.parametrize(
    ("server", "message"),
    [
        ("", "server is missing"),
        ("https://", "server is not a URL"),
        ("cluster.test/path", "server is not a URL"),
        (" https://cluster.test", "server is not a URL"),
        ("https://cluster.test\n", "server is not a URL"),
        ("https://cluster.test:port", "server is not a URL"),
        ("https://cluster.test:99999", "server is not a URL"),
        ("https://::1:6443", "server is not a URL"),
        ("ftp://cluster.test", "server must begin with https:// or http://"),
        ("https://me:s3cret@cluster.test", "server holds a user name"),
        ("https://cluster.test/a#b", "server holds a #"),
    ],
)
def test_a_server_that_is_no_address_is_refused(tmp_path: Path, server: str, message: str) -> None:
    refused(write(tmp_path / "config", server=server), message)


@pytest.mark.parametrize("value", ["false", "true", "", "no", 0, 1])
def test_skipping_verification_takes_a_boolean_alone(tmp_path: Path, value: object) -> None:
    path = write(tmp_path / "config", cluster={"insecure-skip-tls-verify": value})
    refused(path, "cluster 'test': insecure-skip-tls-verify must be true or false, without quotes")


async def test_skipping_verification_is_done_where_it_is_said(tmp_path: Path) -> None:
    for value, verify in ((True, False), (False, True), (None, True)):
        found = await access(write(tmp_path / "config", cluster={"insecure-skip-tls-verify": value}))
        assert found.endpoint.tls is not None
        assert found.endpoint.tls.verify is verify


def test_skipping_verification_together_with_an_authority_is_refused(tmp_path: Path) -> None:
    (tmp_path / "ca.crt").write_bytes(CA.cert_pem.bytes())
    for key, value in (
        ("certificate-authority", "ca.crt"),
        ("certificate-authority-data", base64_of(CA.cert_pem.bytes())),
    ):
        path = write(tmp_path / "config", cluster={"insecure-skip-tls-verify": True, key: value})
        refused(path, "insecure-skip-tls-verify and a certificate authority are both set")


async def test_what_is_empty_or_null_is_unset(tmp_path: Path) -> None:
    (tmp_path / "ca.crt").write_bytes(CA.cert_pem.bytes())
    (tmp_path / "me.crt").write_bytes(CHAIN)
    (tmp_path / "me.key").write_bytes(KEY)
    (tmp_path / "token").write_text("from the file\n")
    for nothing in ("", None):
        cluster: dict[str, object] = {
            "certificate-authority": "ca.crt",
            "certificate-authority-data": nothing if nothing is None else [],
            "proxy-url": nothing,
            "tls-server-name": nothing,
        }
        user = {
            "client-certificate": "me.crt",
            "client-certificate-data": nothing,
            "client-key": "me.key",
            "client-key-data": nothing,
            "token": nothing,
            "tokenFile": "token",
            "username": nothing,
            "as": nothing,
        }
        found = await access(write(tmp_path / "config", cluster=cluster, user=user))
        assert found.endpoint.tls is not None
        assert found.endpoint.tls.authorities
        assert found.endpoint.tls.certificate == client_certificate(CHAIN, KEY)[0]
        assert found.headers == (("Authorization", "Bearer from the file"),)


@pytest.mark.parametrize(
    ("cluster", "message"),
    [
        ({"certificate-authority": "missing"}, "certificate-authority: .*missing cannot be read: No such file"),
        ({"certificate-authority": "nothing"}, "certificate-authority holds no certificate"),
        ({"certificate-authority-data": base64_of(b"s3cret")}, "certificate-authority-data holds no certificate"),
        ({"certificate-authority-data": "QQ==", "certificate-authority": "x"}, "are both set: remove one"),
        ({"certificate-authority-data": " QQ=="}, "certificate-authority-data is not base64"),
        ({"proxy-url": "proxy:3128"}, "proxy-url must begin with|proxy-url is not a URL"),
        ({"proxy-url": "socks4://u:s3cret@proxy"}, "proxy-url must begin with"),
        ({"extensions": [{"name": "x", "extension": {}}] * 2}, "extension 'x' is defined twice"),
    ],
)
def test_a_cluster_that_cannot_be_used_is_refused(tmp_path: Path, cluster: dict[str, object], message: str) -> None:
    (tmp_path / "nothing").write_text("")
    refused(write(tmp_path / "config", cluster=cluster), message)


async def test_the_clusters_proxy_wins_over_the_environments(tmp_path: Path) -> None:
    path = write(tmp_path / "config", server="https://10.0.0.1", cluster={"proxy-url": "http://own:1"})
    found = (await access(path, HTTPS_PROXY="http://other:1", NO_PROXY="*")).endpoint.proxy
    assert found is not None
    assert found.host == "own"
    found = (await access(write(path, server="https://10.0.0.1"), HTTPS_PROXY="http://other:1")).endpoint.proxy
    assert found is not None
    assert found.host == "other"


# Users


@pytest.mark.parametrize(
    ("user", "expected"),
    [
        ({"token": "abc"}, "Bearer abc"),
        ({"token": " abc "}, "Bearer  abc"),
        ({"token": "abc", "tokenFile": "token"}, "Bearer from-file"),
        ({"token": "abc", "tokenFile": "missing"}, "Bearer abc"),
        ({"token": "abc", "tokenFile": "blank"}, "Bearer abc"),
        ({"tokenFile": "token"}, "Bearer from-file"),
        ({"token": "abc", "exec": None, "auth-provider": None}, "Bearer abc"),
        ({"username": "me", "password": "p:w"}, f"Basic {base64_of(b'me:p:w')}"),
        ({"username": "mé"}, f"Basic {base64_of('mé:'.encode())}"),
        ({"token": "abc", "exec": {"apiVersion": V1, "command": "x", "interactiveMode": "Never"}}, "Bearer abc"),
        ({"username": "me", "exec": {"apiVersion": V1, "command": "x", "interactiveMode": "Never"}}, "Basic bWU6"),
    ],
)
async def test_a_user_asks_as_with_kubectl(tmp_path: Path, user: object, expected: str | None) -> None:
    (tmp_path / "token").write_text("\n from-file \n")
    (tmp_path / "blank").write_text(" \n")
    content = kubeconfig(SERVER) | {"users": [{"name": "test", "user": user}]}
    (tmp_path / "config").write_text(json.dumps(content))
    assert await authorization(tmp_path / "config") == expected


@pytest.mark.parametrize(
    "user", [None, {}, {"token": ""}, {"Token": "x"}, {"password": "s3cret"}, {"as": "bob"}, {"client-key": "x"}]
)
async def test_a_user_without_credentials_is_refused_where_kubectl_would_ask_for_some(
    tmp_path: Path, user: object
) -> None:
    path = tmp_path / "config"
    path.write_text(json.dumps(kubeconfig(SERVER) | {"users": [{"name": "test", "user": user}]}))
    refused(path, "user 'test': has no credentials")
    path.write_text(json.dumps(kubeconfig(SERVER) | {"contexts": [{"name": "test", "context": {"cluster": "test"}}]}))
    refused(path, "user '': has no credentials")
    content = {"contexts": [{"name": "test", "context": {"cluster": "test"}}]}
    path.write_text(json.dumps(kubeconfig("http://127.0.0.1:8001") | content))
    assert (await access(path)).headers == (), "kubectl proxy and its like need none"


@pytest.mark.parametrize(
    ("user", "message"),
    [
        ({"token": "s3cret", "username": "me"}, "token and username/password are both set"),
        ({"token": "s3cret", "password": "s3cret"}, "token and username/password are both set"),
        ({"tokenFile": "token", "username": "me"}, "tokenFile and username are both set"),
        ({"token": "s3cret\nx"}, "token holds a line feed"),
        ({"token": "s3cret\n"}, "token holds a line feed"),
        ({"tokenFile": "missing"}, "tokenFile: .*missing cannot be read"),
        ({"tokenFile": "blank"}, "tokenFile is empty"),
        ({"tokenFile": "lines"}, "token holds a line feed"),
        ({"tokenFile": "bytes"}, "tokenFile holds more than text"),
        ({"client-certificate": "me.crt"}, "client-key or client-key-data is missing"),
        ({"client-certificate": "missing", "client-key": "me.key"}, "client-certificate: .* cannot be read"),
        ({"client-certificate": "me.crt", "client-key": "ca.crt"}, "the client key holds no private key"),
        ({"client-certificate": "me.key", "client-key": "me.key"}, "the client certificate holds no certificate"),
        ({"client-certificate": "ca.crt", "client-key": "me.key"}, "does not belong to the client certificate"),
        (
            {"client-certificate": "me.crt", "client-certificate-data": "QQ==", "client-key": "me.key"},
            "client-certificate and client-certificate-data are both set",
        ),
        (
            {"client-certificate": "me.crt", "client-key-data": "QQ==", "client-key": "me.key"},
            "client-key and client-key-data are both set",
        ),
        ({"as-groups": ["x"]}, "as-uid, as-groups and as-user-extra need as"),
        ({"as-uid": "x"}, "as-uid, as-groups and as-user-extra need as"),
        ({"as-user-extra": {"x": ["y"]}}, "as-uid, as-groups and as-user-extra need as"),
        ({"as": "a\nb"}, "as holds a line feed"),
        (
            {"auth-provider": {"name": "azure", "config": {"x": "s3cret"}}},
            "auth-provider is not supported: use an exec",
        ),
        ({"auth-provider": {"name": "gcp"}, "token": "s3cret"}, "auth-provider is not supported"),
        (
            {"auth-provider": {"name": "oidc", "config": {"id-token": "s3cret", "refresh-token": "s3cret"}}},
            "auth-provider is not supported: .* kubelogin",
        ),
        ({"auth-provider": {}}, "auth-provider is not supported"),
    ],
)
def test_a_user_that_cannot_be_used_is_refused(tmp_path: Path, user: dict[str, object], message: str) -> None:
    for name, content in {
        "token": b"t",
        "blank": b" \n",
        "lines": b"s3cret\nx",
        "bytes": b"\xffs3cret",
        "me.crt": CHAIN,
        "me.key": KEY,
        "ca.crt": CA.cert_pem.bytes(),
    }.items():
        (tmp_path / name).write_bytes(content)
    refused(write(tmp_path / "config", user=user), f"user 'test': .*{message}|user 'test': {message}")


async def test_impersonation_is_asked_for_as_kubectl_asks(tmp_path: Path) -> None:
    user = {
        "token": "abc",
        "as": "bob",
        "as-uid": "17",
        "as-groups": ["dev", "ops"],
        "as-user-extra": {"scopes": ["a", "b"], "acme.com/Größe%": ["c"]},
    }
    found = await access(write(tmp_path / "config", user=user))
    assert found.headers == (
        ("Authorization", "Bearer abc"),
        ("Impersonate-User", "bob"),
        ("Impersonate-Uid", "17"),
        ("Impersonate-Group", "dev"),
        ("Impersonate-Group", "ops"),
        ("Impersonate-Extra-acme.com%2FGr%C3%B6%C3%9Fe%25", "c"),
        ("Impersonate-Extra-scopes", "a"),
        ("Impersonate-Extra-scopes", "b"),
    )


@pytest.mark.parametrize(
    "user",
    [
        {"token": "s3cret"},
        {"username": "me", "password": "s3cret"},
        {"as": "bob"},
        {"exec": {"apiVersion": V1, "command": "x", "interactiveMode": "Never"}},
    ],
    ids=lambda user: next(iter(user)),
)
async def test_credentials_never_travel_in_clear_text_except_within_this_machine(
    tmp_path: Path, user: dict[str, object]
) -> None:
    for server in ("http://cluster.test", "http://10.0.0.1:8080", "cluster.test:8080", "http://[2001:db8::1]"):
        refused(write(tmp_path / "config", user=user, server=server), "server must begin with https://")
    for server in ("http://localhost:8001", "http://127.0.0.2", "http://[::1]:8001"):
        Credentials(ClusterConfig(kubeconfig=write(tmp_path / "config", user=user, server=server)), environ={})
    proxied = write(tmp_path / "config", user=user, server="http://127.0.0.1", cluster={"proxy-url": "http://far.test"})
    refused(proxied, "server must begin with https://")
    assert (await access(write(tmp_path / "config", user={}, server="http://cluster.test"))).headers == ()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda plugin: plugin.pop("command"), "exec.command is missing"),
        (lambda plugin: plugin.update(command=""), "exec.command is missing"),
        (lambda plugin: plugin.pop("apiVersion"), "exec.apiVersion is missing"),
        (lambda plugin: plugin.update(apiVersion=V1.replace("v1", "v1alpha1")), "exec.apiVersion must be one of"),
        (lambda plugin: plugin.pop("interactiveMode"), "exec.interactiveMode is missing"),
        (lambda plugin: plugin.update(interactiveMode="Always"), "kdm has no terminal"),
        (lambda plugin: plugin.update(interactiveMode="never"), "must be Never, IfAvailable or Always"),
        (lambda plugin: plugin.update(env=[{"value": "s3cret"}]), "exec.env has an entry without a name"),
        (lambda plugin: plugin.update(env=[{"name": "A", "value": 5}]), r"exec.env\[0\].value must be a string"),
        (lambda plugin: plugin.update(args=["s3cret\0"]), "null byte"),
        (lambda plugin: plugin.update(provideClusterInfo="s3cret"), "exec.provideClusterInfo must be true or false"),
    ],
)
def test_a_plugin_that_cannot_be_run_is_refused(
    tmp_path: Path, change: Callable[[dict[str, Any]], None], message: str
) -> None:
    plugin: dict[str, Any] = {
        "apiVersion": V1,
        "command": "login",
        "interactiveMode": "Never",
        "args": ["--password=s3cret"],
        "env": [{"name": "PASSWORD", "value": "s3cret"}],
    }
    Credentials(ClusterConfig(kubeconfig=write(tmp_path / "config", user={"exec": plugin})), environ={})
    change(plugin)
    refused(write(tmp_path / "config", user={"exec": plugin}), message)


def test_only_version_v1_needs_an_interactive_mode(tmp_path: Path) -> None:
    plugin = {"apiVersion": V1.replace("v1", "v1beta1"), "command": "login"}
    Credentials(ClusterConfig(kubeconfig=write(tmp_path / "config", user={"exec": plugin})), environ={})


# What is no regular file


@pytest.mark.parametrize("key", ["tokenFile", "client-certificate", "client-key", "certificate-authority", "itself"])
@pytest.mark.parametrize("kind", ["fifo", "device"])
def test_a_file_that_is_no_regular_one_is_refused_by_name(kind: str, key: str, tmp_path: Path) -> None:
    """A FIFO would wait for its writer, a device may never end."""
    path = Path("/dev/zero") if kind == "device" else tmp_path / "fifo"
    if kind == "fifo":
        os.mkfifo(path)
    user: dict[str, str] = {"token": "t"}
    cluster: dict[str, str] = {}
    if key == "certificate-authority":
        cluster[key] = str(path)
    elif key != "itself":
        pair = {"client-certificate": CHAIN, "client-key": KEY}
        user = {f"{each}-data": base64_of(data) for each, data in pair.items() if each != key} | {key: str(path)}
    config = path if key == "itself" else write(tmp_path / "config", user=user, cluster=cluster)
    with pytest.raises(InvalidClusterConfig) as caught:
        Credentials(ClusterConfig(kubeconfig=config), environ={})
    assert str(caught.value).endswith(f"{path} cannot be read: Not a regular file")
    assert key == "itself" or key in str(caught.value)


def test_the_null_device_is_an_empty_kubeconfig_as_for_kubectl(tmp_path: Path) -> None:
    config = write(tmp_path / "config", user={"token": "t"})
    Credentials(ClusterConfig(), environ={"KUBECONFIG": os.pathsep.join([os.devnull, str(config)])})
