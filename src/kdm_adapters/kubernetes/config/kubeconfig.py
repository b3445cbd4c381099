"""Kubeconfig files as kubectl reads and merges them: typed values, or one line that says what is wrong.

The rules are those of client-go v0.36.3, ``tools/clientcmd/loader.go`` and ``api/v1/types.go``. An error names the file
and the key, never a value: kubeconfigs hold secrets.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Final, TypeVar

from attrs import field, frozen

from kdm_adapters.kubernetes.config.fields import Fields, InvalidClusterConfig
from kdm_adapters.kubernetes.config.go_yaml import InvalidYaml, Json, read_yaml
from kdm_core import regular_file

EXEC_EXTENSION: Final = "client.authentication.k8s.io/exec"
"""A cluster's extension that is passed on to exec plugins (KEP-541)."""

_T = TypeVar("_T")


@frozen
class Exec:
    """A program that prints credentials (KEP-541). The fields are the kubeconfig's."""

    api_version: str
    command: str
    args: tuple[str, ...] = field(repr=False)
    env: tuple[tuple[str, str], ...] = field(repr=False)
    install_hint: str
    interactive_mode: str
    provide_cluster_info: bool


@frozen
class Cluster:
    """Where a cluster is and how it proves that it is. Paths are absolute; what is unset is empty."""

    name: str
    origin: str
    server: str
    tls_server_name: str
    insecure_skip_tls_verify: bool
    certificate_authority: str
    certificate_authority_data: bytes
    proxy_url: str = field(repr=False)
    disable_compression: bool
    exec_config: Json = field(repr=False)


@frozen
class User:
    """Who asks. Paths are absolute; what is unset is empty."""

    name: str
    origin: str
    client_certificate: str = ""
    client_certificate_data: bytes = field(default=b"", repr=False)
    client_key: str = ""
    client_key_data: bytes = field(default=b"", repr=False)
    token: str = field(default="", repr=False)
    token_file: str = ""
    impersonate: str = ""
    impersonate_uid: str = ""
    impersonate_groups: tuple[str, ...] = ()
    impersonate_extra: tuple[tuple[str, tuple[str, ...]], ...] = ()
    username: str = ""
    password: str = field(default="", repr=False)
    auth_provider: str | None = None
    exec: Exec | None = None


@frozen
class Context:
    """Which user on which cluster."""

    origin: str
    cluster: str
    user: str


@frozen
class Kubeconfig:
    """What one or several files say together. The first to define a name, or the current context, wins."""

    current_context: str = ""
    contexts: Mapping[str, Context] = field(factory=dict)
    clusters: Mapping[str, Cluster] = field(factory=dict)
    users: Mapping[str, User] = field(factory=dict)


def kubeconfig_paths(explicit: str | os.PathLike[str] | None, environ: Mapping[str, str]) -> tuple[str, ...]:
    """Return the files to read, in the order of their precedence.

    Args:
        explicit: The file to read, or several joined as in ``KUBECONFIG``; None for those of ``KUBECONFIG``, or else
            for ``~/.kube/config``.
        environ: The environment.
    """
    named = "" if explicit is None else str(explicit)
    if named and Path(named).exists():
        return (named,)  # whatever its name holds
    if listed := named or environ.get("KUBECONFIG", ""):
        return tuple(dict.fromkeys(each for each in listed.split(os.pathsep) if each))
    return (str(Path(environ.get("HOME", ""), ".kube", "config")),)


def load_kubeconfig(paths: Iterable[str]) -> Kubeconfig:
    """Read files and merge them. Missing and empty ones count for nothing.

    Raises:
        InvalidClusterConfig: One cannot be read or makes no sense.
    """
    read = [found for path in paths if (found := _read_file(path)) is not None]
    return Kubeconfig(
        current_context=next((each.current_context for each in read if each.current_context), ""),
        contexts=_first_wins(each.contexts for each in read),
        clusters=_first_wins(each.clusters for each in read),
        users=_first_wins(each.users for each in read),
    )


def _first_wins(sections: Iterable[Mapping[str, _T]]) -> dict[str, _T]:
    merged: dict[str, _T] = {}
    for section in sections:
        merged = {**section, **merged}
    return merged


def _read_file(path: str) -> Kubeconfig | None:
    where = f"kubeconfig {path}"
    if path == os.devnull:
        return None  # how one says to kubectl: no kubeconfig
    try:
        content = read_yaml(regular_file.read(Path(path)).data)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise InvalidClusterConfig(f"{where} cannot be read: {error.strerror}") from None
    except ValueError as error:  # a path with a null byte, too
        detail = str(error) if isinstance(error, InvalidYaml) else "its path is no path"
        raise InvalidClusterConfig(f"{where} cannot be read: {detail}") from None
    top = Fields(where, content)
    if top.text("kind") not in {"", "Config"}:
        raise InvalidClusterConfig(f"{where}: kind must be Config")
    if top.text("apiVersion") not in {"", "v1"}:
        raise InvalidClusterConfig(f"{where}: apiVersion must be v1")
    preferences = top.fields("preferences")
    preferences.flag("colors")
    for each in (top, preferences):
        each.extensions()
    return Kubeconfig(
        current_context=top.text("current-context"),
        contexts=_named(top, "contexts", "context", lambda _name, entry: _context(path, entry)),
        clusters=_named(top, "clusters", "cluster", lambda name, entry: _cluster(path, name, entry)),
        users=_named(top, "users", "user", lambda name, entry: _user(path, name, entry)),
    )


def _named(top: Fields, section: str, key: str, make: Callable[[str, Fields], _T]) -> dict[str, _T]:
    found: dict[str, _T] = {}
    for item in top.items(section):
        name = item.text("name")
        if name in found:
            raise InvalidClusterConfig(f"{top.where}: {key} {name!r} is defined twice")
        found[name] = make(name, item.fields(key, named=f"{key} {name!r}"))
    return found


def _context(path: str, entry: Fields) -> Context:
    entry.text("namespace")
    entry.extensions()
    return Context(path, entry.text("cluster"), entry.text("user"))


def _cluster(path: str, name: str, entry: Fields) -> Cluster:
    return Cluster(
        name=name,
        origin=path,
        server=entry.text("server"),
        tls_server_name=entry.text("tls-server-name"),
        insecure_skip_tls_verify=entry.flag("insecure-skip-tls-verify"),
        certificate_authority=_beside(path, entry.text("certificate-authority")),
        certificate_authority_data=entry.data("certificate-authority-data"),
        proxy_url=entry.text("proxy-url"),
        disable_compression=entry.flag("disable-compression"),
        exec_config=entry.extensions().get(EXEC_EXTENSION),
    )


def _user(path: str, name: str, entry: Fields) -> User:
    provider = entry.fields("auth-provider") if entry.has("auth-provider") else None
    if provider is not None:
        provider.text_map("config")
    entry.extensions()
    extra = entry.mapping("as-user-extra")
    return User(
        name=name,
        origin=path,
        client_certificate=_beside(path, entry.text("client-certificate")),
        client_certificate_data=entry.data("client-certificate-data"),
        client_key=_beside(path, entry.text("client-key")),
        client_key_data=entry.data("client-key-data"),
        token=entry.text("token"),
        token_file=_beside(path, entry.text("tokenFile")),
        impersonate=entry.text("as"),
        impersonate_uid=entry.text("as-uid"),
        impersonate_groups=entry.texts("as-groups"),
        impersonate_extra=tuple((key, extra.texts(key)) for key in sorted(extra.keys())),
        username=entry.text("username"),
        password=entry.text("password"),
        auth_provider=None if provider is None else provider.text("name"),
        exec=_exec(path, entry.fields("exec")) if entry.has("exec") else None,
    )


def _exec(path: str, entry: Fields) -> Exec:
    command, version, mode = entry.text("command"), entry.text("apiVersion"), entry.text("interactiveMode")
    if not mode and version in {f"client.authentication.k8s.io/{each}" for each in ("v1alpha1", "v1beta1")}:
        mode = "IfAvailable"
    return Exec(
        api_version=version,
        command=_beside(path, command) if "/" in command else command,  # a bare name is looked up in PATH
        args=entry.texts("args"),
        env=tuple((item.text("name"), item.text("value")) for item in entry.items("env")),
        install_hint=entry.text("installHint"),
        interactive_mode=mode,
        provide_cluster_info=entry.flag("provideClusterInfo"),
    )


def _beside(path: str, reference: str) -> str:
    """Return a path that a kubeconfig names, relative to the kubeconfig, as an absolute one."""
    if not reference or os.path.isabs(reference):  # noqa: PTH117 - pathlib would drop a trailing slash
        return reference
    return os.path.normpath(os.path.join(os.path.abspath(os.path.dirname(path)), reference))  # noqa: PTH100, PTH118, PTH120
