"""The page's files as the API serves them, and what a page of another origin may not do."""

from __future__ import annotations

import gzip
import re
from pathlib import Path

import httpx
import pytest

from kdm_http.page import files
from kdm_http.page.files import GUARDS, page, takes_gzip

STATIC = Path(files.__file__).parent / "static"
WIRE_BYTES = 60_000
WRITES = [
    ("PUT", "/api/v2/namespaces/default/deployments/nginx-deployment/replicas", {"replicas": 4}),
    ("POST", "/api/v2/namespaces/default/deployments/nginx-deployment/adjust", {"delta": 1}),
    ("POST", "/deployments/nginx-deployment/replicas", {"replicaCount": 4}),
    ("PUT", "/api/v1/deployments/nginx-deployment/replicas", {"replicaCount": 4}),
]


async def test_the_index_names_files_whose_urls_change_with_them(client: httpx.AsyncClient) -> None:
    index = await client.get("/ui")
    assert index.headers["content-type"] == "text/html; charset=utf-8"
    assert index.headers["cache-control"] == "private, no-cache"
    named = re.findall(r'(?:src|href)="(/[^"]+)"', index.text)
    assert {name.rpartition("/")[2] for name in named} == {path.name for path in STATIC.iterdir()} - {"index.html"}
    for name in named:
        found = await client.get(name)
        assert found.status_code == 200, name
        assert found.headers["cache-control"] == "private, max-age=31536000, immutable", name
        assert name.split("/")[2] == page().directory


async def test_a_file_of_another_version_of_the_page_is_not_there(client: httpx.AsyncClient) -> None:
    missing = await client.get("/ui/0123456789abcdef/app.js")
    assert missing.status_code == 404
    assert missing.json()["code"] == "no-such-route"
    assert (await client.get(f"/ui/{page().directory}/files.py")).status_code == 404
    assert (await client.get(f"/ui/{page().directory}/..%2ffiles.py")).status_code in {400, 404}


async def test_every_file_is_guarded_by_the_same_header_fields(client: httpx.AsyncClient) -> None:
    assert GUARDS[b"content-security-policy"].decode() == (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    for path in ("/ui", *(f"/ui/{page().directory}/{name}" for name in page().assets)):
        answer = await client.get(path)
        for name, value in GUARDS.items():
            assert answer.headers[name.decode()] == value.decode(), path
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize("accepted", ["gzip, deflate, br", "identity", "gzip;q=0"])
async def test_a_file_has_a_tag_for_each_of_its_two_forms(client: httpx.AsyncClient, accepted: str) -> None:
    for path in ("/ui", f"/ui/{page().directory}/app.js"):
        fields = {"accept-encoding": accepted}
        whole = await client.get(path, headers=fields)
        compressed = accepted.startswith("gzip,")
        assert whole.headers.get("content-encoding") == ("gzip" if compressed else None)
        assert whole.headers["vary"] == "accept-encoding"
        assert whole.headers["etag"].endswith('-gzip"') == compressed
        again = await client.get(path, headers={**fields, "if-none-match": whole.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")
        assert again.headers["etag"] == whole.headers["etag"]
        assert "content-encoding" not in again.headers


def test_gzip_is_taken_only_where_it_is_named() -> None:
    assert takes_gzip("gzip")
    assert takes_gzip("br, GZIP;q=0.5")
    assert not takes_gzip("")
    assert not takes_gzip("br")
    assert not takes_gzip("x-gzipped")
    assert not takes_gzip("gzip; q=0")
    assert not takes_gzip("*")


def test_a_browser_that_has_nothing_gets_the_whole_page_in_less_than_60_kb() -> None:
    found = page()
    assert found.wire_bytes < WIRE_BYTES
    for asset in (found.index, *found.assets.values()):
        assert gzip.decompress(asset.gzipped) == asset.body


def test_the_page_loads_nothing_from_elsewhere_and_makes_no_markup_of_strings() -> None:
    for path in STATIC.iterdir():
        text = path.read_text(encoding="utf-8")
        hosts = set(re.findall(r"https?://([^/\"'\s]+)", text))
        assert hosts <= {"www.w3.org"}, path  # the name of a namespace, not a place
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|style=|<script>", text), (
            path
        )


@pytest.mark.parametrize(("method", "path", "body"), WRITES)
@pytest.mark.parametrize(
    "fields",
    [
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"sec-fetch-site": "none"},
        {"origin": "https://elsewhere.test"},
        {"origin": "http://kdm.test"},
        {"origin": "https://kdm.test:444"},
        {"origin": "null"},
        {"origin": "https://elsewhere.test", "sec-fetch-site": "same-origin"},
    ],
)
async def test_a_page_of_another_origin_changes_nothing(
    client: httpx.AsyncClient, method: str, path: str, body: dict[str, int], fields: dict[str, str]
) -> None:
    refused = await client.request(method, path, json=body, headers=fields)
    assert refused.status_code == 403
    assert "another origin" in refused.text
    if path.startswith("/api/v2"):
        assert refused.json()["code"] == "cross-origin"
        assert refused.json()["written"] is False
    found = await client.get("/api/v2/namespaces/default/deployments/nginx-deployment/replicas")
    assert found.json()["replicas"]["desired"] == 3


@pytest.mark.parametrize(("method", "path", "body"), WRITES)
@pytest.mark.parametrize("fields", [{}, {"origin": "https://KDM.test", "sec-fetch-site": "same-origin"}])
async def test_our_own_page_and_programs_may_change_something(
    client: httpx.AsyncClient, method: str, path: str, body: dict[str, int], fields: dict[str, str]
) -> None:
    assert (await client.request(method, path, json=body, headers=fields)).status_code == 200


@pytest.mark.parametrize("media_type", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""])
async def test_a_form_of_another_page_is_no_write(client: httpx.AsyncClient, media_type: str) -> None:
    """What a browser sends without asking first is not JSON."""
    method, path, _ = WRITES[0]
    refused = await client.request(method, path, content=b'{"replicas": 4}', headers={"content-type": media_type})
    assert refused.status_code == 415


async def test_nobody_is_allowed_to_ask_from_another_origin(client: httpx.AsyncClient) -> None:
    """A preflight request (Fetch, section 4.8) is answered without the fields that would allow anything."""
    method, path, _ = WRITES[0]
    fields = {"origin": "https://elsewhere.test", "access-control-request-method": method}
    answer = await client.options(path, headers=fields)
    assert not [name for name in answer.headers if name.startswith("access-control-")]
