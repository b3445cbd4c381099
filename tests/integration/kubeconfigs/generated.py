"""Kubeconfigs that nobody thought of: several files with few names, so that they meet; values that are almost right."""

from __future__ import annotations

import json
from typing import Any, Final

import yaml
from hypothesis import strategies as st

from .case import CLUSTER, Case, plugin
from .table.proxies import NEAR, NOWHERE, PROXY

__all__ = ["cases"]

_names: Final = st.sampled_from(["a", "b", "true"])
_PLACES: Final = ("config", "sub/config", "sub/below/config")
_SECOND: Final = "https://127.0.0.1:{{second}}"
_UNSET: Final[list[object]] = ["", None]


def _mostly(*good: object, odd: list[object]) -> st.SearchStrategy[object]:
    """One of the good values, and now and then an odd one."""
    return st.integers(0, 15).flatmap(lambda chance: st.sampled_from(odd if chance == 15 else list(good)))


_clusters: Final = st.fixed_dictionaries(
    {
        "server": _mostly(CLUSTER["server"], _SECOND, NEAR, f"{_SECOND}/k8s/", odd=[*_UNSET, "127.0.0.1", 1]),
        "certificate-authority": _mostly(
            "pki/ca.crt", "./pki/../pki/ca.crt", "{{home}}/pki/ca.crt", odd=["../pki/ca.crt", "pki/no.crt", *_UNSET]
        ),
    },
    optional={
        "certificate-authority-data": _mostly(
            *_UNSET, odd=["{{base64:ca.crt}}", "{{base64:stranger-ca.crt}}", "?", []]
        ),
        "insecure-skip-tls-verify": _mostly(False, None, odd=[True, "true", "false", 0, ""]),
        "tls-server-name": _mostly("other.test", *_UNSET, odd=["foreign.test", True]),
        "proxy-url": _mostly(PROXY, *_UNSET, odd=["ftp://127.0.0.1", "127.0.0.1:1", {}]),
        "extensions": _mostly([], None, odd=[{}]),
        "unknown": st.just("x"),
    },
)
_plugins: Final = st.sampled_from(
    [None, plugin()["user"]["exec"], plugin(command="")["user"]["exec"], plugin(interactiveMode=None)["user"]["exec"]]
)
_identities: Final = st.one_of(
    st.fixed_dictionaries({"token": _mostly("t1", "t2", odd=[*_UNSET, 1, True, "a\nb"])}),
    st.fixed_dictionaries({"tokenFile": _mostly("token", "{{home}}/token", odd=["no", "", None])}),
    st.fixed_dictionaries({"username": _mostly("u", odd=[*_UNSET, 1])}, optional={"password": st.just("p")}),
    st.fixed_dictionaries(
        {
            "client-certificate": _mostly("pki/alice.crt", odd=["../pki/alice.crt", *_UNSET]),
            "client-key": _mostly("pki/alice.key", odd=["../pki/alice.key", *_UNSET]),
        },
    ),
    st.fixed_dictionaries(
        {"client-certificate-data": _mostly("{{base64:bob.crt}}", odd=[*_UNSET, "?"])},
        optional={"client-key-data": _mostly("{{base64:bob.key}}", odd=[*_UNSET, "{{base64:alice.key}}"])},
    ),
    st.fixed_dictionaries({"exec": _plugins}),
)
_more: Final = st.fixed_dictionaries(
    {},
    optional={
        "as": _mostly("carol", *_UNSET, odd=[1]),
        "as-groups": _mostly([], None, odd=["g", ["g"]]),
        "as-uid": _mostly(*_UNSET, odd=[7, "7"]),
        "as-user-extra": _mostly({}, None, odd=[{"k": "v"}, {"k": ["v"]}]),
        "auth-provider": _mostly(None, odd=[{"name": "mine"}]),
    },
)
_nothing: Final[st.SearchStrategy[dict[str, Any]]] = st.just({})
_users: Final = st.tuples(_identities, _nothing | _nothing | _identities, _nothing | _nothing | _more).map(
    lambda parts: {**parts[0], **parts[1], **parts[2]}
)
_contexts: Final = st.fixed_dictionaries(
    {"cluster": _mostly("a", "b", odd=["true", "", None, True]), "user": _mostly("a", "b", odd=["true", "", None])},
    optional={"namespace": st.sampled_from(["shop", ""])},
)


def _entries(kind: str, values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    entry = st.fixed_dictionaries({"name": _names, kind: values})
    some = st.lists(entry, min_size=1, max_size=3, unique_by=lambda each: str(each["name"]))
    return st.one_of(some, some, some, st.none())


_documents: Final = st.fixed_dictionaries(
    {
        "clusters": _entries("cluster", _clusters),
        "users": _entries("user", _users),
        "contexts": _entries("context", _contexts),
    },
    optional={
        "current-context": _mostly("a", "b", odd=["true", *_UNSET, 1]),
        "kind": _mostly("Config", odd=[*_UNSET, "List"]),
        "apiVersion": _mostly("v1", odd=[*_UNSET, "v2"]),
    },
)
_files: Final = st.one_of(_documents, _documents, _documents, st.just({}), st.none()).flatmap(
    lambda content: st.sampled_from([json.dumps(content), yaml.safe_dump(content, sort_keys=False)])
)
_whole: Final = st.builds(
    lambda cluster, user, context: json.dumps(
        {
            "clusters": [{"name": "a", "cluster": cluster}],
            "users": [{"name": "a", "user": user}],
            "contexts": [{"name": context, "context": {"cluster": "a", "user": "a"}}],
            "current-context": context,
        }
    ),
    st.one_of(st.just(CLUSTER), _clusters),
    _users,
    _names,
)


_BESIDE: Final = {
    "token": "of the first",
    "sub/token": "of the second\n",
    "sub/below/token": "of the third",
    **{f"{place}plugin": plugin()["files"]["plugin"] for place in ("", "sub/", "sub/below/")},
    **{f"{place}pki/ca.crt": "{{text:ca.crt}}" for place in ("sub/", "sub/below/")},
    **{f"{place}pki/alice.crt": "{{text:bob.crt}}" for place in ("sub/", "sub/below/")},
    **{f"{place}pki/alice.key": "{{text:bob.key}}" for place in ("sub/", "sub/below/")},
}
"""What relative paths lead to. Below, what is called after alice is of bob."""


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """Kubeconfigs with their environment."""
    files = dict(zip(_PLACES, draw(st.lists(_whole | _files, min_size=1, max_size=3)), strict=False))
    order = draw(st.permutations([*files, *draw(st.lists(st.sampled_from(["no", ""]), max_size=2))]))
    environ = {
        "KUBECONFIG": ":".join(f"{{{{home}}}}/{name}" if name else "" for name in order),
        **draw(
            st.fixed_dictionaries(
                {},
                optional={
                    "HTTPS_PROXY": st.sampled_from([PROXY, ""]),
                    "https_proxy": st.sampled_from([PROXY, ""]),
                    "NO_PROXY": st.sampled_from(["", NOWHERE, f"{NOWHERE}/8", f"{NOWHERE}:1", "10.0.0.0/8,*"]),
                    "no_proxy": st.sampled_from(["", NOWHERE]),
                },
            )
        ),
    }
    return Case("generated", {**files, **_BESIDE}, environ)
