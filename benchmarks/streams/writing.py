"""`python -m benchmarks.streams.writing URL RATE SECONDS FIRST`: change a count so many times a second; say when."""

from __future__ import annotations

import json
import sys
import time

import httpx

from integration.kdm_process import client_context

PATH = "/api/v2/namespaces/default/deployments/nginx-deployment/replicas"


def main() -> None:
    """Write, and print when each count was sent, in seconds of ``time.monotonic``."""
    url, rate, seconds, first = sys.argv[1], float(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4])
    sent: list[tuple[int, float]] = []
    with httpx.Client(base_url=url, verify=client_context("dev-admin"), trust_env=False, timeout=30) as client:
        client.get("/api/v2").raise_for_status()
        begin = time.monotonic()
        for number in range(int(rate * seconds)):
            time.sleep(max(0.0, begin + number / rate - time.monotonic()))
            at = time.monotonic()
            client.put(PATH, json={"replicas": first + number}).raise_for_status()
            sent.append((first + number, at))
    print(json.dumps(sent))


if __name__ == "__main__":
    main()
