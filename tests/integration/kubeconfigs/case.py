"""One kubeconfig, its files and environment, and what comes of them."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

from attrs import field, frozen

from .recording import NAMES, Recording

__all__ = ["CLUSTER", "TEXT", "Case", "Encoded", "Outcome", "case", "config", "plugin", "text"]

CLUSTER: Final = {"server": "https://127.0.0.1:{{main}}", "certificate-authority": "pki/ca.crt"}
"""The cluster that most kubeconfigs of the table name."""

TEXT: Final = """\
apiVersion: v1
kind: Config
current-context: c
contexts:
- name: c
  context:
    cluster: c
    user: c
clusters:
- name: c
  cluster:
    server: https://127.0.0.1:{{main}}
    certificate-authority: pki/ca.crt
users:
- name: c
  user:
    token: t0ken
"""
"""The same as people write it."""

_ENVIRON: Final = {"HOME": "{{home}}", "PATH": "/usr/bin:/bin", "KUBECONFIG": "{{home}}/config"}
_PLACEHOLDER: Final = re.compile(r"\{\{(?:(base64|json|text):)?([\w./-]+)\}\}")


class Encoded(NamedTuple):
    """Text that is not written as UTF-8."""

    text: str
    encoding: str


@frozen
class Case:
    """A kubeconfig with all that belongs to it.

    Attributes:
        claim: What it tries, in a few words.
        files: What is in the home directory: path -> content. A path that ends in ``/`` is a directory; what begins
            with ``#!`` can be run. ``{{main}}`` is the port of the server of that name, ``{{home}}`` the directory,
            ``{{base64:ca.crt}}``, ``{{json:...}}`` and ``{{text:...}}`` what is in a file of the PKI.
        environ: The environment, with the same placeholders. None removes a variable.
        differs: Why kdm does something else than kubectl, as ADR 0014 has it; "" where it may not.
    """

    claim: str
    files: Mapping[str, str | Encoded]
    environ: Mapping[str, str | None] = field(factory=dict)
    differs: str = ""

    @property
    def servers(self) -> list[str]:
        """The servers it mentions. There is always the first, so that one can go wrong."""
        everything = repr((self.files, self.environ))
        return [name for name in NAMES if f"{{{{{name}}}}}" in everything or name == "main"]

    def write(self, home: Path, pki: Path, ports: Mapping[str, int]) -> dict[str, str]:
        """Write its files and return its environment."""

        def filled(content: str) -> str:
            return _PLACEHOLDER.sub(value, content)

        def value(match: re.Match[str]) -> str:
            how, name = match.groups()
            if how is None:
                return str(home) if name == "home" else str(ports[name])
            data = (pki / name).read_bytes()
            if how == "base64":
                return base64.b64encode(data).decode()
            return data.decode() if how == "text" else json.dumps(data.decode())[1:-1]

        home.mkdir()
        (home / "pki").symlink_to(pki)
        (home / "cwd").mkdir()
        for name, content in self.files.items():
            path = home / name
            if name.endswith("/"):
                path.mkdir(parents=True)
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            each = content if isinstance(content, Encoded) else Encoded(content, "utf-8")
            path.write_bytes(filled(each.text).encode(each.encoding))
            if each.text.startswith("#!"):
                path.chmod(0o700)
        return {key: filled(each) for key, each in {**_ENVIRON, **self.environ}.items() if each is not None}


@frozen
class Outcome:
    """What came of it.

    Attributes:
        sent: What arrived, a line each.
        told: What a plugin was given, if it wrote that into the file ``told``.
        succeeded: Whether the command was content.
        distrusted: What was connected to without anything being sent.
        message: What the command said. Differs by nature.
    """

    sent: tuple[str, ...]
    told: str
    succeeded: bool
    distrusted: tuple[str, ...] = field(eq=False)
    message: str = field(eq=False)

    @classmethod
    def of(cls, found: Recording, pki: Path, home: Path, code: int, message: str) -> Outcome:
        """Make it, with the names of what differs from run to run."""

        def named(text: str) -> str:
            for name, port in found.ports.items():
                text = text.replace(f":{port}", f":{name}")
            return text.replace(str(home), "~")

        told = (home / "told").read_text() if (home / "told").exists() else ""
        if told.startswith("{"):
            told = json.dumps(json.loads(told), sort_keys=True)
        ca = base64.b64encode((pki / "ca.crt").read_bytes()).decode()
        sent = tuple(sorted(map(named, found.sent)))
        return cls(sent, named(told).replace(ca, "…"), not code, tuple(sorted(found.distrusted)), named(message))


def config(cluster: object, user: object, name: str = "c", **top: Any) -> dict[str, Any]:
    """Return a kubeconfig with one context, cluster and user, all of that name. ``_`` in a key stands for ``-``."""
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": name,
        "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
        "clusters": [{"name": name, "cluster": cluster}],
        "users": [{"name": name, "user": user}],
        **{key.replace("_", "-"): value for key, value in top.items()},
    }


def case(
    claim: str,
    content: object = None,
    *,
    cluster: object = CLUSTER,
    user: object = {"token": "t0ken"},
    files: Mapping[str, Any] | None = None,
    environ: Mapping[str, str | None] | None = None,
    differs: str = "",
    **top: Any,
) -> Case:
    """Describe a case.

    Args:
        claim: What it tries.
        content: The file ``config``; None for one of this cluster, user and ``top``.
        cluster: See `config`.
        user: See `config`.
        files: More files. What is no text is written as JSON.
        environ: More of the environment.
        differs: Why kdm differs.
        top: See `config`.
    """
    everything = {"config": config(cluster, user, **top) if content is None else content, **(files or {})}
    written = {name: each if isinstance(each, str | Encoded) else json.dumps(each) for name, each in everything.items()}
    return Case(claim, written, environ or {}, differs)


def text(old: str, new: str, *others: str) -> str:
    """Return `TEXT` with a part replaced, or several."""
    changed = TEXT.replace(old, new)
    assert changed != TEXT, old
    for before, after in zip(others[::2], others[1::2], strict=True):
        assert before in changed, before
        changed = changed.replace(before, after)
    return changed


def plugin(status: object = None, script: str = "", version: str = "v1", **more: Any) -> dict[str, Any]:
    """Return the arguments of `case` for a user with an exec plugin.

    Args:
        status: What the plugin answers.
        script: What it does before that.
        version: Of ``client.authentication.k8s.io``.
        more: Other keys of ``exec``. None removes one.
    """
    api = f"client.authentication.k8s.io/{version}"
    answer = json.dumps({"apiVersion": api, "kind": "ExecCredential", "status": status or {"token": "minted"}})
    keys = {"apiVersion": api, "command": "./plugin", "interactiveMode": "Never", **more}
    return {
        "user": {"exec": {key: value for key, value in keys.items() if value is not None}},
        "files": {"plugin": f"#!/bin/sh\n{script}\ncat <<'END'\n{answer}\nEND\n"},
    }
