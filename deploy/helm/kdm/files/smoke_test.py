"""What `helm test` runs: the API answers both RFDs' health over mutual TLS, and not without a client certificate.

Arguments: the API's URL, and the directory of the client's tls.crt, tls.key and ca.crt.
"""

import http.client
import json
import ssl
import sys
from urllib.parse import urlsplit

TIMEOUT_S = 10


def main() -> int:
    address, directory = urlsplit(sys.argv[1]), sys.argv[2]
    context = ssl.create_default_context(cafile=f"{directory}/ca.crt")
    try:
        get(address, context, "/health")
    except OSError as error:
        print(f"without a client certificate: refused, as it must be ({error})")
    else:
        print("the API answered a client without a certificate")
        return 1
    context.load_cert_chain(f"{directory}/tls.crt", f"{directory}/tls.key")
    failed = False
    for path in ("/health", "/api/v1/health"):
        status, body = get(address, context, path)
        print(f"{path}: {status} {body}")
        failed |= status != 200 or json.loads(body)["status"] != "healthy"
    return int(failed)


def get(address, context, path):
    connection = http.client.HTTPSConnection(address.hostname, address.port, timeout=TIMEOUT_S, context=context)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


sys.exit(main())
