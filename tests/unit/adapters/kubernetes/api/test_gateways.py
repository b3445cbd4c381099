"""Somebody stands before the API server and answers in its place: what is sent, what is told, what goes on."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import uvloop

from kdm_adapters.kubernetes import ClusterConfig, KubernetesDeploymentRepository
from kdm_adapters.kubernetes.config.credentials import Credentials
from kdm_core.errors import (
    CacheNotSynced,
    ClusterOverloaded,
    ClusterUnreachable,
    ClusterUnrecognized,
    DeploymentNotFound,
    KdmError,
    WriteForbidden,
    WriteInvalid,
)
from kdm_core.model import DeploymentRef
from unit.adapters.kubernetes.answers import ABOUT_WEB, CANNOT, FORBIDDEN, HERE, POLICY, WEBHOOK
from unit.adapters.kubernetes.api_server import DEADLINE_S, Answer, ApiServer, Reply, answering, refusing, scale_body
from unit.adapters.kubernetes.conftest import HurriedTime, MakeRepository, until

WEB = DeploymentRef("shop", "web")
PAGE = b"<html><head><title>Sorry</title></head><body><h1>Not today</h1></body></html>"


def paging(code: int, body: bytes = PAGE, **headers: str) -> Answer:
    """Answer with a page for people."""
    return answering(code, body, **{"Content_Type": "text/html; charset=utf-8", **headers})


async def echoing(reply: Reply) -> None:
    """Answer with what was asked, as a debugging page does."""
    sent = reply.request.headers["authorization"]
    credentials = sent.split()[1]
    clear = base64.b64decode(credentials).decode() if sent.startswith("Basic") else ""
    body = f"<html>{credentials} {clear} {sent} {json.dumps({'authorization': sent})}</html>".encode()
    await reply.whole(403, body, {"Content-Type": "text/html"})


async def synced(repository: KubernetesDeploymentRepository, server: ApiServer) -> None:
    await server.change(lambda c: c.create("web"))
    await repository.wait_synced(DEADLINE_S)
    await server.watch()


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("verb", ["patch", "get", "list", "watch"])
async def test_a_redirect_is_not_followed_and_no_credentials_go_where_it_leads(
    make: MakeRepository, server: ApiServer, verb: str, code: int
) -> None:
    async with ApiServer().running() as elsewhere:
        leading = paging(code, Location=f"http://localhost:{elsewhere.port}/login?state=hunter2")
        if verb in {"list", "watch"}:
            server.standing_faults.update(watch=leading, list=leading)
        async with make() as repository:
            if verb in {"list", "watch"}:
                await until(lambda: "a redirect to http://localhost" in repository.sync_status().reason)
                told = repository.sync_status().reason
            else:
                await synced(repository, server)
                server.standing_faults[verb] = leading
                with pytest.raises(ClusterUnrecognized) as caught:
                    await (repository.probe() if verb == "get" else repository.set_replicas(WEB, 3))
                told = str(caught.value)
                assert server.count(verb) == 1
    assert f"({code}): a redirect to http://localhost:{elsewhere.port}/login" in told
    assert "hunter2" not in told
    assert elsewhere.requests == []


async def test_a_redirect_within_the_same_server_is_not_followed_either(
    make: MakeRepository, server: ApiServer
) -> None:
    """A write that is sent once arrives once, where it was sent."""
    async with make() as repository:
        await synced(repository, server)
        server.faults["patch"].append(paging(307, Location="/apis/apps/v1/namespaces/shop/deployments/api/scale"))
        with pytest.raises(ClusterUnrecognized, match="a redirect to /apis/apps/v1/namespaces/shop/deployments/api"):
            await repository.set_replicas(WEB, 3)
        assert server.count("patch") == 1


@pytest.mark.parametrize("code", [200, 400, 403, 404, 409, 410, 413, 422, 499])
async def test_a_gateways_page_is_no_answer_of_the_clusters_to_a_write(
    make: MakeRepository, server: ApiServer, code: int
) -> None:
    async with make() as repository:
        await synced(repository, server)
        server.faults["patch"].append(paging(code))
        with pytest.raises(ClusterUnrecognized) as caught:
            await repository.set_replicas(WEB, 3)
        assert str(caught.value) == (
            f"the answer to 'patch' on 'deployments/scale' is not the Kubernetes API's ({code}): Sorry Not today; "
            "it may have been written: read before trying again"
        )
        assert repository.get(WEB).replicas.desired == 1


@pytest.mark.parametrize(
    "fields", [{"Set-Cookie": "a" * 9000}, {f"X-{n}": "a" for n in range(200)}], ids=["long", "many"]
)
async def test_the_headers_of_an_answer_may_be_long_and_many(
    make: MakeRepository, server: ApiServer, fields: dict[str, str]
) -> None:
    """A gateway puts in its cookies, or admission its warnings: the write was carried out, and says so."""
    async with make() as repository:
        await synced(repository, server)
        stored = server.cluster.scale("web", 3)
        assert stored is not None
        server.faults["patch"].append(lambda reply: reply.whole(200, scale_body(stored), fields))
        written = await repository.set_replicas(WEB, 3)
        assert written.replicas.desired == 3


@pytest.mark.parametrize("code", [200, 302, 400, 403, 404, 410, 499, 500, 504])
async def test_a_gateways_page_to_lists_and_watches_is_told_and_waited_out(
    make: MakeRepository, server: ApiServer, hurried: HurriedTime, code: int
) -> None:
    """It is backed off from, ever longer; what it says is the reason that callers get; then all goes on."""
    server.standing_faults.update(watch=paging(code), list=paging(code))
    async with make() as repository:
        await server.until(lambda: server.count("list") >= 5)
        assert "Sorry Not today" in repository.sync_status().reason
        assert f"({code})" in repository.sync_status().reason
        with pytest.raises(CacheNotSynced, match="Sorry Not today"):
            repository.list()
        assert len(hurried.slept_s) >= 4
        assert all(later >= 0.8 for later in hurried.slept_s)
        server.standing_faults.clear()
        await synced(repository, server)


@pytest.mark.parametrize("code", [200, 403, 410])
async def test_a_gateways_page_to_a_watch_does_not_empty_the_cache(
    make: MakeRepository, server: ApiServer, code: int
) -> None:
    async with make() as repository:
        await synced(repository, server)
        server.standing_faults.update(watch=paging(code), list=paging(code))
        server.watches[-1].abort()
        await until(lambda: "Sorry Not today" in repository.sync_status().reason)
        await server.until(lambda: server.count("list") >= 2)
        assert repository.get(WEB).replicas.desired == 1


async def test_a_gateways_410_is_no_expired_history(
    make: MakeRepository, server: ApiServer, hurried: HurriedTime
) -> None:
    """The API server's leads to a new list at once; a gateway's is waited out like all it says."""
    waits_before = []

    async def gone(reply: Reply) -> None:
        waits_before.append(len(hurried.slept_s))
        await paging(410)(reply)

    async with make() as repository:
        await synced(repository, server)
        await server.change(lambda c: c.scale("web", 2))
        await until(lambda: repository.get(WEB).replicas.desired == 2)
        server.standing_faults["watch"] = gone
        server.watches[-1].abort()
        await server.until(lambda: len(waits_before) >= 2)
    assert waits_before[0] < waits_before[1]


@pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def test_a_gateway_is_seen_through_on_either_event_loop(
    loop: Callable[[], asyncio.AbstractEventLoop], tmp_path: Path
) -> None:
    async def ask() -> list[str]:
        async with ApiServer().running() as server:
            config = ClusterConfig(kubeconfig=server.kubeconfig(tmp_path))
            async with KubernetesDeploymentRepository(config) as repository:
                await synced(repository, server)
                server.faults["patch"].extend([paging(307, Location="/elsewhere"), paging(200), paging(404)])
                told = []
                for _ in range(3):
                    with pytest.raises(ClusterUnrecognized) as caught:
                        await repository.set_replicas(WEB, 3)
                    told.append(str(caught.value))
                assert server.count("patch") == 3
                return told

    with asyncio.Runner(loop_factory=loop) as runner:
        redirect, login, missing = runner.run(ask())
    assert "(307): a redirect to /elsewhere" in redirect
    assert "(200): Sorry Not today" in login
    assert "(404): Sorry Not today" in missing


@pytest.mark.parametrize(
    ("fault", "error", "words"),
    [
        (paging(200), ClusterUnrecognized, "Sorry Not today"),
        (paging(302, Location="https://sso.example/x"), ClusterUnrecognized, "a redirect to https://sso.example/x"),
        (paging(403), ClusterUnrecognized, "Sorry Not today"),
        (paging(404), ClusterUnrecognized, "Sorry Not today"),
        (answering(404, b"404 page not found\n", Content_Type="text/plain"), ClusterUnrecognized, "page not found"),
        (paging(401), ClusterUnreachable, "kdm's credentials"),
        (paging(503), ClusterUnreachable, "Sorry Not today"),
        (refusing(403, "Forbidden", 'forbidden: User "kdm" cannot get path "/readyz"'), None, ""),
        (refusing(404, "NotFound", "the server could not find the requested resource"), None, ""),
        (answering(200, b"ok", Content_Type="text/plain; charset=utf-8"), None, ""),
        (answering(200, b"[+]ping ok\nreadyz check passed\n", Content_Type="text/plain"), None, ""),
        (answering(200, b""), None, ""),
    ],
)  # fmt: skip
async def test_a_probe_takes_no_gateways_page_for_the_cluster(
    make: MakeRepository, server: ApiServer, fault: Answer, error: type[KdmError] | None, words: str
) -> None:
    async with make() as repository:
        server.faults["get"].append(fault)
        if error is None:
            await repository.probe()
        else:
            with pytest.raises(error, match=words):
                await repository.probe()


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (paging(404), ClusterUnrecognized),
        (answering(200, b"<html>typed as JSON</html>"), ClusterUnrecognized),
        (refusing(403, "Forbidden", FORBIDDEN + CANNOT.replace("patch", "list") + HERE), WriteForbidden),
        (refusing(429, "TooManyRequests", "slow down"), ClusterOverloaded),
        (refusing(500, "InternalError", "oh"), ClusterUnreachable),
    ],
)
async def test_a_write_to_what_the_cache_lacks_tells_why_it_cannot_be_looked_up(
    make: MakeRepository, server: ApiServer, fault: Answer, error: type[KdmError]
) -> None:
    async with make() as repository:
        await synced(repository, server)
        server.faults["list"].append(fault)
        with pytest.raises(error, match="'shop/new' cannot be looked up"):
            await repository.set_replicas(DeploymentRef("shop", "new"), 3)
        assert server.count("patch") == 0


@pytest.mark.parametrize(
    ("user", "secrets"),
    [
        ({"token": "0paque-t0ken+with/odd=chars"}, ["0paque-t0ken"]),
        ({"token": "plainwordswithoutdigits"}, ["plainwordswithoutdigits"]),
        (
            {"username": "kdm", "password": "correct horse"},
            ["correct horse", base64.b64encode(b"kdm:correct horse").decode()],
        ),
    ],
)
async def test_a_page_that_echoes_the_credentials_does_not_tell_them_to_callers(
    server: ApiServer, tmp_path: Path, user: object, secrets: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever their form: what was sent is known."""
    server.standing_faults.update(watch=echoing, list=echoing)
    hurried = HurriedTime()
    config = ClusterConfig(kubeconfig=server.kubeconfig(tmp_path, user=user))
    async with KubernetesDeploymentRepository(config, clock=hurried.now, sleep=hurried.sleep) as repository:
        await until(lambda: "redacted" in repository.sync_status().reason)
        told = [repository.sync_status().reason, caplog.text]
        server.standing_faults.clear()
        await synced(repository, server)
        server.faults["patch"].append(echoing)
        with pytest.raises(ClusterUnrecognized) as caught:
            await repository.set_replicas(WEB, 3)
        told.append(str(caught.value))
    for text in told:
        assert "redacted" in text
        assert not [each for each in secrets if each in text]


@pytest.mark.parametrize(
    ("fault", "error", "renewed"),
    [
        (refusing(401, "Unauthorized", "Unauthorized"), ClusterUnreachable, True),
        (paging(401), ClusterUnreachable, True),
        (refusing(401, "Unauthorized", WEBHOOK + "who are you"), WriteInvalid, False),
        (refusing(401, "Unauthorized", FORBIDDEN + POLICY + "no", **ABOUT_WEB), WriteInvalid, False),
    ],
)
async def test_a_webhooks_401_does_not_renew_the_credentials(
    make: MakeRepository, server: ApiServer, monkeypatch: pytest.MonkeyPatch,
    fault: Answer, error: type[KdmError], renewed: bool,
) -> None:  # fmt: skip
    refusals = []
    refuse = Credentials.refuse

    def remember(credentials: Credentials) -> None:
        refusals.append(credentials)
        refuse(credentials)

    monkeypatch.setattr(Credentials, "refuse", remember)
    async with make() as repository:
        await synced(repository, server)
        server.faults["patch"].append(fault)
        with pytest.raises(error):
            await repository.set_replicas(WEB, 3)
    assert bool(refusals) is renewed


@pytest.mark.parametrize(
    ("header", "expected"),
    [("17", 17), ("Thu, 26 Nov 2026 12:00:21 GMT", 21), ("9" * 400, 120), ("soon", 1), ("-1", 1)],
)
async def test_a_wait_is_handed_on_in_either_form_and_within_bounds(
    make: MakeRepository, server: ApiServer, header: str, expected: int
) -> None:
    async with make() as repository:
        await synced(repository, server)
        fault = answering(429, b"slow down", Retry_After=header, Date="Thu, 26 Nov 2026 12:00:00 GMT")
        server.faults["patch"].append(fault)
        with pytest.raises(ClusterOverloaded) as caught:
            await repository.set_replicas(WEB, 3)
        assert caught.value.retry_after_s == expected


async def test_a_message_as_long_as_a_webhook_likes_is_understood_and_cut(
    make: MakeRepository, server: ApiServer
) -> None:
    async with make() as repository:
        await synced(repository, server)
        server.faults["patch"].append(refusing(404, "NotFound", WEBHOOK + "no " * 200_000))
        with pytest.raises(WriteInvalid, match="denied the request: no no") as caught:
            await repository.set_replicas(WEB, 3)
        assert len(str(caught.value)) < 2100


async def test_a_timeout_of_the_api_servers_comes_without_a_media_type(make: MakeRepository, server: ApiServer) -> None:
    """Its timeout filter writes the Status itself (pkg/server/filters/timeout.go)."""
    body = json.dumps(
        {"kind": "Status", "apiVersion": "v1", "code": 404, "message": "x", "details": ABOUT_WEB}
    ).encode()
    async with make() as repository:
        await synced(repository, server)
        server.faults["patch"].append(answering(404, body, Content_Type="text/plain; charset=utf-8"))
        with pytest.raises(DeploymentNotFound):
            await repository.set_replicas(WEB, 3)
