"""How the log looks: one line for each event, for a person or for a machine, on standard error.

Nothing in an event can start another line or move a terminal's cursor. What looks like a credential is left out, also
in messages and tracebacks of libraries. The lines of one request have its ``request_id``, and where traces are
sent its ``trace_id``.
"""

from __future__ import annotations

import logging
import re
from typing import Any, Final, Protocol

import structlog
from structlog.typing import EventDict, WrappedLogger

from kdm_cli.output.text import PRIVATE_KEY

_SHARED: tuple[structlog.typing.Processor, ...] = (
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_log_level,
    structlog.stdlib.add_logger_name,
    structlog.stdlib.ExtraAdder(),
    structlog.processors.TimeStamper(fmt="iso", utc=True),
    structlog.processors.StackInfoRenderer(),
)


REDACTED: Final = "[redacted]"

_SECRETS: Final = re.compile(
    r"(?i:(?<=bearer) [\w.~+/=-]{16,})"  # RFC 6750, section 2.1
    r"|\beyJ[\w-]{10,}\.[\w-]{10,}\.[\w-]*"  # a JSON Web Token, as service accounts have them
    rf"|{PRIVATE_KEY}",
    re.DOTALL,
)
_CONTROLS: Final = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_INDENT: Final = "\n    "


def _escape(text: str) -> str:
    return _CONTROLS.sub(lambda match: match[0].encode("unicode_escape").decode(), text)


def _one_line(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """Escape control characters. A traceback stays several lines, none of which looks like an event."""
    for key, value in event.items():
        if key in {"exception", "stack"}:
            event[key] = "    " + _INDENT.join(map(_escape, str(value).splitlines()))
        elif isinstance(value, str):
            event[key] = _escape(value)
    return event


def _without_secrets(_: WrappedLogger, __: str, rendered: Any) -> str:
    return _SECRETS.sub(lambda match: (" " if match[0][0] == " " else "") + REDACTED, rendered)


END_WAIT_S: Final = 0.5
"""How long the end of the process waits for the log's reader, in seconds."""


class Lines(Protocol):
    """Where the log's lines go, such as a ``LineWriter`` of kdm_adapters."""

    def write(self, line: str, /) -> bool:
        """Have a line written, without waiting for that. Returns whether there was room for it."""

    def drain(self, wait_s: float, /) -> bool:
        """Wait until everything is written, at most so many seconds. Returns whether it is."""


class _Handler(logging.Handler):
    """Gives each event's lines to a writer. Logs how many were dropped, as soon as there is room again."""

    def __init__(self, lines: Lines) -> None:
        super().__init__()
        self._lines = lines
        self._dropped = 0

    def emit(self, record: logging.LogRecord) -> None:
        try:
            written = self._lines.write(self.format(record))
        except Exception as error:  # noqa: BLE001 - a line that cannot be formatted must not stop what logs it
            written = self._lines.write(f"a log line of {record.name} cannot be written: {type(error).__name__}")
        if not written:
            self._dropped += 1
        elif self._dropped:
            dropped, self._dropped = self._dropped, 0
            self.emit(
                logging.makeLogRecord(
                    {
                        "name": __name__,
                        "levelno": logging.WARNING,
                        "levelname": "WARNING",
                        "msg": "the log's reader did not keep up: %d events are missing before this one",
                        "args": (dropped,),
                    }
                )
            )

    def flush(self) -> None:
        self._lines.drain(END_WAIT_S)


def configure(level: str, style: str, lines: Lines, *, colors: bool = False) -> None:
    """Send everything that is logged, kdm's own and its libraries', to one place. Called once, by the command.

    Args:
        level: The least severity: debug, info, warning or error.
        style: console for people, json for machines.
        lines: Where to. It must not wait for a reader: whatever logs would stand still with it.
        colors: Whether a terminal shows them.
    """
    renderer: tuple[structlog.typing.Processor, ...] = (
        (structlog.processors.JSONRenderer(),)
        if style == "json"
        else (
            _one_line,
            # Not the default one, which shows local variables.
            structlog.dev.ConsoleRenderer(colors=colors, exception_formatter=structlog.dev.plain_traceback),
        )
    )
    handler = _Handler(lines)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                *renderer,
                _without_secrets,
            ],
            foreign_pre_chain=_SHARED,
        )
    )
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    for chatty in ("aiohttp", "asyncio", "kubernetes", "urllib3", "uvicorn"):
        logging.getLogger(chatty).setLevel(max(logging.WARNING, logging.getLogger().level))
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *_SHARED,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
