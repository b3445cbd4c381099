"""Proxies: named by the cluster, or by the environment as Go reads it."""

from __future__ import annotations

from typing import Any, Final

from integration.kubeconfigs.case import CLUSTER, Case, case
from integration.kubeconfigs.table.reasons import PROXY_NAME, UNKNOWN_PROXY, WITHIN

FAR: Final = "https://cluster.test:{{main}}"
"""A name that only the proxies here know."""

NOWHERE: Final = "0.0.0.0"  # noqa: S104 - connected to, not bound
NEAR: Final = f"https://{NOWHERE}:{{{{main}}}}"
"""Leads to loopback without being a loopback address, for which the environment's proxies are never used."""

UNKNOWN: Final = f"https://{'x' * 64}.cluster.test:{{{{main}}}}"
"""A name with a label too long for the DNS: whoever does not use the proxy gets nowhere, and asks nobody."""

PROXY: Final = "http://127.0.0.1:{{proxy}}"


def to(server: str, proxy: str | None = None, **more: Any) -> dict[str, Any]:
    """Return a cluster."""
    named = {"tls-server-name": "other.test"} if server == UNKNOWN else {}
    return {**CLUSTER, "server": server} | ({} if proxy is None else {"proxy-url": proxy}) | named | more


def near(claim: str, without: str | None, **environ: str) -> Case:
    """Return a case of NO_PROXY for an address."""
    return case(claim, cluster=to(NEAR), environ={"HTTPS_PROXY": PROXY, "NO_PROXY": without, **environ})


def unknown(claim: str, without: str) -> Case:
    """Return a case of NO_PROXY for a name."""
    return case(claim, cluster=to(UNKNOWN), environ={"HTTPS_PROXY": PROXY, "NO_PROXY": without})


PLAIN: Final = {"server": "http://0.0.0.0:{{plain}}"}
BY_CERTIFICATE: Final = {"client-certificate": "pki/alice.crt", "client-key": "pki/alice.key"}

CASES: Final[tuple[Case, ...]] = (
    case("proxy-url: http", cluster=to(FAR, PROXY)),
    case("proxy-url: http, to loopback", cluster=to(CLUSTER["server"], PROXY)),
    case("proxy-url: http, with a password", cluster=to(FAR, "http://u:p%40ss@127.0.0.1:{{proxy}}")),
    case("proxy-url: http, with a name alone", cluster=to(FAR, "http://u@127.0.0.1:{{proxy}}")),
    case("proxy-url: http, with a path", cluster=to(FAR, f"{PROXY}/there?a=b")),
    case("proxy-url: http, in capitals", cluster=to(FAR, "HTTP://127.0.0.1:{{proxy}}")),
    case(
        "proxy-url: http, for a server over http",
        cluster={"server": "http://127.0.0.1:{{plain}}", "proxy-url": PROXY},
        user=BY_CERTIFICATE,
    ),
    case(
        "proxy-url: http, for a server over http, and a token",
        cluster={"server": "http://127.0.0.1:{{plain}}", "proxy-url": PROXY},
        differs=WITHIN,
    ),
    case("proxy-url: https", cluster=to(FAR, "https://127.0.0.1:{{tls_proxy}}")),
    case("proxy-url: https, with a password", cluster=to(FAR, "https://u:p@127.0.0.1:{{tls_proxy}}")),
    case(
        "proxy-url: https, another CA than the proxy's",
        cluster=to(
            "https://127.0.0.1:{{stranger}}",
            "https://127.0.0.1:{{tls_proxy}}",
            **{"certificate-authority": "pki/stranger-ca.crt"},
        ),
    ),
    case(
        "proxy-url: https, another name than the proxy's for the server",
        cluster=to(FAR, "https://127.0.0.1:{{tls_proxy}}", **{"tls-server-name": "foreign.test"}),
        differs=PROXY_NAME,
    ),
    case(
        "proxy-url: https, another name for the server, which the proxy has as well",
        cluster=to(FAR, "https://127.0.0.1:{{tls_proxy}}", **{"tls-server-name": "other.test"}),
        differs=PROXY_NAME,
    ),
    case(
        "proxy-url: https, a client certificate",
        cluster=to(FAR, "https://127.0.0.1:{{tls_proxy}}"),
        user=BY_CERTIFICATE,
    ),
    case("proxy-url: socks5", cluster=to(FAR, "socks5://127.0.0.1:{{socks}}")),
    case("proxy-url: socks5, with a password", cluster=to(FAR, "socks5://u:p@127.0.0.1:{{socks}}")),
    case("proxy-url: socks5, to an address", cluster=to(NEAR, "socks5://127.0.0.1:{{socks}}")),
    case("proxy-url: socks5h", cluster=to(FAR, "socks5h://127.0.0.1:{{socks}}")),
    case("proxy-url: socks4", cluster=to(FAR, "socks4://127.0.0.1:{{socks}}")),
    case("proxy-url: an unknown scheme", cluster=to(FAR, "ftp://127.0.0.1:{{proxy}}")),
    case("proxy-url: no scheme", cluster=to(FAR, "127.0.0.1:{{proxy}}")),
    case("proxy-url: no scheme, a name", cluster=to(FAR, "localhost:{{proxy}}")),
    case("proxy-url: no host", cluster=to(FAR, "http://")),
    case("proxy-url: nobody listens", cluster=to(FAR, "http://127.0.0.1:1")),
    case("proxy-url: a proxy that speaks TLS, asked in clear", cluster=to(FAR, "http://127.0.0.1:{{tls_proxy}}")),
    case("proxy-url: http to a SOCKS port", cluster=to(FAR, "http://127.0.0.1:{{socks}}")),
    case("proxy-url wins over the environment", cluster=to(FAR, PROXY), environ={"HTTPS_PROXY": "http://127.0.0.1:1"}),
    case("proxy-url does not heed NO_PROXY", cluster=to(FAR, PROXY), environ={"NO_PROXY": "*"}),
    case("an empty proxy-url leaves it to the environment", cluster=to(FAR, ""), environ={"HTTPS_PROXY": PROXY}),
    case("proxy-url and another name", cluster=to(FAR, PROXY, **{"tls-server-name": "other.test"})),
    case("proxy-url, a client certificate", cluster=to(FAR, PROXY), user=BY_CERTIFICATE),
    case("HTTPS_PROXY", cluster=to(FAR), environ={"HTTPS_PROXY": PROXY}),
    case("https_proxy", cluster=to(FAR), environ={"https_proxy": PROXY}),
    case(
        "HTTPS_PROXY and https_proxy",
        cluster=to(FAR),
        environ={"HTTPS_PROXY": PROXY, "https_proxy": "http://127.0.0.1:1"},
    ),
    case("an empty HTTPS_PROXY and https_proxy", cluster=to(NEAR), environ={"HTTPS_PROXY": "", "https_proxy": PROXY}),
    case("HTTPS_PROXY without a scheme", cluster=to(FAR), environ={"HTTPS_PROXY": "127.0.0.1:{{proxy}}"}),
    case("HTTPS_PROXY without a scheme, a name", cluster=to(FAR), environ={"HTTPS_PROXY": "localhost:{{proxy}}"}),
    case("HTTPS_PROXY with a password", cluster=to(FAR), environ={"HTTPS_PROXY": "http://u:p@127.0.0.1:{{proxy}}"}),
    case("HTTPS_PROXY: https", cluster=to(FAR), environ={"HTTPS_PROXY": "https://127.0.0.1:{{tls_proxy}}"}),
    case("HTTPS_PROXY: socks5", cluster=to(FAR), environ={"HTTPS_PROXY": "socks5://127.0.0.1:{{socks}}"}),
    case(
        "HTTPS_PROXY: an unknown scheme",
        cluster=to(FAR),
        environ={"HTTPS_PROXY": "ftp://127.0.0.1:{{proxy}}"},
        differs=UNKNOWN_PROXY,
    ),
    case("HTTPS_PROXY that cannot be read", cluster=to(NEAR), environ={"HTTPS_PROXY": "http://[::1"}),
    case("HTTP_PROXY is not for https", cluster=to(NEAR), environ={"HTTP_PROXY": PROXY}),
    case("ALL_PROXY is not heeded", cluster=to(NEAR), environ={"ALL_PROXY": PROXY, "all_proxy": PROXY}),
    case("HTTPS_PROXY is not for loopback", environ={"HTTPS_PROXY": PROXY}),
    case("HTTPS_PROXY is not for localhost", cluster=to("https://localhost:{{main}}"), environ={"HTTPS_PROXY": PROXY}),
    case("HTTPS_PROXY is not for ::1", cluster=to("https://[::1]:{{v6}}"), environ={"HTTPS_PROXY": PROXY}),
    case("HTTP_PROXY for a server over http", cluster=PLAIN, user=BY_CERTIFICATE, environ={"HTTP_PROXY": PROXY}),
    case(
        "HTTP_PROXY in a CGI script",
        cluster=PLAIN,
        user=BY_CERTIFICATE,
        environ={"HTTP_PROXY": PROXY, "REQUEST_METHOD": "GET"},
    ),
    case("HTTPS_PROXY is not for http", cluster=PLAIN, user=BY_CERTIFICATE, environ={"HTTPS_PROXY": PROXY}),
    near("NO_PROXY: an address", NOWHERE),
    near("NO_PROXY: another address", "10.0.0.1"),
    near("NO_PROXY: a network", "10.0.0.0/8, 0.0.0.0/8"),
    near("NO_PROXY: another network", "10.0.0.0/8"),
    near("NO_PROXY: an address and its port", "0.0.0.0:{{main}}"),
    near("NO_PROXY: an address and another port", "0.0.0.0:1"),
    near("NO_PROXY: everything", "*"),
    near("NO_PROXY: everything, among others", "example.test , *"),
    near("NO_PROXY: an asterisk within", "0.*"),
    near("NO_PROXY is empty", ""),
    near("no_proxy", None, no_proxy=NOWHERE),
    near("NO_PROXY and no_proxy", "10.0.0.1", no_proxy=NOWHERE),
    near("an empty NO_PROXY and no_proxy", "", no_proxy=NOWHERE),
    near("NO_PROXY: separated by spaces", "10.0.0.1 0.0.0.0"),
    near("NO_PROXY: separated by semicolons", "10.0.0.1;0.0.0.0"),
    near("NO_PROXY: a URL", "https://0.0.0.0"),
    unknown("NO_PROXY: a domain is for names below it", "cluster.test"),
    unknown("NO_PROXY: a domain with a dot", ".cluster.test"),
    unknown("NO_PROXY: a domain with an asterisk", "*.cluster.test"),
    unknown("NO_PROXY: a domain in capitals", "Cluster.Test"),
    unknown("NO_PROXY: the end of a label", "uster.test"),
    unknown("NO_PROXY: a domain and its port", "cluster.test:{{main}}"),
    unknown("NO_PROXY: a domain and another port", "cluster.test:443"),
    case(
        "NO_PROXY: a domain with a dot is not for the domain itself",
        cluster=to(FAR),
        environ={"HTTPS_PROXY": PROXY, "NO_PROXY": ".cluster.test"},
    ),
    case(
        "NO_PROXY: an address in IPv6",
        cluster=to("https://[::]:{{v6}}"),
        environ={"HTTPS_PROXY": PROXY, "NO_PROXY": "::"},
    ),
    case(
        "NO_PROXY: an address in IPv6 with brackets",
        cluster=to("https://[::]:{{v6}}"),
        environ={"HTTPS_PROXY": PROXY, "NO_PROXY": "[::]"},
    ),
    case(
        "NO_PROXY: an address and port in IPv6",
        cluster=to("https://[::]:{{v6}}"),
        environ={"HTTPS_PROXY": PROXY, "NO_PROXY": "[::]:{{v6}}"},
    ),
    case(
        "NO_PROXY: a network in IPv6",
        cluster=to("https://[::]:{{v6}}"),
        environ={"HTTPS_PROXY": PROXY, "NO_PROXY": "::/64"},
    ),
)
