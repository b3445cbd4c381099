"""The limit of every ASGI service here: answers each request with bytes that it had from the beginning."""

from __future__ import annotations

from pathlib import Path

from uvicorn._types import ASGIReceiveCallable, ASGISendCallable, Scope

from benchmarks.peers.mtls import parser, serve


class Constant:
    """An application that answers a path that ends in `/replicas` with one constant, every other one with another."""

    def __init__(self, one: bytes, many: bytes) -> None:
        self._answers = [self._answer(body) for body in (many, one)]

    @staticmethod
    def _answer(body: bytes) -> tuple[dict[str, object], dict[str, object]]:
        headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
        return (
            {"type": "http.response.start", "status": 200, "headers": headers},
            {"type": "http.response.body", "body": body},
        )

    async def __call__(self, scope: Scope, _: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        assert scope["type"] == "http"
        start, body = self._answers[scope["path"].endswith("/replicas")]
        await send(start)  # type: ignore[arg-type] # it is one
        await send(body)  # type: ignore[arg-type] # it is one


def main() -> None:
    """Serve the contents of two files."""
    options = parser(__doc__)
    options.add_argument("--one", type=Path, required=True, help="what to answer for one Deployment")
    options.add_argument("--many", type=Path, required=True, help="what to answer for all")
    arguments = options.parse_args()
    serve(Constant(arguments.one.read_bytes(), arguments.many.read_bytes()), arguments)


if __name__ == "__main__":
    main()
