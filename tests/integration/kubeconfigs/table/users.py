"""Users: certificates, tokens, passwords, impersonation, and providers of old."""

from __future__ import annotations

from typing import Any, Final

from integration.kubeconfigs.case import CLUSTER, Case, case
from integration.kubeconfigs.table.reasons import CLEAR_TEXT, OIDC

ALICE: Final = {"client-certificate": "pki/alice.crt", "client-key": "pki/alice.key"}
BOB: Final = {
    "client-certificate-data": "{{base64:bob.crt}}",
    "client-key-data": "{{base64:bob.key}}",
}


def provider(name: str, **settings: str) -> dict[str, Any]:
    """Return a user of an auth-provider."""
    return {"auth-provider": {"name": name, "config": {key.replace("_", "-"): each for key, each in settings.items()}}}


NETRC: Final = {".netrc": "machine 127.0.0.1 login netrc password netrc\ndefault login any password any\n"}

CASES: Final[tuple[Case, ...]] = (
    case("nobody", user={}),
    case("a certificate's files", user=ALICE),
    case("a certificate's data", user=BOB),
    case("files and data", user={**ALICE, **BOB}),
    case(
        "a certificate's file and its key's data",
        user={"client-certificate": "pki/bob.crt", "client-key-data": BOB["client-key-data"]},
    ),
    case(
        "a certificate's data and its key's file",
        user={"client-certificate-data": BOB["client-certificate-data"], "client-key": "pki/bob.key"},
    ),
    case("files and empty data", user={**ALICE, "client-certificate-data": "", "client-key-data": ""}),
    case("one file for both", user={"client-certificate": "pki/alice-both.pem", "client-key": "pki/alice-both.pem"}),
    case("one file for both, named once", user={"client-certificate": "pki/alice-both.pem"}),
    case("a certificate without a key", user={"client-certificate": "pki/alice.crt"}),
    case(
        "a certificate's data without a key, and a token",
        user={"client-certificate-data": BOB["client-certificate-data"], "token": "t0ken"},
    ),
    case("a key without a certificate", user={"client-key": "pki/alice.key"}),
    case("a key without a certificate, and a token", user={"client-key": "pki/alice.key", "token": "t0ken"}),
    case("a key of another certificate", user={**ALICE, "client-key": "pki/bob.key"}),
    case("a key that is encrypted", user={**ALICE, "client-key": "pki/alice-encrypted.key"}),
    case("a key's file is missing", user={**ALICE, "client-key": "pki/no.key"}),
    case("a certificate's file is missing", user={**ALICE, "client-certificate": "pki/no.crt"}),
    case("a certificate's file is garbage", user={**ALICE, "client-certificate": "pki/garbage.crt"}),
    case("a certificate's data is no base64", user={**BOB, "client-certificate-data": "?"}),
    case("a certificate's data is garbage", user={**BOB, "client-certificate-data": "Z2FyYmFnZQ=="}),
    case("a certificate and a token", user={**ALICE, "token": "t0ken"}),
    case("a certificate and a password", user={**ALICE, "username": "u", "password": "p"}),
    case(
        "a certificate, skipping verification",
        user=ALICE,
        cluster={"server": CLUSTER["server"], "insecure-skip-tls-verify": True},
    ),
    case("a token's file", user={"tokenFile": "token"}, files={"token": "from a file"}),
    case("a token's file ends in line feeds", user={"tokenFile": "token"}, files={"token": "file\n\n"}),
    case("a token's file with a line feed within", user={"tokenFile": "token"}, files={"token": "a\nb"}),
    case("a token's file is empty", user={"tokenFile": "token"}, files={"token": ""}),
    case("a token's file is white", user={"tokenFile": "token"}, files={"token": " \n"}),
    case("a token's file is missing", user={"tokenFile": "token"}),
    case("a token's file is a directory", user={"tokenFile": "token"}, files={"token/": ""}),
    case(
        "a token and a token's file: the file counts",
        user={"token": "t0ken", "tokenFile": "token"},
        files={"token": "from a file"},
    ),
    case("a token, and its file is missing", user={"token": "t0ken", "tokenFile": "token"}),
    case("a token, and its file is empty", user={"token": "t0ken", "tokenFile": "token"}, files={"token": ""}),
    case("a token's file below the home directory", user={"tokenFile": "~/token"}, files={"token": "from a file"}),
    case("a token's absolute file", user={"tokenFile": "{{home}}/token"}, files={"token": "from a file"}),
    case("a token with a line feed behind", user={"token": "t0ken\n"}),
    case("a token with a line feed within", user={"token": "a\nb: c"}),
    case("a token with a carriage return", user={"token": "a\rb"}),
    case("a token with spaces around", user={"token": " t0ken "}),
    case("a token with a space within", user={"token": "a b"}),
    case("a token with a tab", user={"token": "a\tb"}),
    case("a token with a zero", user={"token": "a\0b"}),
    case("a token beyond ASCII", user={"token": "t\u00f6ken"}),
    case("a token that says Bearer", user={"token": "Bearer t0ken"}),
    case("a token of 8 KiB", user={"token": "t" * 8192}),
    case("a name and a password", user={"username": "u", "password": "p"}),
    case("a name alone", user={"username": "u"}),
    case("a password alone", user={"password": "p"}),
    case("a name and a password with odd characters", user={"username": "u:v", "password": "p\u00e4: \n"}),
    case("a password, and a token", user={"username": "u", "password": "p", "token": "t0ken"}),
    case(
        "a password, and a token's file",
        user={"username": "u", "password": "p", "tokenFile": "token"},
        files={"token": "file"},
    ),
    case("a netrc with the server, and a token", files=NETRC),
    case("a netrc with the server, and a certificate", user=ALICE, files=NETRC),
    case("a netrc that NETRC names", user=ALICE, files={"rc": NETRC[".netrc"]}, environ={"NETRC": "{{home}}/rc"}),
    case("a netrc that is garbage", files={".netrc": "machine"}),
    case("as", user={"token": "t0ken", "as": "bob"}),
    case("as, with groups", user={"token": "t0ken", "as": "bob", "as-groups": ["a", "b"]}),
    case("as, with one group that is text", user={"token": "t0ken", "as": "bob", "as-groups": "a"}),
    case("as, with a uid", user={"token": "t0ken", "as": "bob", "as-uid": "1"}),
    case("as, with a uid that is a number", user={"token": "t0ken", "as": "bob", "as-uid": 1}),
    case(
        "as, with more",
        user={"token": "t0ken", "as": "bob", "as-user-extra": {"reason": ["a", "b"], "Odd/Key %": ["c"]}},
    ),
    case("as, with a certificate", user={**ALICE, "as": "bob"}),
    case("as, and nobody", user={"as": "bob"}),
    case(
        "as, over http to another address, and a certificate",
        cluster={"server": "http://0.0.0.0:{{plain}}"},
        user={**ALICE, "as": "bob"},
        differs=CLEAR_TEXT,
    ),
    case("as somebody with a line feed", user={"token": "t0ken", "as": "bob\nx: y"}),
    case("as somebody beyond ASCII", user={"token": "t0ken", "as": "b\u00f6b"}),
    case("groups without as", user={"token": "t0ken", "as-groups": ["a"]}),
    case("a uid without as", user={"token": "t0ken", "as-uid": "1"}),
    case("more without as", user={"token": "t0ken", "as-user-extra": {"a": ["b"]}}),
    case("no groups without as", user={"token": "t0ken", "as-groups": [], "as-user-extra": {}}),
    case(
        "auth-provider: oidc",
        user=provider("oidc", id_token="a.e30.c", idp_issuer_url="https://127.0.0.1:1", client_id="c"),
    ),
    case(
        "auth-provider: oidc, with a token that is valid",
        user=provider(
            "oidc", id_token="e30.eyJleHAiOjQwNzA5MDg4MDB9.c", idp_issuer_url="https://127.0.0.1:1", client_id="c"
        ),
        differs=OIDC,
    ),
    case(
        "auth-provider: oidc without client-secret",
        user=provider("oidc", refresh_token="s3cret", idp_issuer_url="https://127.0.0.1:1", client_id="c"),
    ),
    case("auth-provider: azure", user=provider("azure", access_token="s3cret", apiserver_id="a", tenant_id="t")),
    case("auth-provider: gcp", user=provider("gcp", access_token="s3cret", expiry="2099-01-01T00:00:00Z")),
    case("auth-provider: unknown", user=provider("mine")),
    case("auth-provider: unknown, and a token", user={**provider("mine"), "token": "t0ken"}),
    case("auth-provider: null, and a token", user={"auth-provider": None, "token": "t0ken"}),
    case(
        "auth-provider and exec",
        user={
            **provider("mine"),
            "exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": "true", "interactiveMode": "Never"},
        },
    ),
)
