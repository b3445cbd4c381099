"""Who may do what: every kind of certificate, on every route, with every verb that makes sense there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Final

import httpx
import pytest

from integration.edge.pki import Pki
from integration.kdm_process import KdmProcess, plain_get

POLICY: Final = """
version = 1

[[grant]]
groups = ["admins"]
verbs = ["read", "scale"]
namespaces = ["default"]
replicas = { max = 10 }

[[grant]]
groups = ["viewers"]
verbs = ["read"]
namespaces = ["default"]
names = ["nginx-*"]
"""

# The admin and the viewer have a grant in `default` only, the viewer for one name there. The nobody has a certificate
# of the client CA and no grant, the stranger one of another CA, and the last none at all.
CALLERS: Final = ("admin", "viewer", "nobody", "stranger", "none")

ALERTS: Final = {"UNKNOWN_CA": "unknown_ca", "CERTIFICATE_REQUIRED": "required"}
"""What a handshake is refused with. There is no status then, whatever the route."""

WEB: Final = "/deployments/nginx-deployment/replicas"
OTHERS: Final = "/deployments/ledger/replicas?namespace=payments"
NOWHERE: Final = "/deployments/missing/replicas"

# A write asks for 5 replicas, unless another number stands after its method.
BOTH_DIALECTS: Final = f"""
#                                            admin viewer nobody stranger   none
GET      /deployments                          200    200    403 unknown_ca required
HEAD     /deployments                          200    200    403 unknown_ca required
GET      /deployments?namespace=payments       403    403    403 unknown_ca required
GET      /deployments?name=x                   400    400    400 unknown_ca required
OPTIONS  /deployments                          204    204    204 unknown_ca required
POST     /deployments                          405    405    405 unknown_ca required
PUT      /deployments                          405    405    405 unknown_ca required
DELETE   /deployments                          405    405    405 unknown_ca required

GET      {WEB}                                 200    200    403 unknown_ca required
HEAD     {WEB}                                 200    200    403 unknown_ca required
OPTIONS  {WEB}                                 204    204    204 unknown_ca required
DELETE   {WEB}                                 405    405    405 unknown_ca required
PATCH    {WEB}                                 405    405    405 unknown_ca required
SET      {WEB}                                 200    403    403 unknown_ca required
SET=10   {WEB}                                 200    403    403 unknown_ca required
SET=11   {WEB}                                 403    403    403 unknown_ca required
SET=0    {WEB}                                 403    403    403 unknown_ca required
SET=-1   {WEB}                                 400    400    400 unknown_ca required
OTHER    {WEB}                                 405    405    405 unknown_ca required

GET      {OTHERS}                              403    403    403 unknown_ca required
SET      {OTHERS}                              403    403    403 unknown_ca required

GET      {NOWHERE}                             404    403    403 unknown_ca required
SET      {NOWHERE}                             404    403    403 unknown_ca required

GET      /health                               200    200    200 unknown_ca required
HEAD     /health                               200    200    200 unknown_ca required
OPTIONS  /health                               204    204    204 unknown_ca required
POST     /health                               405    405    405 unknown_ca required
PUT      /health                               405    405    405 unknown_ca required
DELETE   /health                               405    405    405 unknown_ca required

GET      /unknown                              404    404    404 unknown_ca required
HEAD     /unknown                              404    404    404 unknown_ca required
OPTIONS  /unknown                              404    404    404 unknown_ca required
POST     /unknown                              404    404    404 unknown_ca required
PUT      /unknown                              404    404    404 unknown_ca required
DELETE   /unknown                              404    404    404 unknown_ca required
"""

ONCE: Final = """
GET      /api/v1/openapi.json                  200    200    200 unknown_ca required
HEAD     /api/v1/openapi.json                  200    200    200 unknown_ca required
OPTIONS  /api/v1/openapi.json                  204    204    204 unknown_ca required
POST     /api/v1/openapi.json                  405    405    405 unknown_ca required
PUT      /api/v1/openapi.json                  405    405    405 unknown_ca required
DELETE   /api/v1/openapi.json                  405    405    405 unknown_ca required
GET      /openapi.json                         404    404    404 unknown_ca required
GET      /                                     404    404    404 unknown_ca required
"""

# Base path, the verb that writes, and the verb that writes in the other dialect.
DIALECTS: Final = {"rfd001": ("", "POST", "PUT"), "rfd156": ("/api/v1", "PUT", "POST")}


def _rows(table: str) -> list[list[str]]:
    return [line.split() for line in table.splitlines() if line and not line.startswith("#")]


def _cells() -> Iterator[object]:
    for dialect, (base, write, other) in DIALECTS.items():
        for verb, path, *statuses in _rows(BOTH_DIALECTS):
            name, _, replicas = verb.partition("=")
            method = {"SET": write, "OTHER": other}.get(name, name)
            yield pytest.param(method, base + path, int(replicas or 5), statuses, id=f"{dialect} {verb} {path}")
    for verb, path, *statuses in _rows(ONCE):
        yield pytest.param(verb, path, 5, statuses, id=f"{verb} {path}")


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    pki = Pki(tmp_path_factory.mktemp("matrix"))
    for name, groups in {"admin": ["admins"], "viewer": ["viewers"], "nobody": []}.items():
        pki.issue(name, *groups)
    return pki


@pytest.fixture(scope="module")
def kdm(pki: Pki) -> Iterator[KdmProcess]:
    policy = pki.path / "policy.toml"
    policy.write_text(POLICY)
    settings = pki.settings() | {"POLICY_FILE": str(policy), "NAMESPACE": "default"}
    with KdmProcess(settings, pki.path / "log") as process:
        yield process


@pytest.fixture(scope="module")
def callers(kdm: KdmProcess, pki: Pki, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, httpx.Client]]:
    strangers = Pki(tmp_path_factory.mktemp("strangers"), "another CA")
    strangers.issue("stranger", "admins")
    contexts = {name: pki.context(name) for name in ("admin", "viewer", "nobody")}
    contexts |= {"stranger": strangers.context("stranger", trusting=[pki]), "none": pki.context(None)}
    with ExitStack() as opened:
        yield {
            name: opened.enter_context(httpx.Client(base_url=kdm.url, verify=contexts[name], trust_env=False))
            for name in CALLERS
        }


def _ask(client: httpx.Client, method: str, path: str, replicas: int = 5) -> httpx.Response:
    writes = method in {"POST", "PUT", "PATCH"}
    return client.request(method, path, json={"replicaCount": replicas} if writes else None)


def _outcome(client: httpx.Client, method: str, path: str, replicas: int) -> str:
    try:
        answer = _ask(client, method, path, replicas)
    except httpx.NetworkError as error:
        return next((name for alert, name in ALERTS.items() if alert in str(error)), repr(error))
    if answer.is_error and method != "HEAD":
        assert answer.json().keys() == {"error"}
    return str(answer.status_code)


@pytest.mark.parametrize(("method", "path", "replicas", "expected"), list(_cells()))
def test_cell(method: str, path: str, replicas: int, expected: list[str], callers: dict[str, httpx.Client]) -> None:
    """Each caller gets exactly this status, or this alert instead of a connection."""
    assert [_outcome(callers[name], method, path, replicas) for name in CALLERS] == expected


def test_a_list_shows_what_the_policy_lets_one_read(callers: dict[str, httpx.Client]) -> None:
    """Where a Deployment is not readable it is not listed."""
    for (base, *_), name in zip(DIALECTS.values(), ("deploymentName", "name"), strict=True):
        lists = {caller: callers[caller].get(f"{base}/deployments").json() for caller in ("admin", "viewer")}
        assert {caller: [each[name] for each in found] for caller, found in lists.items()} == {
            "admin": ["nginx-deployment", "redis-deployment", "report-generator", "session-store"],
            "viewer": ["nginx-deployment"],
        }


def test_a_refused_write_writes_nothing(callers: dict[str, httpx.Client]) -> None:
    for base, write, _ in DIALECTS.values():
        assert _ask(callers["admin"], write, base + WEB, 7).status_code == 200
        for name, replicas in (("admin", 11), ("admin", 0), ("viewer", 8), ("nobody", 8)):
            assert _ask(callers[name], write, base + WEB, replicas).status_code == 403
        for name in ("stranger", "none"):
            with pytest.raises(httpx.NetworkError):
                _ask(callers[name], write, base + WEB, 8)
        assert callers["admin"].get(base + WEB).json()["replicaCount"] == 7


def test_the_plain_listener_serves_nothing_of_the_api(kdm: KdmProcess) -> None:
    """Probes and metrics, but neither data nor the policy's secrets."""
    routes = {path.partition("?")[0] for _, path, *_ in _rows(BOTH_DIALECTS)}
    paths = [base + route for base in ("", "/api/v1") for route in routes] + ["/api/v1/openapi.json"]
    answers = {path: plain_get(kdm.ops_url + path).status_code for path in paths}
    assert set(answers.values()) == {404}, answers
