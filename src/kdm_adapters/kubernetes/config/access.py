"""From a kubeconfig's context, or a Pod's service account, to what a connection needs. Reads files; runs nothing.

The rules are those of client-go v0.36.3, ``tools/clientcmd/validation.go``, ``client_config.go`` and ``transport``.
Deliberate differences are in docs/adr/0014-kubeconfig.md.
"""

from __future__ import annotations

import base64
import ipaddress
import posixpath
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final
from urllib.parse import quote, unquote

from attrs import evolve, field, frozen

from kdm_adapters.kubernetes.config.exec_plugin import Minted, exec_info
from kdm_adapters.kubernetes.config.fields import InvalidClusterConfig
from kdm_adapters.kubernetes.config.kubeconfig import Cluster, Exec, User
from kdm_adapters.kubernetes.config.proxies import configured_proxy, environment_proxy
from kdm_adapters.kubernetes.config.tls_context import Tls, UnusableCertificate, authorities, client_certificate
from kdm_adapters.kubernetes.config.urls import Url, parse_url
from kdm_adapters.kubernetes.config.validation import check_cluster, check_user
from kdm_core import regular_file

Headers = tuple[tuple[str, str], ...]

_TOKEN_CHARACTER: Final = re.compile(rb"[A-Za-z0-9!#$&'*+.^_`|~-]")  # RFC 9110's token, without the % that escapes


@frozen
class Endpoint:
    """Where connections go and how they are made. Connections of equal endpoints are interchangeable.

    Attributes:
        server: The API server's URL without a trailing slash; a path is a prefix of every request's.
        tls: Its TLS; None for plain HTTP.
        proxy: The proxy in between, if any.
        compression: Whether answers may be compressed.
    """

    server: str
    tls: Tls | None
    proxy: Url | None = field(default=None, repr=False)
    compression: bool = True


@frozen
class Access:
    """An endpoint and the headers that say who asks."""

    endpoint: Endpoint
    headers: Headers = field(default=(), repr=False)


@frozen
class Plan:
    """What a configuration asks for: access at once, or once a plugin has given its part.

    Attributes:
        access: All that is known without the plugin.
        plugin: The plugin to run; None for none.
        info: What the plugin is given.
        files: The files that all this was read from.
        secrets: What must not be shown.
        plugin_secrets: What only the plugin is given. It may print that; what the cluster says cannot hold it.
        where: How errors name the user.
    """

    access: Access
    plugin: Exec | None = None
    info: str = field(default="", repr=False)
    files: tuple[str, ...] = ()
    secrets: tuple[str, ...] = field(default=(), repr=False)
    plugin_secrets: tuple[str, ...] = field(default=(), repr=False)
    where: str = ""


def plan_kubeconfig(cluster: Cluster, user: User, environ: Mapping[str, str]) -> Plan:
    """Return what a context's cluster and user ask for.

    Args:
        cluster: The cluster.
        user: The user.
        environ: The environment, for its proxies.

    Raises:
        InvalidClusterConfig: kubectl would refuse it, or kdm does.
    """
    cluster_where = f"kubeconfig {cluster.origin}: cluster {cluster.name!r}"
    user_where = f"kubeconfig {user.origin}: user {user.name!r}"
    check_cluster(cluster, cluster_where)
    check_user(user, user_where)
    server = _server(cluster.server, cluster_where)
    proxy = configured_proxy(cluster.proxy_url, cluster_where) if cluster.proxy_url else None
    bundle = _authority_bundle(cluster, cluster_where)
    tls = _tls(cluster, user, _tls_name(server, cluster.tls_server_name), bundle, cluster_where, user_where)
    authorization = _authorization(user, user_where)
    plugin = None if authorization or tls.certificate else user.exec
    headers = (*authorization, *_impersonation(user, user_where))
    proxy = proxy or environment_proxy(environ, server)
    if server.scheme == "https":
        if not (authorization or plugin or tls.certificate):
            raise InvalidClusterConfig(f"{user_where}: has no credentials: kubectl would ask for a user name here")
    elif (headers or plugin) and not all(_is_loopback(each.host) for each in (server, proxy) if each is not None):
        raise InvalidClusterConfig(
            f"{cluster_where}: server must begin with https://, as the user has credentials: "
            "kdm sends none in clear text, except within this machine"
        )
    endpoint = Endpoint(server.base, tls if server.scheme == "https" else None, proxy, not cluster.disable_compression)
    used = [cluster.certificate_authority, user.client_certificate, user.client_key, user.token_file]
    return Plan(
        Access(endpoint, headers),
        plugin,
        exec_info(plugin, cluster, _as_client_go_writes(cluster.server), bundle) if plugin else "",
        tuple(each for each in used if each),
        tuple(_secrets(cluster, user, endpoint.proxy, headers)),
        tuple(_plugin_secrets(plugin)) if plugin else (),
        user_where,
    )


def plan_service_account(host: str, token: str, bundle: bytes, environ: Mapping[str, str]) -> Plan:
    """Return what a Pod's service account asks for.

    Args:
        host: The API server's URL.
        token: The service account's token.
        bundle: The certificates of its authority, in PEM.
        environ: The environment, for its proxies.

    Raises:
        InvalidClusterConfig: It makes no sense.
    """
    where = "the service account"
    url = parse_url(host)
    if url is None:
        raise InvalidClusterConfig("KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT make no URL")
    try:
        tls = Tls(authorities(bundle), server_name=_tls_name(url))
    except UnusableCertificate as error:
        raise InvalidClusterConfig(f"{where}: ca.crt {error}") from None
    headers = (("Authorization", _header(f"Bearer {token.strip()}", where, "token")),)
    return Plan(
        Access(Endpoint(url.base, tls, environment_proxy(environ, url)), headers), secrets=(token,), where=where
    )


def minted_access(plan: Plan, minted: Minted) -> Access:
    """Return a plan's access with what its plugin gave.

    Raises:
        InvalidClusterConfig: It cannot be used.
    """
    where = f"{plan.where}: exec"
    endpoint, headers = plan.access.endpoint, plan.access.headers
    if minted.token:
        headers = (("Authorization", _header(f"Bearer {minted.token}", where, "token")), *headers)
    if minted.certificate and endpoint.tls is not None:
        certificate, key = _pair(minted.certificate.encode(), minted.key.encode(), where)
        endpoint = evolve(endpoint, tls=evolve(endpoint.tls, certificate=certificate, key=key))
    return Access(endpoint, headers)


def _server(text: str, where: str) -> Url:
    """Return the server's URL. Without a scheme it is plain HTTP, as for kubectl (``rest.DefaultServerURL``)."""
    url = parse_url(text)
    if url is None:
        url = parse_url(f"http://{text}")
        if url is None or url.path not in {"", "/"}:
            raise InvalidClusterConfig(f"{where}: server is not a URL such as https://host:6443")
    if url.scheme not in {"http", "https"}:
        raise InvalidClusterConfig(f"{where}: server must begin with https:// or http://")
    if url.username is not None:
        raise InvalidClusterConfig(f"{where}: server holds a user name: put it into the user's entry")
    if "#" in url.rest:
        raise InvalidClusterConfig(f"{where}: server holds a #")
    return evolve(url, path=_clean(url.path), rest="")


def _clean(path: str) -> str:
    """Return a path prefix as client-go joins it to the API's paths: without empty parts, dots and needless escapes."""
    return quote(posixpath.normpath(f"/{unquote(path).strip('/')}"), safe="/$&+,:;=@~").rstrip("/")


def _as_client_go_writes(text: str) -> str:
    """Return the server as a plugin gets it: as it stands, but with a path prefix without query and fragment."""
    url = parse_url(text)
    return f"{url.scheme}://{url.authority}{url.path}" if url is not None and len(url.path) > 1 else text


def _authority_bundle(cluster: Cluster, where: str) -> bytes:
    if not cluster.certificate_authority:
        return cluster.certificate_authority_data
    return _read(cluster.certificate_authority, f"{where}: certificate-authority")


def _tls_name(server: Url, named: str = "") -> str:
    """Return the name that a certificate must hold, where it is not the host's as it stands.

    No certificate has the dot that ends an absolute name. Go takes it off; aiohttp does so where there is no proxy.
    """
    return named.rstrip(".") or (server.host.rstrip(".") if server.host.endswith(".") else "")


def _tls(cluster: Cluster, user: User, name: str, bundle: bytes, cluster_where: str, user_where: str) -> Tls:
    anchors = None
    if cluster.certificate_authority or cluster.certificate_authority_data:
        key = "certificate-authority" if cluster.certificate_authority else "certificate-authority-data"
        try:
            anchors = authorities(bundle)
        except UnusableCertificate as error:
            raise InvalidClusterConfig(f"{cluster_where}: {key} {error}") from None
    certificate, key_pem = _client_certificate(user, user_where)
    return Tls(anchors, not cluster.insecure_skip_tls_verify, name, certificate, key_pem)


def _client_certificate(user: User, where: str) -> tuple[bytes, bytes]:
    if not user.client_certificate and not user.client_certificate_data:
        return b"", b""
    for key, path, data in (
        ("client-certificate", user.client_certificate, user.client_certificate_data),
        ("client-key", user.client_key, user.client_key_data),
    ):
        if path and data:
            raise InvalidClusterConfig(f"{where}: {key} and {key}-data are both set: remove one")
    if not user.client_key and not user.client_key_data:
        raise InvalidClusterConfig(f"{where}: client-key or client-key-data is missing")
    certificate = user.client_certificate_data or _read(user.client_certificate, f"{where}: client-certificate")
    key_pem = user.client_key_data or _read(user.client_key, f"{where}: client-key")
    return _pair(certificate, key_pem, where)


def _pair(certificate: bytes, key: bytes, where: str) -> tuple[bytes, bytes]:
    try:
        return client_certificate(certificate, key)
    except UnusableCertificate as error:
        raise InvalidClusterConfig(f"{where}: {error}") from None


def _authorization(user: User, where: str) -> Headers:
    if user.token or user.token_file:
        return (("Authorization", _header(f"Bearer {_token(user, where)}", where, "token")),)
    if user.username:
        pair = f"{user.username}:{user.password}".encode()
        return (("Authorization", f"Basic {base64.b64encode(pair).decode()}"),)
    return ()


def _token(user: User, where: str) -> str:
    """Return the file's token, without white space around it, else the kubeconfig's own as it stands."""
    if not user.token_file:
        return user.token
    try:
        token = _read(user.token_file, f"{where}: tokenFile").decode().strip()
    except InvalidClusterConfig:
        if not user.token:
            raise
        return user.token
    except UnicodeDecodeError:
        raise InvalidClusterConfig(f"{where}: tokenFile holds more than text") from None
    if not (token or user.token):
        raise InvalidClusterConfig(f"{where}: tokenFile is empty")
    return token or user.token


def _impersonation(user: User, where: str) -> Headers:
    if not user.impersonate:
        return ()
    headers = [("Impersonate-User", _header(user.impersonate, where, "as"))]
    if user.impersonate_uid:
        headers.append(("Impersonate-Uid", _header(user.impersonate_uid, where, "as-uid")))
    headers += [("Impersonate-Group", _header(each, where, "as-groups")) for each in user.impersonate_groups]
    for name, values in user.impersonate_extra:
        key = f"Impersonate-Extra-{_escaped(name)}"
        headers += [(key, _header(each, where, "as-user-extra")) for each in values]
    return tuple(headers)


def _escaped(name: str) -> str:
    return "".join(
        chr(byte) if _TOKEN_CHARACTER.fullmatch(bytes((byte,))) else f"%{byte:02X}" for byte in name.encode()
    )


def _header(value: str, where: str, key: str) -> str:
    """Return a header's value, checked as Go's HTTP client does before it sends one."""
    if any((character < " " and character != "\t") or character == "\x7f" for character in value):
        raise InvalidClusterConfig(f"{where}: {key} holds a line feed or another control character")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise InvalidClusterConfig(f"{where}: {key} holds more than text") from None
    return value.strip(" \t")


def _read(path: str, what: str) -> bytes:
    try:
        return regular_file.read(Path(path)).data
    except OSError as error:
        raise InvalidClusterConfig(f"{what}: {path} cannot be read: {error.strerror}") from None
    except ValueError:
        raise InvalidClusterConfig(f"{what} is no path") from None


def _is_loopback(host: str) -> bool:
    if host.lower().rstrip(".") == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _secrets(cluster: Cluster, user: User, proxy: Url | None, headers: Headers) -> Iterator[str]:
    yield user.token
    yield user.password
    yield user.client_key_data.decode(errors="replace")
    if proxy is not None:
        yield proxy.password or ""
        yield base64.b64encode(f"{proxy.username}:{proxy.password}".encode()).decode()
    yield cluster.proxy_url
    yield from (value.partition(" ")[2] for name, value in headers if name == "Authorization")


def _plugin_secrets(plugin: Exec) -> Iterator[str]:
    """Yield all that could be secret. Most are words such as "cluster", which other texts need."""
    yield from (value for _, value in plugin.env)
    for each in plugin.args:
        yield each.partition("=")[2] if each.startswith("-") else each
