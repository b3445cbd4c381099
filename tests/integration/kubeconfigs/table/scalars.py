"""How a file is written: types, YAML's corners, JSON, and what does not belong there."""

from __future__ import annotations

import json
from typing import Final

from integration.kubeconfigs.case import CLUSTER, TEXT, Case, Encoded, case, config, text

GOOD: Final = "    certificate-authority: pki/ca.crt"
INSECURE: Final = "    insecure-skip-tls-verify: "

CASES: Final[tuple[Case, ...]] = (
    case("as people write it", TEXT),
    case("JSON", json.dumps(config(CLUSTER, {"token": "t0ken"}), indent=4)),
    case("JSON with tabs", json.dumps(config(CLUSTER, {"token": "t0ken"}), indent="\t")),
    case("insecure-skip-tls-verify: true", text(GOOD, INSECURE + "true")),
    case('insecure-skip-tls-verify: "true"', text(GOOD, INSECURE + '"true"')),
    case('insecure-skip-tls-verify: "false"', text(GOOD, INSECURE + '"false"')),
    case("insecure-skip-tls-verify: yes", text(GOOD, INSECURE + "yes")),
    case("insecure-skip-tls-verify: on", text(GOOD, INSECURE + "on")),
    case("insecure-skip-tls-verify: y", text(GOOD, INSECURE + "y")),
    case("insecure-skip-tls-verify: TRUE", text(GOOD, INSECURE + "TRUE")),
    case("insecure-skip-tls-verify: 1", text(GOOD, INSECURE + "1")),
    case("insecure-skip-tls-verify: null", text(GOOD, f"{GOOD}\n{INSECURE}null")),
    case("insecure-skip-tls-verify: without a value", text(GOOD, f"{GOOD}\n{INSECURE}")),
    case("insecure-skip-tls-verify: ''", text(GOOD, f"{GOOD}\n{INSECURE}''")),
    case("names that are numbers", text(": c\n", ": 123\n")),
    case("names that are true", text(": c\n", ": true\n")),
    case("names that are quoted", text(": c\n", ': "123"\n')),
    case("names that are null", text(": c\n", ": null\n")),
    case("names that are floats", text(": c\n", ": 1.10\n")),
    case("names that are dates", text(": c\n", ": 2026-01-01\n")),
    case("a name that is no and one that is off", text(": c\n", ": no\n")),
    case("a token that is a number", text("t0ken", "123456")),
    case("a token that is true", text("t0ken", "true")),
    case("a token that looks like a float", text("t0ken", "1e5")),
    case("a token that is quoted", text("t0ken", '"123456"')),
    case("a token that is null", text("t0ken", "null")),
    case("a token that is a list", text("t0ken", "[a]")),
    case("a token that is folded", text("t0ken", ">-\n      t0k\n      en")),
    case("a token that is a block with a line feed", text("t0ken", "|\n      t0ken")),
    case("a server that is a list", text("https://127.0.0.1:{{main}}", "[]")),
    case("a cluster that is null", clusters=[{"name": "c", "cluster": None}]),
    case("a user that is null", user=None),
    case("a user that is a list", user=[]),
    case("a user that is text", user="t0ken"),
    case("clusters that are a mapping", clusters={"c": CLUSTER}),
    case("clusters that are text", clusters="c"),
    case("a list entry that is null", users=[None, {"name": "c", "user": {"token": "t0ken"}}]),
    case("a list of kubeconfigs", "[]"),
    case("text alone", "kubeconfig"),
    case("anchors and aliases", text(": c\n", ": &n c\n", "user: &n c", "user: *n")),
    case("a merge key", text("    token: t0ken", "    <<: {token: t0ken}")),
    case("an alias that is not defined", text("t0ken", "*t")),
    case("a tag", text("t0ken", "!!str 123")),
    case("a tag that is unknown", text("t0ken", "!secret t0ken")),
    case("CRLF", TEXT.replace("\n", "\r\n")),
    case("a byte order mark", "\ufeff" + TEXT),
    case("UTF-16", Encoded("\ufeff" + TEXT, "utf-16-le")),
    case("ISO-8859-1", Encoded(text("kind", "# né\nkind"), "latin-1")),
    case("a byte that is zero", TEXT + "\0"),
    case("tabs for indentation", TEXT.replace("  ", "\t")),
    case("a tab before a comment", text("t0ken", "t0ken\t# mine")),
    case("a document's begin and end", f"---\n{TEXT}...\n"),
    case("two documents", f"{TEXT}---\n{TEXT.replace('t0ken', 'second')}"),
    case("an empty document first", f"---\n---\n{TEXT}"),
    case("a key twice", TEXT + "current-context: d\n"),
    case("a user's key twice", text("    token: t0ken", "    token: one\n    token: two")),
    case("a key in another case", text("    token", "    Token")),
    case("keys in camel case", text("certificate-authority", "certificateAuthority")),
    case("fields that are unknown", text("    token", "    colour: red\n    token")),
    case("fields that are unknown, above", TEXT + "colour: red\n"),
    case(
        "preferences and extensions", TEXT + "preferences: {colors: true}\nextensions: [{name: x, extension: {a: b}}]\n"
    ),
    case("another kind", kind="ConfigMap"),
    case("another apiVersion", apiVersion="v2"),
    case("neither kind nor apiVersion", TEXT.partition("current")[1] + TEXT.partition("current")[2]),
    case("kind alone", TEXT.partition("\n")[2]),
    case("an empty kind", kind=""),
    case("a kind that is a number", kind=1),
    case(
        "empty strings are unset",
        cluster={**CLUSTER, "proxy-url": "", "tls-server-name": "", "certificate-authority-data": ""},
        user={"token": "t0ken", "tokenFile": "", "as": "", "username": "", "client-certificate": ""},
    ),
    case(
        "nulls are unset",
        cluster={**CLUSTER, "proxy-url": None, "tls-server-name": None, "certificate-authority-data": None},
        user={"token": "t0ken", "tokenFile": None, "as": None, "as-groups": None, "exec": None, "auth-provider": None},
    ),
    case("strings with spaces around", cluster={**CLUSTER, "server": " https://127.0.0.1:{{main}} "}),
)
