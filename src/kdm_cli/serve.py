"""`kdm serve`: put the service together, run it, and say where it listens."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, cast

import structlog

from kdm_cli import logs
from kdm_cli.container import Container
from kdm_cli.extras import MissingExtra
from kdm_cli.listening import dev_directory, from_here
from kdm_cli.output.text import warn
from kdm_cli.settings import BadSetting, Settings
from kdm_core import KdmError
from kdm_http.server.serve import Addresses, BindError, ServerError, TlsConfigurationError, run
from kdm_http.server.threads import aside

if TYPE_CHECKING:
    from kdm_http.server.uvicorn_seam import ASGI3Application

EXIT_CANNOT_START: Final = 1
EXIT_BAD_USAGE: Final = 2

_log = structlog.get_logger("kdm")


def serve(arguments: argparse.Namespace) -> int:
    """Serve until a signal ends it.

    Args:
        arguments: The settings that were given as flags.

    Returns:
        The exit code; see :func:`kdm_cli.main.main`.
    """
    warnings: list[str] = []
    try:
        chosen = Settings.read(os.environ, vars(arguments), warnings.append)
    except BadSetting as error:
        return _fail(error, EXIT_BAD_USAGE)
    container = Container(settings=chosen)
    logs.configure(chosen.log_level, chosen.log_format, container.log_lines(), colors=sys.stderr.isatty())
    for warning in warnings:
        _log.warning(warning)
    try:
        # The policy and the kubeconfig are read here.
        config, api, ops, lifespan = aside(
            lambda: (container.server_config(), container.api(), container.ops(), container.lifespan())
        )
        run(
            cast("ASGI3Application", api),  # litestar and uvicorn each have their own types for ASGI
            cast("ASGI3Application", ops),
            config=config,
            lifespan=lifespan,
            started=lambda addresses: _greet(chosen, addresses, container, arguments.dev_context),
            events=container.traffic(),
            read_again=container.read_again,
        )
    except (BadSetting, MissingExtra) as error:
        return _fail(error, EXIT_BAD_USAGE, chosen.log_format)
    except (BindError, KdmError, ServerError, TlsConfigurationError) as error:
        return _fail(error, EXIT_CANNOT_START, chosen.log_format)
    return 0


def _fail(error: Exception, code: int, log_format: str = "console") -> int:
    if log_format == "json":  # its reader parses every line
        _log.error(str(error))
    else:
        warn(str(error))
    return code


def _greet(chosen: Settings, addresses: Addresses, container: Container, context: str | None) -> None:
    """Print where kdm listens; in development, how to talk to it.

    Args:
        chosen: The settings.
        addresses: Where kdm listens.
        container: What it is made of.
        context: The name of the context to write for the commands; None for none.
    """
    api, ops = (_url(scheme, where[0]) for scheme, where in (("https", addresses.api), ("http", addresses.ops)))
    text = f"kdm serves {api} (mTLS) from {chosen.repository}; probes and metrics on {ops}"
    if chosen.log_format == "json":
        _log.info(text)
        return
    # Where standard output is the audit trail, nothing else belongs there.
    out = container.log_lines() if chosen.audit_destination == "-" else container.out_lines()
    out.write(text)
    if chosen.dev:
        from kdm_cli import dev_context  # noqa: PLC0415 - half a megabyte, for development alone

        commands = dev_context.lines(context, api, dev_directory()) if context else []
        out.write(_examples(api, ops, commands))


def _url(scheme: str, address: tuple[str, int]) -> str:
    host, port = address
    if host in {"0.0.0.0", "::", "127.0.0.1", "::1"}:  # noqa: S104 - compared, not bound
        host = "localhost"
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}"


def _examples(api: str, ops: str, commands: Sequence[str] = ()) -> str:
    certs = from_here(dev_directory())
    client = f"--cacert {certs}/dev-ca.pem --cert {certs}/dev-admin.pem --key {certs}/dev-admin-key.pem"
    is_json = "-H 'Content-Type: application/json'"
    body = f"{is_json} -d '{{\"replicaCount\": 5}}'"
    wanted = f'{is_json} -d \'{{"replicas": 5, "reason": "sale"}}\''
    name = "nginx-deployment"
    return "\n".join(
        [
            "",
            *(["The command:", *commands] if commands else []),
            "API v2:",
            f"  curl {client} '{api}/api/v2/deployments?labelSelector=tier=edge'",
            f"  curl {client} {api}/api/v2/namespaces/default/deployments/{name}",
            f"  curl {client} -X PUT {wanted} '{api}/api/v2/namespaces/default/deployments/{name}/replicas?wait=30s'",
            "RFD 001:",
            f"  curl {client} {api}/deployments",
            f"  curl {client} {api}/deployments/{name}/replicas",
            f"  curl {client} -X POST {body} {api}/deployments/{name}/replicas",
            f"  curl {client} {api}/health",
            "RFD 156:",
            f"  curl {client} {api}/api/v1/deployments",
            f"  curl {client} {api}/api/v1/deployments/{name}/replicas",
            f"  curl {client} -X PUT {body} {api}/api/v1/deployments/{name}/replicas",
            f"  curl {client} {api}/api/v1/health",
            "One of two Deployments of a name, and what machines read:",
            f"  curl {client} '{api}/deployments/api/replicas?namespace=shop'",
            f"  curl {client} {api}/api/v2/openapi.json",
            f"  curl {ops}/readyz",
            "",
            "The development certificates are no secret. Press Ctrl-C to stop.",
        ]
    )
