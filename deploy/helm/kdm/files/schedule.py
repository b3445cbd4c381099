"""What a scheduled Job runs: park a selector's Deployments, or restore them, by one request for all of them.

Arguments: the API's URL, the directory of the client's tls.crt, tls.key and ca.crt, the request's body, and for how
many seconds to try until all of it is done: kdm may just be upgraded, or the cluster not answer. Prints a line of JSON for
each Deployment.
"""

import http.client
import json
import ssl
import sys
import time
import uuid
from urllib.parse import urlsplit

TIMEOUT_S = 900
"""How long a batch may take, in seconds: 500 Deployments, some at a time."""

PAUSE_S = 5
DONE = {"done", "unchanged"}
AGAIN = {408, 429, 503, 504}


def main() -> int:
    url, directory, body, seconds = sys.argv[1:5]
    deadline = time.monotonic() + float(seconds)
    key = f'"{uuid.uuid4()}"'  # what was done already is not done again
    while True:
        try:
            status, answer = send(urlsplit(url), directory, body, key)
        except (OSError, http.client.HTTPException) as error:
            status, answer = 0, {"detail": f"{type(error).__name__}: {error}"}
        if "items" in answer and "summary" in answer:
            done, again = report(answer)
            if done:
                return 0
            key = f'"{uuid.uuid4()}"'  # under the same one the same answer would come
        else:
            print(json.dumps({"status": status, "code": answer.get("code"), "error": answer.get("detail")}), flush=True)
            again = not status or status in AGAIN or answer.get("retryable") is True
        if not again or time.monotonic() + PAUSE_S > deadline:
            return 1
        time.sleep(PAUSE_S)


def send(url, directory, body, key):
    """Return the status and the body of the answer."""
    context = ssl.create_default_context(cafile=f"{directory}/ca.crt")
    context.load_cert_chain(f"{directory}/tls.crt", f"{directory}/tls.key")
    connection = http.client.HTTPSConnection(url.hostname, url.port, timeout=TIMEOUT_S, context=context)
    try:
        fields = {"Content-Type": "application/json", "Idempotency-Key": key}
        connection.request("POST", f"{url.path.rstrip('/')}/api/v2/scale", body, fields)
        answer = connection.getresponse()
        content = answer.read()
        try:
            found = json.loads(content)
        except ValueError:
            found = None
        return answer.status, found if isinstance(found, dict) else {"detail": content[:200].decode("utf-8", "replace")}
    finally:
        connection.close()


def report(answer) -> tuple[bool, bool]:
    """Say what came of each Deployment. Return whether all of it is done, and whether to send it again may do more."""
    for each in answer["items"]:
        error = each.get("error") or {}
        said = {name: each.get(name) for name in ("namespace", "name", "from", "to", "outcome", "warnings")}
        print(json.dumps({**said, "error": error.get("detail")}))
    for warning in answer.get("warnings", []):
        print(json.dumps({"warning": warning}))
    print(json.dumps({"summary": answer["summary"]}), flush=True)
    left = [each for each in answer["items"] if each["outcome"] not in DONE]
    again = any(each["outcome"] == "skipped" or (each.get("error") or {}).get("retryable") for each in left)
    return not left, again


sys.exit(main())
