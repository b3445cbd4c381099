"""Kubeconfigs that go wrong in every way, with secrets in them."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Callable, Mapping
from typing import Any, Final
from urllib.parse import quote

from .case import CLUSTER, TEXT, Case, case, plugin
from .table.proxies import NEAR

__all__ = ["FAILURES"]

Failure = Callable[[str], Case]
"""Makes a kubeconfig of a secret."""


def _at(server: str, **more: Any) -> dict[str, Any]:
    return {**CLUSTER, "server": server} | {key.replace("_", "-"): value for key, value in more.items()}


def _mirrored(code: int, form: str) -> dict[str, Any]:
    return _at(f"https://127.0.0.1:{{{{mirror}}}}/{code}/{form}")


def _leaky(secret: str, script: str, status: object = None, **more: Any) -> dict[str, Any]:
    """Return a plugin that is given a secret by its environment."""
    return plugin(status, script, env=[{"name": "CLIENT_SECRET", "value": secret}], **more)


def _saying(secret: str, out: str, code: int = 0) -> dict[str, Any]:
    """Return a plugin that says something on both its outputs."""
    says = f"#!/bin/sh\ncat <<'END'\n{out}\nEND\ncat >&2 <<'END'\n{secret}\nEND\nexit {code}\n"
    return {**plugin(env=[{"name": "CLIENT_SECRET", "value": secret}]), "files": {"plugin": says}}


def _broken(text: str) -> Failure:
    return lambda secret: case("broken", TEXT.replace("    token: t0ken\n", text.replace("SECRET", json.dumps(secret))))


def _encoded(text: str) -> str:
    return b64encode(text.encode()).decode()


def _provider(secret: str) -> dict[str, Any]:
    return {"auth-provider": {"name": "oidc", "config": {"refresh-token": secret, "idp-issuer-url": "https://[::1"}}}


API: Final = "client.authentication.k8s.io/v1"
ALICE: Final = {"client-certificate": "pki/alice.crt"}
FAILURES: Final[Mapping[str, Failure]] = {
    "nobody listens": lambda it: case("", cluster=_at("https://127.0.0.1:1"), user={"token": it}),
    "another CA": lambda it: case("", cluster=_at("https://127.0.0.1:{{stranger}}"), user={"token": it}),
    "all is well": lambda it: case("", user={"token": it}),
    "a mirror of 401": lambda it: case("", cluster=_mirrored(401, "status"), user={"token": it}),
    "a mirror of 403": lambda it: case("", cluster=_mirrored(403, "status"), user={"token": it}),
    "a mirror of 422": lambda it: case("", cluster=_mirrored(422, "status"), user={"username": "u", "password": it}),
    "a mirror of 500": lambda it: case("", cluster=_mirrored(500, "status"), user={"token": it}),
    "a mirror of 502 in HTML": lambda it: case("", cluster=_mirrored(502, "html"), user={"token": it}),
    "a mirror of 404 in HTML": lambda it: case("", cluster=_mirrored(404, "html"), user={"token": it}),
    "a mirror that leads elsewhere": lambda it: case("", cluster=_mirrored(302, "there"), user={"token": it}),
    "a mirror of garbage": lambda it: case("", cluster=_mirrored(200, "garbage"), user={"token": it}),
    "a mirror of a plugin's token": lambda it: case("", cluster=_mirrored(401, "status"), **plugin({"token": it})),
    "a mirror as the proxy": lambda it: case(
        "", cluster=_at(CLUSTER["server"], proxy_url=f"https://u:{quote(it, safe='')}@127.0.0.1:{{{{mirror}}}}")
    ),
    "a proxy where nobody listens": lambda it: case(
        "", cluster=_at(CLUSTER["server"], proxy_url=f"http://u:{quote(it, safe='')}@127.0.0.1:1")
    ),
    "a proxy of an unknown kind": lambda it: case(
        "", cluster=_at(CLUSTER["server"], proxy_url=f"ftp://u:{quote(it, safe='')}@127.0.0.1:1")
    ),
    "a proxy that cannot be read": lambda it: case("", cluster=_at(CLUSTER["server"], proxy_url=f"http://u:{it}@[::1")),
    "a proxy of the environment": lambda it: case(
        "", cluster=_at(NEAR), environ={"HTTPS_PROXY": f"http://u:{quote(it, safe='')}@127.0.0.1:1"}
    ),
    "a proxy of the environment that cannot be read": lambda it: case(
        "", cluster=_at(NEAR), environ={"HTTPS_PROXY": f"http://u:{it}@[::1"}
    ),
    "a password in the server": lambda it: case(
        "", cluster=_at(f"https://u:{quote(it, safe='')}@127.0.0.1:{{{{main}}}}")
    ),
    "a server that cannot be read": lambda it: case("", cluster=_at(f"https://u:{it}@[::1")),
    "a token with a line feed": lambda it: case("", user={"token": f"{it}\n{it}"}),
    "a token that is a list": lambda it: case("", user={"token": [it]}),
    "a token that is a key": lambda it: case("", user={"token": {it: it}}),
    "a user that is text": lambda it: case("", user=it),
    "users that are text": lambda it: case("", users=it),
    "a kubeconfig that is text": lambda it: case("", it),
    "a token in an unknown key": lambda it: case("", user={"Token": it, "exec": {}}),
    "a token's file, and a password": lambda it: case(
        "", user={"tokenFile": "token", "username": "u", "password": it}, files={"token": it}
    ),
    "a token's file with line feeds": lambda it: case(
        "", user={"tokenFile": "token"}, files={"token": f"{it}\n{it}\n"}
    ),
    "a key's data that is no base64": lambda it: case("", user={**ALICE, "client-key-data": f"?{it}"}),
    "a key's data that is no key": lambda it: case("", user={**ALICE, "client-key-data": _encoded(it)}),
    "a key's file that is no key": lambda it: case("", user={**ALICE, "client-key": "key"}, files={"key": it}),
    "YAML with a quote too many": _broken("    token: SECRET'\"\n"),
    "YAML with a bad indentation": _broken("    token: SECRET\n   other: SECRET\n"),
    "YAML with a tab": _broken("\ttoken: SECRET\n"),
    "YAML with an unknown alias": _broken("    token: SECRET\n    password: *SECRET\n"),
    "YAML with a bad escape": _broken('    token: "\\q"\n    password: SECRET\n'),
    "YAML with a tag": _broken("    token: !!int SECRET\n"),
    "an auth-provider": lambda it: case("", user=_provider(it)),
    "impersonation without whom": lambda it: case("", user={"token": it, "as-groups": ["g"]}),
    "a command that is missing": lambda it: case("", **_leaky(it, "", command="./no", args=[f"--secret={it}"])),
    "no command": lambda it: case("", **_leaky(it, "", command=None)),
    "a command that is a list": lambda it: case("", **_leaky(it, "", command=[it])),
    "variables that are a mapping": lambda it: case("", **plugin(env={"CLIENT_SECRET": it})),
    "variables without names": lambda it: case("", **plugin(env=[{"value": it}])),
    "a variable that is a list": lambda it: case("", **plugin(env=[{"name": "CLIENT_SECRET", "value": [it]}])),
    "a plugin that tells its secret and fails": lambda it: case(
        "", **_leaky(it, 'echo "$CLIENT_SECRET" >&2; env; exit 3')
    ),
    "a plugin that tells its secret and succeeds": lambda it: case("", **_leaky(it, 'echo "$CLIENT_SECRET" >&2')),
    "a plugin that is killed": lambda it: case("", **_leaky(it, 'echo "$CLIENT_SECRET" >&2; kill -9 $$')),
    "a plugin of garbage": lambda it: case("", **_saying(it, it)),
    "a plugin of broken JSON": lambda it: case("", **_saying(it, f'{{"status": {{"token": {json.dumps(it)}')),
    "a plugin of another version": lambda it: case(
        "", **_saying(it, json.dumps({"apiVersion": it, "kind": "ExecCredential", "status": {"token": it}}))
    ),
    "a plugin of another kind": lambda it: case(
        "", **_saying(it, json.dumps({"apiVersion": API, "kind": it, "status": {"token": it}}))
    ),
    "a plugin whose token is a list": lambda it: case("", **plugin({"token": [it]})),
    "a plugin whose token has a line feed": lambda it: case("", **plugin({"token": f"{it}\n{it}"})),
    "a plugin whose token expires at no time": lambda it: case("", **plugin({"token": it, "expirationTimestamp": it})),
    "a plugin whose certificate is garbage": lambda it: case(
        "", **plugin({"clientCertificateData": it, "clientKeyData": it})
    ),
    "a plugin whose key is garbage": lambda it: case(
        "", **plugin({"clientCertificateData": "{{json:alice.crt}}", "clientKeyData": it})
    ),
    "a plugin that fails with its answer": lambda it: case("", **_saying(it, json.dumps({"status": {"token": it}}), 1)),
}
