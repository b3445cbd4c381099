"""Servers: how their address is written, and which of their certificates are good enough."""

from __future__ import annotations

from typing import Any, Final

from integration.kubeconfigs.case import CLUSTER, Case, case
from integration.kubeconfigs.table.reasons import CLEAR_TEXT, FRAGMENT, USERINFO, WITHIN


def at(server: object, **more: Any) -> dict[str, Any]:
    """Return a cluster. ``_`` in a key stands for ``-``; a key that is None is absent."""
    keys = {"certificate-authority": "pki/ca.crt", **{key.replace("_", "-"): value for key, value in more.items()}}
    return {"server": server} | {key: value for key, value in keys.items() if value is not None}


MAIN: Final = "https://127.0.0.1:{{main}}"
DATA: Final = "{{base64:ca.crt}}"
WRONG: Final = "{{base64:stranger-ca.crt}}"

CASES: Final[tuple[Case, ...]] = (
    case("no scheme, a CA", cluster=at("127.0.0.1:{{main}}")),
    case("no scheme, no CA", cluster=at("127.0.0.1:{{plain}}", certificate_authority=None), differs=WITHIN),
    case("no scheme, a name", cluster=at("localhost:{{main}}")),
    case("no scheme, a path", cluster=at("127.0.0.1:{{main}}/k8s")),
    case(
        "no scheme, skipping verification",
        cluster=at("127.0.0.1:{{main}}", certificate_authority=None, insecure_skip_tls_verify=True),
    ),
    case("http to loopback", cluster=at("http://127.0.0.1:{{plain}}", certificate_authority=None), differs=WITHIN),
    case(
        "http to loopback, a client certificate",
        cluster=at("http://127.0.0.1:{{plain}}", certificate_authority=None),
        user={"client-certificate": "pki/alice.crt", "client-key": "pki/alice.key"},
    ),
    case("http, a CA besides", cluster=at("http://127.0.0.1:{{plain}}"), differs=WITHIN),
    case(
        "http with a token to another address",
        cluster=at("http://0.0.0.0:{{plain}}", certificate_authority=None),
        differs=CLEAR_TEXT,
    ),
    case(
        "http with a password to another address",
        cluster=at("http://0.0.0.0:{{plain}}", certificate_authority=None),
        user={"username": "u", "password": "p"},
        differs=CLEAR_TEXT,
    ),
    case(
        "http with nothing to another address",
        cluster=at("http://0.0.0.0:{{plain}}", certificate_authority=None),
        user={"client-certificate": "pki/alice.crt", "client-key": "pki/alice.key"},
    ),
    case("https to a server that speaks http", cluster=at("https://127.0.0.1:{{plain}}")),
    case("http to a server that speaks https", cluster=at("http://127.0.0.1:{{main}}")),
    case("a slash behind", cluster=at(f"{MAIN}/")),
    case("a path", cluster=at(f"{MAIN}/k8s/clusters/c-1")),
    case("a path with a slash behind", cluster=at(f"{MAIN}/k8s/clusters/c-1/")),
    case("a path with two slashes", cluster=at(f"{MAIN}//k8s//c")),
    case("a path with percent signs", cluster=at(f"{MAIN}/a%20b%2Fc")),
    case("a path with a space", cluster=at(f"{MAIN}/a b")),
    case("a path with dots", cluster=at(f"{MAIN}/a/../b")),
    case("a query", cluster=at(f"{MAIN}/?a=b")),
    case("a query behind a path", cluster=at(f"{MAIN}/k8s?a=b")),
    case("a fragment", cluster=at(f"{MAIN}/k8s#there"), differs=FRAGMENT),
    case("userinfo and a token", cluster=at("https://u:p@127.0.0.1:{{main}}"), differs=USERINFO),
    case(
        "userinfo alone",
        cluster=at("https://u:p@127.0.0.1:{{main}}"),
        user={"client-certificate": "pki/alice.crt", "client-key": "pki/alice.key"},
        differs=USERINFO,
    ),
    case("IPv6", cluster=at("https://[::1]:{{v6}}")),
    case("IPv6 with a path", cluster=at("https://[::1]:{{v6}}/k8s")),
    case("IPv6 without brackets", cluster=at("https://::1:{{v6}}")),
    case("a name", cluster=at("https://localhost:{{main}}")),
    case("a name in capitals", cluster=at("https://LOCALHOST:{{main}}")),
    case("a scheme in capitals", cluster=at("HTTPS://127.0.0.1:{{main}}")),
    case("a scheme that is unknown", cluster=at("ftp://127.0.0.1:{{main}}")),
    case("a socket's scheme", cluster=at("unix:///run/kube.sock")),
    case("no server", cluster={"certificate-authority": "pki/ca.crt"}),
    case("an empty server", cluster=at("")),
    case("a server without a host", cluster=at("https://")),
    case("a server that is a scheme and a port", cluster=at("https://:{{main}}")),
    case("a port that is none", cluster=at("https://127.0.0.1:kube")),
    case("a port that is too large", cluster=at("https://127.0.0.1:99999")),
    case("an empty port", cluster=at("https://127.0.0.1:/", proxy_url="http://127.0.0.1:{{proxy}}")),
    case("a line feed in the server", cluster=at(f"{MAIN}\n")),
    case("a CA as data", cluster=at(MAIN, certificate_authority=None, certificate_authority_data=DATA)),
    case(
        "a CA as a file and as data",
        cluster=at(MAIN, certificate_authority="pki/stranger-ca.crt", certificate_authority_data=DATA),
    ),
    case("a CA as a file and as wrong data", cluster=at(MAIN, certificate_authority_data=WRONG)),
    case("a CA as a file and as empty data", cluster=at(MAIN, certificate_authority_data="")),
    case("a CA's file is missing", cluster=at(MAIN, certificate_authority="pki/no.crt")),
    case(
        "a CA's file is missing, and there is data",
        cluster=at(MAIN, certificate_authority="pki/no.crt", certificate_authority_data=DATA),
    ),
    case("a CA's file is a directory", cluster=at(MAIN, certificate_authority="pki")),
    case("a CA's file is empty", cluster=at(MAIN, certificate_authority="pki/empty.crt")),
    case("a CA's file is garbage", cluster=at(MAIN, certificate_authority="pki/garbage.crt")),
    case("a CA's data is an empty list", cluster=at(MAIN, certificate_authority_data=[])),
    case("a CA's data is a list of numbers", cluster=at(MAIN, certificate_authority_data=[65])),
    case("a CA's data is a list of texts", cluster=at(MAIN, certificate_authority_data=["A"])),
    case("a CA's data is no base64", cluster=at(MAIN, certificate_authority=None, certificate_authority_data="?")),
    case(
        "a CA's data is base64 of garbage",
        cluster=at(MAIN, certificate_authority=None, certificate_authority_data="Z2FyYmFnZQ=="),
    ),
    case(
        "a CA's data is PEM itself",
        cluster=at(MAIN, certificate_authority=None, certificate_authority_data="{{json:ca.crt}}"),
    ),
    case(
        "a CA's data without its padding", cluster=at(MAIN, certificate_authority=None, certificate_authority_data="YQ")
    ),
    case("a CA's data in base64url", cluster=at(MAIN, certificate_authority=None, certificate_authority_data="_-8=")),
    case(
        "a CA's data with line feeds",
        cluster=at(MAIN, certificate_authority=None, certificate_authority_data=f"\n{DATA}\n"),
    ),
    case(
        "a CA's data with spaces", cluster=at(MAIN, certificate_authority=None, certificate_authority_data=f" {DATA}")
    ),
    case("a bundle with CRLF and comments", cluster=at(MAIN, certificate_authority="pki/bundle.crt")),
    case("another CA", cluster=at(MAIN, certificate_authority="pki/stranger-ca.crt")),
    case("another server", cluster=at("https://127.0.0.1:{{stranger}}")),
    case("no CA: the system's", cluster=at(MAIN, certificate_authority=None)),
    case(
        "no CA: the one SSL_CERT_FILE names",
        cluster=at(MAIN, certificate_authority=None),
        environ={"SSL_CERT_FILE": "{{home}}/pki/ca.crt"},
    ),
    case(
        "no CA: those SSL_CERT_DIR names",
        cluster=at(MAIN, certificate_authority=None),
        environ={"SSL_CERT_DIR": "{{home}}/cas", "SSL_CERT_FILE": "{{home}}/pki/stranger-ca.crt"},
        files={"cas/ca.crt": "{{text:ca.crt}}"},
    ),
    case(
        "a CA, and SSL_CERT_FILE",
        cluster=at(MAIN, certificate_authority="pki/stranger-ca.crt"),
        environ={"SSL_CERT_FILE": "{{home}}/pki/ca.crt"},
    ),
    case(
        "skipping verification",
        cluster=at("https://127.0.0.1:{{stranger}}", certificate_authority=None, insecure_skip_tls_verify=True),
    ),
    case("skipping verification, and a CA", cluster=at(MAIN, insecure_skip_tls_verify=True)),
    case(
        "skipping verification, and a CA as data",
        cluster=at(MAIN, certificate_authority=None, certificate_authority_data=DATA, insecure_skip_tls_verify=True),
    ),
    case(
        "skipping verification, and a name",
        cluster=at(
            "https://127.0.0.1:{{stranger}}",
            certificate_authority=None,
            insecure_skip_tls_verify=True,
            tls_server_name="other.test",
        ),
    ),
    case("not skipping verification, in so many words", cluster=at(MAIN, insecure_skip_tls_verify=False)),
    case("tls-server-name that the certificate has", cluster=at(MAIN, tls_server_name="other.test")),
    case("tls-server-name that it has not", cluster=at(MAIN, tls_server_name="foreign.test")),
    case("tls-server-name is an address", cluster=at("https://localhost:{{main}}", tls_server_name="127.0.0.1")),
    case("tls-server-name with a dot behind", cluster=at(MAIN, tls_server_name="other.test.")),
    case("tls-server-name in capitals", cluster=at(MAIN, tls_server_name="OTHER.test")),
    case(
        "tls-server-name over http",
        cluster=at("http://127.0.0.1:{{plain}}", certificate_authority=None, tls_server_name="other.test"),
        differs=WITHIN,
    ),
    case("a CA without key usage", cluster=at("https://127.0.0.1:{{bare}}", certificate_authority="pki/bare-ca.crt")),
    case(
        "a server's certificate is its own CA",
        cluster=at("https://127.0.0.1:{{own}}", certificate_authority="pki/own.crt"),
    ),
    case(
        "a server's certificate as the CA, which another CA issued",
        cluster=at(MAIN, certificate_authority="pki/main.crt"),
    ),
    case("a certificate with a common name alone", cluster=at("https://localhost:{{nameless}}")),
    case("a certificate that has expired", cluster=at("https://127.0.0.1:{{expired}}")),
    case(
        "a certificate that has expired, skipping verification",
        cluster=at("https://127.0.0.1:{{expired}}", certificate_authority=None, insecure_skip_tls_verify=True),
    ),
    case("nobody listens", cluster=at("https://127.0.0.1:1")),
    case("compression may be switched off", cluster={**CLUSTER, "disable-compression": True}),
)
