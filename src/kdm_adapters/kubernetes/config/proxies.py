"""Which proxy a connection goes through: the kubeconfig's ``proxy-url``, else the environment's, by Go's rules.

Go's are those of golang.org/x/net/http/httpproxy in Go 1.26, which kubectl v1.36 is built with: upper-case variables
win over lower-case ones, ``ALL_PROXY`` is not read, loopback is never proxied, and ``NO_PROXY`` holds addresses,
networks and domains, each but a network with a port if need be.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from typing import Final

from kdm_adapters.kubernetes.config.fields import InvalidClusterConfig
from kdm_adapters.kubernetes.config.urls import Url, parse_url

SCHEMES: Final = frozenset({"http", "https", "socks5"})
"""What ``proxy-url`` may begin with (client-go, ``parseProxyURL``)."""

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def configured_proxy(proxy_url: str, where: str) -> Url:
    """Return a cluster's own proxy.

    Args:
        proxy_url: The cluster's ``proxy-url``.
        where: What to name in an error.

    Raises:
        InvalidClusterConfig: It is none.
    """
    found = parse_url(proxy_url)
    if found is None:
        raise InvalidClusterConfig(f"{where}: proxy-url is not a URL such as http://proxy.example:3128")
    if found.scheme not in SCHEMES:
        raise InvalidClusterConfig(f"{where}: proxy-url must begin with http://, https:// or socks5://")
    return found


def environment_proxy(environ: Mapping[str, str], server: Url) -> Url | None:
    """Return the proxy that the environment has for a server, or None.

    Args:
        environ: The environment.
        server: The server's URL.

    Raises:
        InvalidClusterConfig: The environment names something that is no proxy.
    """
    variable = f"{server.scheme.upper()}_PROXY"
    text = _variable(environ, variable)
    if not text or not _is_proxied(server, _variable(environ, "NO_PROXY")):
        return None
    if server.scheme == "http" and environ.get("REQUEST_METHOD"):
        raise InvalidClusterConfig("HTTP_PROXY is not used where REQUEST_METHOD is set, as in CGI: unset one of them")
    found = parse_url(text if "://" in text else f"http://{text}")
    if found is None or found.scheme not in SCHEMES | {"socks5h"}:
        raise InvalidClusterConfig(
            f"{variable} is no proxy: it must be host:port, or begin with http://, https:// or socks5://"
        )
    return found


def _variable(environ: Mapping[str, str], name: str) -> str:
    return environ.get(name) or environ.get(name.lower()) or ""


def _is_proxied(server: Url, no_proxy: str) -> bool:
    host, port = _ascii(server.host), server.effective_port
    address = _address(host)
    if host == "localhost" or (address is not None and address.is_loopback):
        return False
    host = host.strip().lower()
    return not any(_matches(each.strip().lower(), host, str(port), address) for each in no_proxy.split(","))


def _matches(rule: str, host: str, port: str, address: _Address | None) -> bool:
    if rule == "*":
        return True
    network = _network(rule)
    if network is not None:
        return address is not None and address in network
    rule_host, rule_port = _split_port(rule)
    if not rule_host:
        return False
    if (rule_address := _address(rule_host, zone=False)) is not None:
        return rule_address == address and rule_port in {"", port}
    rule_host = rule_host[1:] if rule_host.startswith("*.") else rule_host
    suffix = _ascii(rule_host if rule_host.startswith(".") else f".{rule_host}")
    whole = not rule_host.startswith(".") and host == suffix[1:]
    return address is None and (host.endswith(suffix) or whole) and rule_port in {"", port}


def _split_port(rule: str) -> tuple[str, str]:
    """Return a rule's host and port, as Go's ``net.SplitHostPort`` splits it: all of it is the host if it cannot."""
    if rule.startswith("["):
        host, bracket, port = rule[1:].partition("]")
        return (host, port[1:]) if bracket and port.startswith(":") and port.count(":") == 1 else (rule, "")
    host, colon, port = rule.partition(":")
    return (host, port) if colon and ":" not in port else (rule, "")


def _network(rule: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    address, slash, length = rule.partition("/")
    if not slash or not (length.isascii() and length.isdecimal()):
        return None
    try:
        return ipaddress.ip_network(f"{address}/{length}", strict=False)
    except ValueError:
        return None


def _address(text: str, *, zone: bool = True) -> _Address | None:
    """Return an IP address, if it is one; an IPv4 address mapped into IPv6 as IPv4."""
    try:
        found = ipaddress.ip_address(text.partition("%")[0] if zone else text)
    except ValueError:
        return None
    return (found.ipv4_mapped if isinstance(found, ipaddress.IPv6Address) else None) or found


def _ascii(host: str) -> str:
    if host.isascii():
        return host
    try:
        return ".".join(label.encode("idna").decode() if label else "" for label in host.split("."))
    except UnicodeError:
        return host
