"""Contexts: which kdm to ask, and with which certificate. A TOML file, as kubectl's kubeconfig is one of YAML.

::

    current = "production"

    [contexts.production]
    server = "https://kdm.example.com:8443"
    ca = "ca.pem"
    cert = "alice.pem"
    key = "alice-key.pem"
    namespace = "shop"

A relative path is relative to the file's directory.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

from kdm_cli.exits import CommandError, Exit
from kdm_cli.targets import namespace_of

FILE_VARIABLE: Final = "KDM_CONFIG"
"""The environment variable that names another file."""

CONTEXT_VARIABLE: Final = "KDM_CONTEXT"
"""The environment variable that chooses a context."""

DEFAULT_NAMESPACE: Final = "default"
"""Where a name without a namespace is, in a context that names none: Kubernetes' own default."""

_FIELDS: Final = ("server", "ca", "cert", "key", "namespace")
_NEEDED: Final = ("server", "cert", "key")
_is_context_name: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,62}", re.ASCII).fullmatch


class Context(NamedTuple):
    """A kdm, and who asks it.

    Attributes:
        name: The context's name; "" where flags alone say everything.
        server: Its URL.
        ca: The CA certificate that the server's certificate must come from; None for those that the machine trusts.
        cert: The client certificate.
        key: Its private key.
        namespace: Where a name without a namespace is.
    """

    name: str
    server: str
    ca: Path | None
    cert: Path
    key: Path
    namespace: str = DEFAULT_NAMESPACE


class Contexts:
    """The file. What it holds is read when this is made; each change reads it again, under a lock.

    Args:
        path: The file, which need not exist.

    Raises:
        CommandError: It cannot be read, or is no file of contexts.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._content = _read(path)

    @classmethod
    def of_user(cls) -> Contexts:
        """Return the user's own: ``$KDM_CONFIG``, or ``contexts.toml`` in the folder for configuration."""
        if named := os.environ.get(FILE_VARIABLE):
            return cls(Path(named))
        from platformdirs import user_config_path  # noqa: PLC0415 - an extra, which few commands need

        return cls(user_config_path("kdm") / "contexts.toml")

    @property
    def names(self) -> list[str]:
        """The contexts' names, sorted."""
        return sorted(self._content["contexts"])

    @property
    def current(self) -> str:
        """The name of the context that is used where none is chosen; "" where there is none."""
        return str(self._content["current"])

    def get(self, name: str) -> Context:
        """Return a context.

        Raises:
            CommandError: There is none of this name, or it lacks something.
        """
        found = self._content["contexts"].get(name)
        if found is None:
            known = f"there are: {', '.join(self.names)}" if self.names else "there are none"
            raise CommandError(f"{self.path}: no context {name!r}; {known} (kdm context add)", Exit.USAGE)
        where = f"{self.path}: context {name!r}"
        missing = [field for field in _NEEDED if not found.get(field)]
        if missing:
            raise CommandError(f"{where}: {missing[0]} is missing", Exit.USAGE)
        cert, key = (self.path.parent / expanded(found[field]) for field in ("cert", "key"))
        ca = self.path.parent / expanded(found["ca"]) if found.get("ca") else None
        namespace = found.get("namespace") or DEFAULT_NAMESPACE
        return Context(name, server_url(found["server"], where), ca, cert, key, namespace_of(namespace))

    def add(self, context: Context, *, replace: bool = False) -> bool:
        """Write a context down. It becomes the current one where there is none.

        Args:
            context: The context.
            replace: Whether one of the same name may be replaced.

        Returns:
            Whether it is the current one now.

        Raises:
            CommandError: There is one of this name, or the file cannot be written.
        """
        if not _is_context_name(context.name):
            raise CommandError(
                f"{context.name[:80]!r} is no context's name: letters, digits, '.', '_', '@' and '-'", Exit.USAGE
            )
        with self._changing() as content:
            if context.name in content["contexts"] and not replace:
                raise CommandError(f"there is a context {context.name!r} already; --force replaces it", Exit.USAGE)
            entry = {field: str(value) for field in _FIELDS[:4] if (value := getattr(context, field)) is not None}
            if context.namespace != DEFAULT_NAMESPACE:
                entry["namespace"] = context.namespace
            content["contexts"][context.name] = entry
            content["current"] = content["current"] or context.name
        return self.current == context.name

    def use(self, name: str) -> None:
        """Make a context the current one.

        Raises:
            CommandError: There is none of this name, or the file cannot be written.
        """
        self.get(name)
        with self._changing() as content:
            if name not in content["contexts"]:
                raise CommandError(f"{self.path}: no context {name!r}: it was removed just now", Exit.USAGE)
            content["current"] = name

    def remove(self, name: str) -> None:
        """Remove a context. Certificates and keys stay where they are.

        Raises:
            CommandError: There is none of this name, or the file cannot be written.
        """
        with self._changing() as content:
            if content["contexts"].pop(name, None) is None:
                known = ", ".join(self.names) or "none"
                raise CommandError(f"{self.path}: no context {name!r}; there are: {known}", Exit.USAGE)
            if content["current"] == name:
                content["current"] = ""

    @contextmanager
    def _changing(self) -> Iterator[dict[str, Any]]:
        """Yield what the file holds, and write it down afterwards: whole or not at all, one process at a time."""
        import fcntl  # noqa: PLC0415 - not on every system, and reading needs none of it

        try:
            real = Path(os.path.realpath(self.path))  # a link, as of a folder of dotfiles, stays one
            real.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            directory = os.open(real.parent, os.O_RDONLY | os.O_DIRECTORY)
            try:
                fcntl.flock(directory, fcntl.LOCK_EX)
                content = _read(self.path)
                yield content
                _write(real, content)
                self._content = content
            finally:
                os.close(directory)
        except OSError as error:
            raise CommandError(f"{self.path}: cannot be written: {error.strerror}") from error


def server_url(text: str, where: str) -> str:
    """Check a server's URL, and return it without a slash at its end.

    Args:
        text: The URL.
        where: Where it stands, for the error.

    Raises:
        CommandError: It is no URL of a kdm.
    """
    with suppress(ValueError):
        parts = urlsplit(text)
        port_is_valid = parts.port is None or parts.port > 0
        only_place = not (parts.path.strip("/") or parts.query or parts.fragment or parts.username)
        if parts.scheme == "https" and parts.hostname and port_is_valid and only_place and text.isprintable():
            return text.rstrip("/")
    shown = re.sub(r"^(\w+://)?.*@", r"\1...@", text, flags=re.DOTALL)[:80]  # a password is not repeated
    raise CommandError(
        f"{where}: server {shown!r}: expected https://HOST:PORT, such as https://localhost:8443", Exit.USAGE
    )


def expanded(path: str | Path) -> Path:
    """Return a path with a ``~`` at its beginning made the home directory that it stands for.

    Raises:
        CommandError: There is no such user, or no home.
    """
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise CommandError(f"{str(path)!r}: there is no such home directory", Exit.USAGE) from error


def chosen(names: str | None, flags: Mapping[str, str | None], *, several: bool = False) -> list[Context]:
    """Return the contexts that a command is to ask.

    Args:
        names: What ``--context`` says; None where it is not given.
        flags: What other flags say, by field: they win over the contexts.
        several: Whether several, separated by commas, make sense.

    Raises:
        CommandError: None can be found, or more than make sense.
    """
    given = {field: value for field, value in flags.items() if value}
    wanted = names or os.environ.get(CONTEXT_VARIABLE, "")
    if not wanted and set(_NEEDED) <= given.keys():
        empty = Context("", "", None, Path(), Path())
        return [_with_flags(empty, given)]
    contexts = Contexts.of_user()
    wanted = wanted or contexts.current
    if not wanted:
        have = f"; there are: {', '.join(contexts.names)}" if contexts.names else ""
        raise CommandError(
            "no context is chosen: `kdm context use NAME` chooses one, `kdm context add NAME --from DIR` makes one, "
            f"or give --server, --cert and --key{have}",
            Exit.USAGE,
        )
    listed = list(dict.fromkeys(each.strip() for each in wanted.split(",") if each.strip()))
    if not listed:
        raise CommandError(f"{wanted[:80]!r} names no context: expected NAME", Exit.USAGE)
    if len(listed) > 1 and not several:
        raise CommandError(f"--context {wanted}: this command asks one kdm; name one of them", Exit.USAGE)
    return [_with_flags(contexts.get(name), given) for name in listed]


def _with_flags(context: Context, given: Mapping[str, str]) -> Context:
    changed: dict[str, Any] = {field: Path(given[field]) for field in ("ca", "cert", "key") if field in given}
    if "server" in given:
        changed["server"] = server_url(given["server"], "--server")
    if "namespace" in given:
        changed["namespace"] = namespace_of(given["namespace"])
    return context._replace(**changed)


def _read(path: Path) -> dict[str, Any]:
    """Return what a file holds, with what it may leave out.

    Raises:
        CommandError: It cannot be read, or is no file of contexts.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")  # Windows' editors begin with a mark
        content: dict[str, Any] = tomllib.loads(text)
    except FileNotFoundError:
        content = {}
    except OSError as error:
        raise CommandError(f"{path}: {error.strerror}", Exit.USAGE) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise CommandError(f"{path}: not TOML: {error}", Exit.USAGE) from error
    content.setdefault("current", "")
    content.setdefault("contexts", {})
    _check(content, path)
    return content


def _check(content: Mapping[str, Any], path: Path) -> None:
    unknown = content.keys() - {"current", "contexts"}
    if unknown:
        raise CommandError(f"{path}: unknown: {min(unknown)}; there may be: current, contexts", Exit.USAGE)
    if not isinstance(content["current"], str) or not isinstance(content["contexts"], dict):
        raise CommandError(f"{path}: current must be a name, and contexts a table", Exit.USAGE)
    for name, entry in content["contexts"].items():
        if not isinstance(entry, dict) or not all(isinstance(value, str) for value in entry.values()):
            raise CommandError(f"{path}: context {name!r}: must be a table of texts", Exit.USAGE)
        if strange := entry.keys() - set(_FIELDS):
            raise CommandError(
                f"{path}: context {name!r}: unknown: {min(strange)}; there may be: {', '.join(_FIELDS)}", Exit.USAGE
            )


def _write(path: Path, content: Mapping[str, Any]) -> None:
    import tempfile  # noqa: PLC0415 - few commands write

    import tomli_w  # noqa: PLC0415

    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # of mode 0600
    try:
        with open(handle, "wb") as file:  # noqa: PTH123 - a descriptor
            file.write(tomli_w.dumps({key: value for key, value in content.items() if value}).encode())
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
