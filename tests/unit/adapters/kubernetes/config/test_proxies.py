"""The proxy is the one that kubectl would use: the tables are those of golang.org/x/net/http/httpproxy's own tests."""

from __future__ import annotations

import pytest

from kdm_adapters.kubernetes import InvalidClusterConfig
from kdm_adapters.kubernetes.config.proxies import configured_proxy, environment_proxy
from kdm_adapters.kubernetes.config.urls import Url, parse_url

NO_PROXY = (
    "foobar.com, .barbaz.net, *.wildcard.io, 192.168.1.1, 192.168.1.2:81, 192.168.1.3:80, 10.0.0.0/30, "
    "2001:db8::52:0:1, [2001:db8::52:0:2]:443, [2001:db8::52:0:3]:80, 2002:db8:a::45/64"
)


def url(text: str) -> Url:
    found = parse_url(text)
    assert found is not None
    return found


def proxy_for(server: str, **environ: str) -> str | None:
    found = environment_proxy(environ, url(server))
    return None if found is None else f"{found.scheme}://{found.authority}"


@pytest.mark.parametrize(
    ("environ", "server", "proxy"),
    [
        ({"HTTP_PROXY": "127.0.0.1:8080"}, "http://example.com", "http://127.0.0.1:8080"),
        ({"HTTP_PROXY": "cache.corp.example.com:1234"}, "http://example.com", "http://cache.corp.example.com:1234"),
        ({"HTTP_PROXY": "cache.corp.example.com"}, "http://example.com", "http://cache.corp.example.com"),
        ({"HTTP_PROXY": "localhost"}, "http://example.com", "http://localhost"),
        ({"HTTP_PROXY": "localhost:8080"}, "http://example.com", "http://localhost:8080"),
        ({"HTTP_PROXY": "https://127.0.0.1:8080"}, "http://example.com", "https://127.0.0.1:8080"),
        ({"HTTP_PROXY": "socks5://127.0.0.1"}, "http://example.com", "socks5://127.0.0.1"),
        ({"HTTP_PROXY": "http.proxy.tld", "HTTPS_PROXY": "secure.proxy.tld"}, "http://a.tld/", "http://http.proxy.tld"),
        (
            {"HTTP_PROXY": "http.proxy.tld", "HTTPS_PROXY": "secure.proxy.tld"},
            "https://a.tld/",
            "http://secure.proxy.tld",
        ),
        ({"HTTPS_PROXY": "https://secure.proxy.tld"}, "https://secure.tld/", "https://secure.proxy.tld"),
        ({"HTTP_PROXY": "http.proxy.tld"}, "https://secure.tld/", None),
        (
            {"HTTPS_PROXY": "https://secure.proxy.tld", "REQUEST_METHOD": "GET"},
            "https://a/",
            "https://secure.proxy.tld",
        ),
        ({}, "https://example.com", None),
        ({"ALL_PROXY": "proxy", "all_proxy": "proxy"}, "https://example.com", None),
        ({"https_proxy": "lower"}, "https://example.com", "http://lower"),
        ({"https_proxy": "lower", "HTTPS_PROXY": "upper"}, "https://example.com", "http://upper"),
        ({"https_proxy": "lower", "HTTPS_PROXY": ""}, "https://example.com", "http://lower"),
        ({"NO_PROXY": "example.com", "HTTP_PROXY": "proxy"}, "http://example.com/", None),
        ({"no_proxy": "example.com", "HTTP_PROXY": "proxy"}, "http://example.com/", None),
        ({"NO_PROXY": ".example.com", "HTTP_PROXY": "proxy"}, "http://example.com/", "http://proxy"),
        ({"NO_PROXY": "ample.com", "HTTP_PROXY": "proxy"}, "http://example.com/", "http://proxy"),
        ({"NO_PROXY": "example.com", "HTTP_PROXY": "proxy"}, "http://foo.example.com/", None),
        ({"NO_PROXY": "EXAMPLE.com", "HTTP_PROXY": "proxy"}, "http://example.COM/", None),
        ({"NO_PROXY": "example.com:81", "HTTP_PROXY": "proxy"}, "http://example.com/", "http://proxy"),
        ({"NO_PROXY": ".示例.com", "HTTP_PROXY": "proxy"}, "http://www.示例.com", None),
        ({"NO_PROXY": "xn--fsq092h.com", "HTTP_PROXY": "proxy"}, "http://www.示例.com", None),
        ({"NO_PROXY": "示例.com", "HTTP_PROXY": "proxy"}, "http://www.xn--fsq092h.com", None),
        ({"NO_PROXY": "example.com", "HTTP_PROXY": "proxy"}, "http://[1000::%25.example.com]:123", "http://proxy"),
        ({"NO_PROXY": ":1", "HTTP_PROXY": "proxy"}, "http://example.com:80", "http://proxy"),
        ({"NO_PROXY": "other, *", "HTTP_PROXY": "proxy"}, "http://example.com", None),
    ],
)
def test_the_environments_proxy_is_gos(environ: dict[str, str], server: str, proxy: str | None) -> None:
    assert proxy_for(server, **environ) == proxy


@pytest.mark.parametrize(
    ("host", "proxied"),
    [
        ("localhost", False), ("127.0.0.1", False), ("127.0.0.2", False), ("[::1]", False), ("[::2]", True),
        ("192.168.1.1", False), ("192.168.1.2", True), ("192.168.1.3", False), ("192.168.1.4", True),
        ("10.0.0.2", False), ("[2001:db8::52:0:1]", False), ("[2001:db8::52:0:2]", True),
        ("[2001:db8::52:0:3]", False), ("[2002:db8:a::123]", False), ("[fe80::424b:c8be:1643:a1b6]", True),
        ("[::ffff:192.168.1.1]", False), ("[::ffff:127.0.0.1]", False),
        ("barbaz.net", True), ("www.barbaz.net", False), ("foobar.com", False), ("www.foobar.com", False),
        ("foofoobar.com", True), ("baz.com", True), ("localhost.net", True), ("local.localhost", True),
        ("barbarbaz.net", True), ("wildcard.io", True), ("nested.wildcard.io", False), ("awildcard.io", True),
    ],
)  # fmt: skip
def test_no_proxy_excepts_what_it_excepts_in_go(host: str, proxied: bool) -> None:
    server = f"http://{host}:80"
    assert proxy_for(server, HTTP_PROXY="proxy", NO_PROXY=NO_PROXY) == ("http://proxy" if proxied else None)
    assert proxy_for(server, HTTP_PROXY="proxy", NO_PROXY="*") is None


@pytest.mark.parametrize(
    ("environ", "server", "message"),
    [
        ({"HTTP_PROXY": "http://10.1.2.3:8080", "REQUEST_METHOD": "GET"}, "http://example.com", "REQUEST_METHOD"),
        ({"HTTPS_PROXY": "foo://u:secret@host"}, "https://example.com", "HTTPS_PROXY is no proxy"),
        ({"https_proxy": "http://u:secret@[host"}, "https://example.com", "HTTPS_PROXY is no proxy"),
    ],
)
def test_an_environment_whose_proxy_cannot_be_used_is_refused(
    environ: dict[str, str], server: str, message: str
) -> None:
    with pytest.raises(InvalidClusterConfig, match=message) as caught:
        proxy_for(server, **environ)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "text", ["proxy:3128", "ftp://proxy", "socks4://proxy", "http://", "http://p:secret", "//p", "/"]
)
def test_a_proxy_url_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(InvalidClusterConfig, match="the cluster: proxy-url") as caught:
        configured_proxy(text, "the cluster")
    assert "secret" not in str(caught.value)


def test_a_proxys_user_and_password_are_decoded_and_never_shown() -> None:
    proxy = configured_proxy("http://me%40corp:p%3Aw@[2001:db8::1]:3128/ignored", "the cluster")
    assert (proxy.username, proxy.password, proxy.host, proxy.port) == ("me@corp", "p:w", "2001:db8::1", 3128)
    assert "p:w" not in repr(proxy)
