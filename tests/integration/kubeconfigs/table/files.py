"""Which files are read, what comes first, what paths are relative to, and which context is meant."""

from __future__ import annotations

from typing import Any, Final

from integration.kubeconfigs.case import CLUSTER, Case, case, config
from integration.kubeconfigs.table.reasons import MEANT, NO_COPY, TYPING_ERROR

SECOND: Final = {**CLUSTER, "server": "https://127.0.0.1:{{second}}"}
ONE: Final = config(CLUSTER, {"token": "one"}, "one")
TWO: Final = config(SECOND, {"token": "two"}, "two")
HOME: Final = {".kube/config": config({**CLUSTER, "certificate-authority": "../pki/ca.crt"}, {"token": "home"})}
BOTH: Final[dict[str, str | None]] = {"KUBECONFIG": "{{home}}/config:{{home}}/more"}


def part(**sections: Any) -> dict[str, Any]:
    """Return a kubeconfig with some sections alone."""
    return {"apiVersion": "v1", "kind": "Config"} | {key.replace("_", "-"): value for key, value in sections.items()}


def entries(kind: str, **named: Any) -> list[dict[str, Any]]:
    """Return a list as kubeconfigs have it."""
    return [{"name": name, kind: value} for name, value in named.items()]


CASES: Final[tuple[Case, ...]] = (
    case("the first current-context wins", ONE, files={"more": TWO}, environ=BOTH),
    case(
        "an empty current-context is none, the second file's counts",
        {**ONE, "current-context": ""},
        files={"more": TWO},
        environ=BOTH,
    ),
    case(
        "a current-context that is null is none",
        {**ONE, "current-context": None},
        files={"more": TWO},
        environ=BOTH,
    ),
    case(
        "of two clusters of one name the first file's is used",
        config(CLUSTER, {"token": "one"}),
        files={"more": config(SECOND, {"token": "two"})},
        environ=BOTH,
    ),
    case(
        "entries of one name are never mixed",
        part(current_context="c", users=entries("user", c={"token": "one"})),
        files={"more": config(CLUSTER, {"as": "bob", "token": "two"})},
        environ=BOTH,
    ),
    case(
        "the clusters of one file, the users of another",
        part(current_context="c", clusters=entries("cluster", c=CLUSTER)),
        files={
            "more": part(
                users=entries("user", c={"token": "two"}), contexts=entries("context", c={"cluster": "c", "user": "c"})
            )
        },
        environ=BOTH,
    ),
    case(
        "a path is relative to the file that names it: the user's",
        part(current_context="c", clusters=entries("cluster", c=CLUSTER)),
        files={
            "elsewhere/more": part(
                users=entries("user", c={"client-certificate": "../pki/bob.crt", "client-key": "../pki/bob.key"}),
                contexts=entries("context", c={"cluster": "c", "user": "c"}),
            )
        },
        environ={"KUBECONFIG": "{{home}}/config:{{home}}/elsewhere/more"},
    ),
    case(
        "a path is relative to the file that names it: the cluster's",
        part(current_context="c", users=entries("user", c={"tokenFile": "token"})),
        files={
            "token": "of the first",
            "elsewhere/token": "of the second",
            "elsewhere/more": part(
                clusters=entries("cluster", c={**CLUSTER, "certificate-authority": "../pki/ca.crt"}),
                contexts=entries("context", c={"cluster": "c", "user": "c"}),
            ),
        },
        environ={"KUBECONFIG": "{{home}}/config:{{home}}/elsewhere/more"},
    ),
    case(
        "a file of several that is missing is passed over", ONE, environ={"KUBECONFIG": "{{home}}/no:{{home}}/config"}
    ),
    case("every file is missing", environ={"KUBECONFIG": "{{home}}/no:{{home}}/neither"}),
    case("the only file is missing", environ={"KUBECONFIG": "{{home}}/no"}),
    case("an empty file first", "", files={"more": TWO}, environ=BOTH),
    case("an empty file last", ONE, files={"more": ""}, environ=BOTH),
    case("nothing but an empty file", ""),
    case("nothing but comments", "# to do\n"),
    case("a directory among the files", ONE, files={"more/": ""}, environ=BOTH),
    case("a file below a file", ONE, environ={"KUBECONFIG": "{{home}}/config:{{home}}/config/below"}),
    case("a broken file among good ones", ONE, files={"more": "{"}, environ=BOTH),
    case("a file twice", ONE, environ={"KUBECONFIG": "{{home}}/config:{{home}}/config"}),
    case("empty parts of KUBECONFIG", ONE, environ={"KUBECONFIG": ":{{home}}/config::"}),
    case("a relative KUBECONFIG", ONE, environ={"KUBECONFIG": "../config"}),
    case("a tilde in KUBECONFIG", ONE, environ={"KUBECONFIG": "~/config"}),
    case("KUBECONFIG is empty: the one in the home directory", "", files=HOME, environ={"KUBECONFIG": ""}),
    case(
        "no KUBECONFIG: the one in the home directory",
        "",
        files=HOME,
        environ={"KUBECONFIG": None},
    ),
    case("neither KUBECONFIG nor HOME", environ={"KUBECONFIG": None, "HOME": None}),
    case(
        "KUBERNETES_MASTER, without a kubeconfig",
        environ={"KUBECONFIG": None, "KUBERNETES_MASTER": "http://127.0.0.1:{{plain}}"},
        differs=MEANT,
    ),
    case("KUBERNETES_MASTER, with a kubeconfig", environ={"KUBERNETES_MASTER": "http://127.0.0.1:{{plain}}"}),
    case(
        "the kubeconfig's old place",
        files={".kube/.kubeconfig": HOME[".kube/config"]},
        environ={"KUBECONFIG": None},
        differs=NO_COPY,
    ),
    case("KUBECONFIG without HOME", environ={"HOME": None}),
    case("only white space for KUBECONFIG", environ={"KUBECONFIG": " "}),
    case(
        "the variables of a Pod do not matter where there is a kubeconfig",
        environ={"KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": "{{second}}"},
    ),
    case(
        "the variables of a Pod without its token",
        "",
        files=HOME,
        environ={"KUBECONFIG": None, "KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": "{{second}}"},
    ),
    case("no current-context, one context", current_context=""),
    case("the current-context is not there", current_context="d"),
    case("a context without a user", contexts=entries("context", c={"cluster": "c"})),
    case("a context without a cluster", contexts=entries("context", c={"user": "c"})),
    case("a context that is null", contexts=entries("context", c=None)),
    case("a context's user is not there", contexts=entries("context", c={"cluster": "c", "user": "d"})),
    case(
        "a context's user is not there, over http",
        cluster={"server": "http://127.0.0.1:{{plain}}"},
        contexts=entries("context", c={"cluster": "c", "user": "d"}),
        differs=TYPING_ERROR,
    ),
    case("a context's cluster is not there", contexts=entries("context", c={"cluster": "d", "user": "c"})),
    case(
        "a context's namespace that can be none",
        contexts=entries("context", c={"cluster": "c", "user": "c", "namespace": "No_Name"}),
    ),
    case(
        "another context is broken, which does not matter",
        contexts=entries("context", c={"cluster": "c", "user": "c"}, d={"cluster": "d", "user": "d"}),
    ),
    case(
        "another user is impossible, which does not matter",
        users=entries("user", c={"token": "t0ken"}, d={"exec": {"command": ""}}),
    ),
    case("no contexts at all", contexts=None),
    case("nobody: users is null", users=None),
    case(
        "two contexts of one name in a file",
        contexts=[
            {"name": "c", "context": {"cluster": "c", "user": "c"}},
            {"name": "c", "context": {"cluster": "c", "user": "d"}},
        ],
        users=entries("user", c={"token": "one"}, d={"token": "two"}),
    ),
    case(
        "two users of one name in a file",
        users=[{"name": "c", "user": {"token": "one"}}, {"name": "c", "user": {"token": "two"}}],
    ),
    case("an empty name", name="", clusters=entries("cluster", **{"": CLUSTER})),
    case("names with spaces, slashes and colons", config(CLUSTER, {"token": "t"}, "arn:aws:eks/eu west")),
)
