"""What `helm test` runs: the API answers both RFDs' health over mutual TLS, and not without a client certificate.

Arguments: the API's URL, the directory of the client's tls.crt, tls.key and ca.crt, and for how many seconds to try
until the API can be reached: right after an installation its name or the way to it may not be known everywhere.
"""

import http.client
import json
import os
import socket
import ssl
import sys
import time
from urllib.parse import urlsplit

TIMEOUT_S = 10


def main() -> int:
    """Try, and say what came of it."""
    address, directory = urlsplit(sys.argv[1]), sys.argv[2]
    deadline = time.monotonic() + float(sys.argv[3])
    try:
        context = ssl.create_default_context(cafile=f"{directory}/ca.crt")
        check_refused(address, context, deadline)
        context.load_cert_chain(f"{directory}/tls.crt", f"{directory}/tls.key")
        for path in ("/health", "/api/v1/health"):
            check_healthy(address, context, path, deadline)
    except (Failed, OSError, http.client.HTTPException) as error:
        print(f"failed: {error or type(error).__name__}")
        return 1
    return 0


class Reset(ConnectionResetError):
    """The server broke the connection off, which is not how a connection ends by itself."""


class Failed(Exception):
    """The API is not what it must be; the message says in what."""


def reach(address, deadline):
    """Return a TCP connection, as soon as one can be made: what comes of it is the checks' matter."""
    told = False
    while True:
        try:
            return socket.create_connection((address.hostname, address.port), timeout=TIMEOUT_S)
        except OSError as error:
            if time.monotonic() > deadline:
                raise
            if not told:
                print(f"waiting until {address.netloc} can be reached: {error}", flush=True)
                told = True
            time.sleep(1)


def check_refused(address, context, deadline):
    """Make sure that a client without a certificate is turned away, by kdm and not by something on the way to it."""
    try:
        status, _ = get(address, context, "/health", deadline)
    except OSError as error:
        if not is_refusal(error):
            raise
        print(f"without a client certificate: refused, as it must be ({error})")
    else:
        raise Failed(f"the API answered a client without a certificate, with {status}")


def is_refusal(error) -> bool:
    """Tell the server's refusal, a TLS alert or a reset, from a bare end of the connection and a failure here."""
    return isinstance(error, Reset) or is_alert(error)


def is_alert(error) -> bool:
    """Tell whether the server said over TLS why it ends the connection."""
    return isinstance(error, ssl.SSLError) and "ALERT" in (error.reason or "")


def check_healthy(address, context, path, deadline):
    """Make sure that kdm answers and is well."""
    status, body = get(address, context, path, deadline)
    print(f"{path}: {status} {body}")
    try:
        healthy = status == 200 and json.loads(body)["status"] == "healthy"
    except (ValueError, TypeError, KeyError):
        healthy = False
    if not healthy:
        raise Failed(f"{path} must answer 200 and healthy")


def get(address, context, path, deadline):
    """Return the status and the body of an answer.

    Each time the API may have to be waited for: the way to another Pod than before may not be known yet.

    Raises:
        Reset: The server broke the connection off.
    """
    connection = http.client.HTTPSConnection(address.hostname, address.port, timeout=TIMEOUT_S, context=context)
    try:
        connection.sock = context.wrap_socket(reach(address, deadline), server_hostname=address.hostname)
        with socket.socket(fileno=os.dup(connection.sock.fileno())) as tcp:
            try:
                connection.request("GET", path)
                answer = connection.getresponse()
                return answer.status, answer.read().decode()
            except OSError as error:
                if not is_alert(error) and was_reset(tcp):
                    raise Reset("reset by the server") from error
                raise
    finally:
        connection.close()


def was_reset(tcp) -> bool:
    """Ask the kernel: to Python a reset of TLS and its plain end look the same."""
    try:
        tcp.getpeername()
    except OSError:
        return True
    return False


sys.exit(main())
