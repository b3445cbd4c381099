"""How the log looks: one line an event, for a person or for a machine, on standard error.

Whatever an event says, it begins no other line and moves no terminal's cursor, and what looks like a credential is left
out, in messages and tracebacks of libraries too. The lines of one request have its ``request_id``, and where traces are
sent its ``trace_id``.
"""

from __future__ import annotations

import logging
import re
import sys
from typing import Any, Final

import structlog
from structlog.typing import EventDict, WrappedLogger

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
    r"|-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|$)",
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


def configure(level: str, style: str) -> None:
    """Send everything that is logged, kdm's own and its libraries', to standard error. Called once, by the command.

    Args:
        level: The least severity: debug, info, warning or error.
        style: console for a person, json for a machine.
    """
    renderer: tuple[structlog.typing.Processor, ...] = (
        (structlog.processors.JSONRenderer(),)
        if style == "json"
        else (
            _one_line,
            # Not the default one, which shows local variables.
            structlog.dev.ConsoleRenderer(
                colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
            ),
        )
    )
    handler = logging.StreamHandler()
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
