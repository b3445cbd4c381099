"""Where a kdm is and how to reach it: its URL, the files of the client certificate, and a proxy."""

from __future__ import annotations

import os
import ssl
from collections.abc import Mapping
from typing import Final, NamedTuple
from urllib.parse import unquote, urlsplit

from kdm_core.errors import InvalidInput

DEFAULT_PORT: Final = 443


class InvalidAccess(InvalidInput):
    """What says how to reach a kdm makes no sense: its URL, a file of the client certificate, or a proxy."""


class Address(NamedTuple):
    """Where a kdm is.

    Attributes:
        host: Its host name or address, without brackets.
        port: Its port.
        prefix: What its paths begin with; "" by default.
    """

    host: str
    port: int
    prefix: str = ""

    @property
    def authority(self) -> str:
        """The host and the port, as a URL has them."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class Proxy(NamedTuple):
    """An HTTP proxy, which is asked to CONNECT.

    Attributes:
        host: Its host name or address.
        port: Its port.
        user: Who asks; "" where it wants nobody's name.
        password: The password. It is in no message.
    """

    host: str
    port: int
    user: str = ""
    password: str = ""


class Access(NamedTuple):
    """How to reach a kdm.

    Attributes:
        server: Its URL: ``https://kdm.example:8443``.
        ca: The file of the CAs that its certificate may be from; None for those that the machine trusts.
        cert: The file of the client certificate, with what it needs to be verified; None for none.
        key: The file of its key; None where it is in the same file.
    """

    server: str
    ca: str | os.PathLike[str] | None = None
    cert: str | os.PathLike[str] | None = None
    key: str | os.PathLike[str] | None = None

    def address(self) -> Address:
        """Return where the kdm is.

        Raises:
            InvalidAccess: The URL makes no sense.
        """
        wanted = "it must be like https://kdm.example:8443"
        try:
            found = urlsplit(self.server)
            port = found.port
        except ValueError:
            raise InvalidAccess(f"the server's URL cannot be read: {wanted}") from None
        if found.scheme != "https":
            raise InvalidAccess(f"the server's URL must begin with https://: {wanted}")
        if "@" in found.netloc or found.query or found.fragment or not found.hostname:
            raise InvalidAccess(f"the server's URL has a host, a port and perhaps a path, and nothing else: {wanted}")
        try:
            found.hostname.encode("idna")
        except UnicodeError:
            raise InvalidAccess(f"the server's URL has no host name that could exist: {wanted}") from None
        if not found.hostname.isprintable() or " " in found.hostname:
            raise InvalidAccess(f"the server's URL has no host name that could exist: {wanted}")
        return Address(found.hostname, DEFAULT_PORT if port is None else port, found.path.rstrip("/"))

    def tls_context(self) -> ssl.SSLContext:
        """Return a context with the files as they are now.

        Raises:
            InvalidAccess: One of them cannot be read, or is not what it should be.
        """
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols(["http/1.1"])
        if self.ca is None:
            context.load_default_certs()
        else:
            readable("CA", self.ca)
            try:
                context.load_verify_locations(self.ca)
            except (ssl.SSLError, ValueError):
                raise InvalidAccess(f"the CA file {os.fspath(self.ca)} has no certificate in PEM") from None
        if self.cert is None:
            if self.key is not None:
                raise InvalidAccess("a key is named, and no client certificate: name both")
            return context
        readable("certificate", self.cert)
        if self.key is not None:
            readable("key", self.key)
        self._load_pair(context, self.cert)
        return context

    def _load_pair(self, context: ssl.SSLContext, cert: str | os.PathLike[str]) -> None:
        named = f"the client certificate {os.fspath(cert)} and its key {os.fspath(self.key or cert)}"

        def no_password() -> str:  # without it OpenSSL would ask on the terminal
            raise InvalidAccess(f"{named}: the key is encrypted; kdm needs one that is not")

        try:
            context.load_cert_chain(cert, self.key, no_password)
        except ssl.SSLError as error:
            if error.reason == "KEY_VALUES_MISMATCH":
                raise InvalidAccess(f"{named} do not belong together") from None
            raise InvalidAccess(f"{named}: one of them is not what it should be, in PEM") from None


def readable(what: str, path: str | os.PathLike[str]) -> None:
    """Check that a file can be read.

    Raises:
        InvalidAccess: It cannot.
    """
    try:
        with open(path, "rb"):  # noqa: PTH123 - pathlib costs a command a few milliseconds
            pass
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or "not a path"
        raise InvalidAccess(f"the {what} file {os.fspath(path)} cannot be read: {why}") from None


def proxy_for(address: Address, environ: Mapping[str, str] = os.environ) -> Proxy | None:
    """Return the proxy that the environment has for a server: ``HTTPS_PROXY``, but for what ``NO_PROXY`` names.

    As kubectl has it, loopback is never proxied, and upper-case names win. Of the kinds of proxy, HTTP is supported.

    Raises:
        InvalidAccess: It names something else.
    """
    text = environ.get("HTTPS_PROXY") or environ.get("https_proxy") or ""
    if not text:
        return None
    no_proxy = environ.get("NO_PROXY") or environ.get("no_proxy") or ""
    if _is_loopback(address.host) or _is_excepted(address, no_proxy):
        return None
    wrong = InvalidAccess("HTTPS_PROXY is no proxy that kdm supports: it must be like http://proxy.example:3128")
    try:
        found = urlsplit(text if "://" in text else f"http://{text}")
        port = found.port or 80
    except ValueError:
        raise wrong from None
    if found.scheme != "http" or not found.hostname:
        raise wrong
    return Proxy(found.hostname, port, unquote(found.username or ""), unquote(found.password or ""))


def _is_loopback(host: str) -> bool:
    return host in {"localhost", "::1"} or (host.startswith("127.") and host.replace(".", "").isdigit())


def _is_excepted(address: Address, no_proxy: str) -> bool:
    host = address.host.lower()
    for each in no_proxy.lower().split(","):
        rule = each.strip()
        if rule == "*":
            return True
        if "/" in rule:
            if _is_within(host, rule):
                return True
            continue
        if rule.count(":") == 1:
            rule, _, port = rule.partition(":")
            if port != str(address.port):
                continue
        rule = rule.removeprefix("*").strip("[]")
        if rule and (host == rule.lstrip(".") or host.endswith("." + rule.lstrip("."))):
            return True
    return False


def _is_within(host: str, network: str) -> bool:
    import ipaddress  # noqa: PLC0415 - few have a network in NO_PROXY

    try:
        return ipaddress.ip_address(host) in ipaddress.ip_network(network, strict=False)
    except ValueError:
        return False
