"""A client of kdm that shows a certificate."""

import ssl
import sys
from typing import TypeVar

from kdm_client import Client
from kdm_client.models import Error, Problem, Unhealthy

T = TypeVar("T")


def connect() -> Client:
    """Return a client of the address, and with the certificates, that the command line names."""
    base_url, certs = sys.argv[1:] or ("https://localhost:8443", "certs")
    tls = ssl.create_default_context(cafile=f"{certs}/dev-ca.pem")
    tls.load_cert_chain(f"{certs}/dev-admin.pem", f"{certs}/dev-admin-key.pem")
    return Client(base_url=base_url, verify_ssl=tls)


def data_of(answer: T | Problem | Error | Unhealthy | None) -> T:
    """Return what an answer shows, or raise what went wrong."""
    match answer:
        case Problem():
            raise RuntimeError(answer.detail)
        case Error() | Unhealthy():
            raise RuntimeError(answer.error)
        case None:
            raise RuntimeError("an answer that the description does not have")
    return answer
