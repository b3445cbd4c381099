"""Exec plugins (KEP-541): how they are run, what they are told, and what of their answers is used."""

from __future__ import annotations

import json
from typing import Any, Final

from integration.kubeconfigs.case import CLUSTER, Case, case, plugin
from integration.kubeconfigs.table.reasons import WITHIN

API: Final = "client.authentication.k8s.io/v1"
PAIR: Final = {"clientCertificateData": "{{json:bob.crt}}", "clientKeyData": "{{json:bob.key}}"}
ALICE: Final = {"client-certificate": "pki/alice.crt", "client-key": "pki/alice.key"}
TELL: Final = 'printf %s "$KUBERNETES_EXEC_INFO" > "$HOME/told"'
EXTENSION: Final = [
    {"name": "client.authentication.k8s.io/exec", "extension": {"audience": "me", "n": [1, True, None]}}
]
OTHER: Final = [{"name": "other", "extension": {"audience": "other"}}]
FULL: Final[dict[str, Any]] = {
    **CLUSTER,
    "tls-server-name": "other.test",
    "proxy-url": "http://127.0.0.1:{{proxy}}",
    "disable-compression": True,
    "extensions": [*OTHER, *EXTENSION],
}


def moved(arguments: dict[str, Any], **files: Any) -> dict[str, Any]:
    """Return arguments with the plugin elsewhere than beside the kubeconfig."""
    return {**arguments, "files": {name.replace("__", "/"): each for name, each in files.items()}}


def beside(user: dict[str, Any], status: object = None) -> dict[str, Any]:
    """Return arguments for a user that has more than the plugin."""
    arguments = plugin(status)
    return {**arguments, "user": {**arguments["user"], **user}}


def answering(text: str, code: int = 0) -> dict[str, Any]:
    """Return arguments for a plugin that says just that."""
    return moved(plugin(), plugin=f"#!/bin/sh\ncat <<'END'\n{text}\nEND\nexit {code}\n")


SCRIPT: Final = plugin()["files"]["plugin"]
MINTED: Final = {"token": "minted", "expirationTimestamp": "SOON"}
SOON: Final = f"""#!/bin/sh
soon=$(date -u -d '+30 sec' +%Y-%m-%dT%H:%M:%SZ)
echo '{json.dumps({"apiVersion": API, "kind": "ExecCredential", "status": MINTED})}' | sed "s/SOON/$soon/"
"""
ANSWER: Final = '{"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": {"token": "a"}}'

CASES: Final[tuple[Case, ...]] = (
    case("the plugin gives a token", **plugin()),
    case("the plugin gives a certificate", **plugin(PAIR)),
    case("the plugin gives a token and a certificate", **plugin({**PAIR, "token": "minted"})),
    case(
        "the plugin gives a certificate without its key",
        **plugin({"clientCertificateData": PAIR["clientCertificateData"]}),
    ),
    case(
        "the plugin gives a certificate with another's key", **plugin({**PAIR, "clientKeyData": "{{json:alice.key}}"})
    ),
    case("the plugin gives a certificate that is garbage", **plugin({**PAIR, "clientCertificateData": "garbage"})),
    case("the plugin gives neither", **plugin({"expirationTimestamp": "2099-01-01T00:00:00Z"})),
    case("the plugin gives an empty token", **plugin({"token": ""})),
    case("the plugin gives a token with a line feed behind", **plugin({"token": "minted\n"})),
    case("the plugin gives a token that is a number", **plugin({"token": 1})),
    case(
        "the plugin gives no status",
        **answering('{"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential"}'),
    ),
    case(
        "the plugin gives another kind",
        **answering('{"apiVersion": "client.authentication.k8s.io/v1", "kind": "Token", "status": {"token": "a"}}'),
    ),
    case(
        "the plugin gives another version than was asked for",
        **answering(
            '{"apiVersion": "client.authentication.k8s.io/v1beta1", "kind": "ExecCredential", "status": {"token": "a"}}'
        ),
    ),
    case(
        "the plugin gives no kind",
        **answering('{"apiVersion": "client.authentication.k8s.io/v1", "status": {"token": "a"}}'),
    ),
    case(
        "the plugin gives YAML",
        **answering("apiVersion: client.authentication.k8s.io/v1\nkind: ExecCredential\nstatus: {token: yaml}"),
    ),
    case("an answer that is text", **answering("t0ken")),
    case("an answer that is a list", **answering("[]")),
    case("an answer that is empty", **answering("")),
    case("an answer with something behind", **answering(f"{ANSWER}\nbye")),
    case("an answer with unknown fields", **plugin({"token": "minted", "colour": "red"})),
    case("arguments", **plugin(script='printf "%s|" "$@" > "$HOME/told"', args=["get", "a b", ""])),
    case("arguments that are null", **plugin(args=None, env=None)),
    case("arguments that are numbers", **plugin(args=[1])),
    case(
        "variables",
        **plugin(
            script='printf %s "$A$B" > "$HOME/told"', env=[{"name": "A", "value": "1"}, {"name": "B", "value": "2"}]
        ),
    ),
    case(
        "a variable twice: the last counts",
        **plugin(
            script='printf %s "$A" > "$HOME/told"', env=[{"name": "A", "value": "1"}, {"name": "A", "value": "2"}]
        ),
    ),
    case("a variable without a value", **plugin(script='printf %s "${A-unset}" > "$HOME/told"', env=[{"name": "A"}])),
    case("a variable without a name", **plugin(env=[{"name": "", "value": "1"}])),
    case("a variable that is a number", **plugin(env=[{"name": "A", "value": 1}])),
    case(
        "a variable that hides one of the environment",
        **plugin(script='printf %s "$A" > "$HOME/told"', env=[{"name": "A", "value": "1"}]),
        environ={"A": "0"},
    ),
    case("variables that are a mapping", **plugin(env={"A": "1"})),
    case("a command beside the kubeconfig", **plugin(command="./plugin")),
    case("a command below it", **moved(plugin(command="bin/plugin"), bin__plugin=SCRIPT)),
    case("a command above it", **plugin(command="./cwd/../plugin")),
    case("an absolute command", **plugin(command="{{home}}/plugin")),
    case(
        "a command in PATH",
        **moved(plugin(command="minter"), bin__minter=SCRIPT),
        environ={"PATH": "{{home}}/bin:/usr/bin:/bin"},
    ),
    case(
        "a command in PATH, by what env says",
        **moved(
            plugin(command="minter", env=[{"name": "PATH", "value": "{{home}}/bin:/usr/bin:/bin"}]), bin__minter=SCRIPT
        ),
    ),
    case("a command without a slash beside the kubeconfig", **plugin(command="plugin")),
    case("a command in a relative part of PATH", **plugin(command="plugin"), environ={"PATH": "..:/usr/bin:/bin"}),
    case("a command with a tilde", **plugin(command="~/plugin")),
    case("a command with arguments within", **plugin(command="./plugin get")),
    case("a command that is not there", **plugin(command="./no", installHint="install it")),
    case("a command that is not in PATH", **plugin(command="kdm-no-such-plugin", installHint="install it")),
    case("a command that may not be run", **moved(plugin(), plugin="cat\n")),
    case("a command that is a directory", **moved(plugin(command="./plugin"), plugin__="")),
    case("an empty command", **plugin(command="")),
    case("no command, but variables", **plugin(command=None, env=[{"name": "A", "value": "s3cret"}])),
    case("interactiveMode: IfAvailable", **plugin(script=TELL, interactiveMode="IfAvailable")),
    case("interactiveMode: Never", **plugin(script=TELL, interactiveMode="Never")),
    case("interactiveMode: Always", **plugin(script=TELL, interactiveMode="Always")),
    case("interactiveMode: Sometimes", **plugin(script=TELL, interactiveMode="Sometimes")),
    case("no interactiveMode, v1", **plugin(script=TELL, interactiveMode=None)),
    case("no interactiveMode, v1beta1", **plugin(script=TELL, version="v1beta1", interactiveMode=None)),
    case("apiVersion v1beta1", **plugin(script=TELL, version="v1beta1")),
    case("apiVersion v1alpha1", **plugin(version="v1alpha1")),
    case("apiVersion v2", **plugin(version="v2")),
    case("no apiVersion", **plugin(apiVersion=None)),
    case("apiVersion of another group", **plugin(apiVersion="v1")),
    case("provideClusterInfo: all there is", cluster=FULL, **plugin(script=TELL, provideClusterInfo=True)),
    case(
        "provideClusterInfo: a CA as data",
        cluster={"server": CLUSTER["server"], "certificate-authority-data": "{{base64:ca.crt}}"},
        **plugin(script='test -n "$KUBERNETES_EXEC_INFO" && touch "$HOME/told"', provideClusterInfo=True),
    ),
    case(
        "provideClusterInfo: skipping verification",
        cluster={"server": CLUSTER["server"], "insecure-skip-tls-verify": True},
        **plugin(script=TELL, provideClusterInfo=True),
    ),
    case(
        "provideClusterInfo: an extension that is null",
        cluster={**CLUSTER, "extensions": [{"name": EXTENSION[0]["name"], "extension": None}]},
        **plugin(script=TELL, provideClusterInfo=True),
    ),
    case(
        "provideClusterInfo: a path behind the server",
        cluster={**CLUSTER, "server": "https://127.0.0.1:{{main}}/k8s/"},
        **plugin(script=TELL, provideClusterInfo=True),
    ),
    case("provideClusterInfo: false", cluster=FULL, **plugin(script=TELL, provideClusterInfo=False)),
    case(
        "provideClusterInfo: v1beta1", cluster=FULL, **plugin(script=TELL, version="v1beta1", provideClusterInfo=True)
    ),
    case('provideClusterInfo: "true"', **plugin(provideClusterInfo="true")),
    case("expired long ago", **plugin({"token": "minted", "expirationTimestamp": "2020-01-01T00:00:00Z"})),
    case("expires in a moment", **moved(plugin(), plugin=SOON)),
    case("expires in the far future", **plugin({"token": "minted", "expirationTimestamp": "2099-01-01T00:00:00Z"})),
    case(
        "expires at another offset", **plugin({"token": "minted", "expirationTimestamp": "2099-01-01T00:00:00.5+02:00"})
    ),
    case(
        "expires at a time without an offset",
        **plugin({"token": "minted", "expirationTimestamp": "2099-01-01T00:00:00"}),
    ),
    case("expires at no time", **plugin({"token": "minted", "expirationTimestamp": "soon"})),
    case("expires never: null", **plugin({"token": "minted", "expirationTimestamp": None})),
    case("expires at a number", **plugin({"token": "minted", "expirationTimestamp": 4070908800})),
    case("expires at an empty time", **plugin({"token": "minted", "expirationTimestamp": ""})),
    case("words on standard error", **plugin(script="echo 'a new version is out' >&2")),
    case("fails, and says something all the same", **answering(ANSWER, 1)),
    case("is killed", **plugin(script="kill -9 $$")),
    case("reads its input", **plugin(script='cat > "$HOME/told"')),
    case("exec is null, and a token", user={"exec": None, "token": "t0ken"}),
    case("exec is empty, and a token", user={"exec": {}, "token": "t0ken"}),
    case("exec is null, and nobody", user={"exec": None}),
    case("exec, and a token", **beside({"token": "t0ken"})),
    case("exec, and a password", **beside({"username": "u", "password": "p"})),
    case("exec, and a certificate", **beside(ALICE)),
    case("exec with a certificate, and a certificate", **beside(ALICE, PAIR)),
    case("exec, as somebody else", **beside({"as": "bob"})),
    case("exec over http to loopback", cluster={"server": "http://127.0.0.1:{{plain}}"}, **plugin(), differs=WITHIN),
)
