"""Which answers are refusals, and what they say. A gateway's answer in place of the API server's is one, too."""

from __future__ import annotations

import base64
from contextlib import suppress
from typing import Final

import aiohttp

from kdm_adapters.kubernetes.wire.messages import Failure
from kdm_adapters.kubernetes.wire.readers import failure
from kdm_adapters.kubernetes.wire.retry_after import retry_after_s
from kdm_adapters.kubernetes.wire.words import REDACTED, address

_READ_BYTES: Final = 1024 * 1024
"""How much of a refusal is read, in bytes: a Status that is cut off cannot be read, and webhooks may be long-winded."""

_PAGES: Final = frozenset({"text/html", "application/xhtml+xml"})
"""Media types of no answer of the API server's: a gateway's page for people, with whatever status."""

_SECRET_CHARS: Final = 8
"""The shortest credential looked for in a refusal, in characters: shorter ones would be found in every text."""


def is_refusal(answer: aiohttp.ClientResponse) -> bool:
    """Return whether an answer is anything but what was asked for."""
    return answer.status >= 300 or answer.content_type in _PAGES


async def read_refusal(answer: aiohttp.ClientResponse) -> Failure:
    """Read a refusal, as far as it can be read, without the credentials that it may echo."""
    body = b""
    with suppress(Exception):  # what cannot be read of a refusal leaves it a refusal
        async for chunk in answer.content.iter_any():
            body += chunk
            if len(body) > _READ_BYTES:
                break
    secrets = _sent_secrets(answer)
    for secret in secrets:
        body = body.replace(secret.encode(), REDACTED.encode())
    headers = answer.headers
    after_s = retry_after_s(headers.get("Retry-After", ""), headers.get("Date", ""))
    refused = failure(body, answer.status, after_s)
    message = refused.message
    if 300 <= answer.status < 400 and "Location" in headers:
        message = f"a redirect to {address(headers['Location'], answer.url.host)}"
    for secret in secrets:  # in the body it may have been written in another way: "+" as "&#43;"
        message = message.replace(secret, REDACTED)
    return refused._replace(message=message)


def _sent_secrets(answer: aiohttp.ClientResponse) -> list[str]:
    """Return the credentials that were sent: as they were and, of Basic, in clear."""
    sent = answer.request_info.headers.get("Authorization", "").split(" ", 1)[-1]
    found = [sent]
    with suppress(ValueError):
        found.append(base64.b64decode(sent, validate=True).decode().rpartition(":")[2])
    return [each for each in found if len(each) >= _SECRET_CHARS]
