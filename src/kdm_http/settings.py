"""Every knob of ``kdm serve``: declared once, read once, from flags and the environment."""

from __future__ import annotations

import difflib
import math
import re
import textwrap
from argparse import ArgumentParser, BooleanOptionalAction
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, Literal

import attrs
from attrs import Attribute, field, frozen

from kdm_core import ALL_NAMESPACES, DEFAULT_MAX_REPLICAS, MAX_REPLICAS, InvalidName
from kdm_core.model import check_namespace
from kdm_http.limits import Limits

PREFIX: Final = "KDM_"
IGNORED_PREFIXES: Final = ("KDM_TEST_", "KDM_CACHE_DIR")
"""Variables of the test suite, which runs kdm among others."""

ALLOW_ALL_WORD: Final = "allow-all"
"""As the policy's file: no policy. One that has this name is ``./allow-all``."""

NO_AUDIT_WORD: Final = "none"
"""As the audit trail's file: no audit trail."""

_is_service_link: Final = re.compile(
    r"KDM_(\w+_)?(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)", re.ASCII
).fullmatch
_is_service_url: Final = re.compile(r"(tcp|udp|sctp)://.+").fullmatch
"""Kubernetes puts these into each Pod for a Service called ``kdm`` or ``kdm-...`` ("Discovering services")."""


class BadSetting(ValueError):
    """A setting that is unknown or has a value it cannot have. The message names it and says what is allowed."""


def _text(value: str) -> str:
    return value


def _name_list(value: str) -> tuple[str, ...]:
    return tuple(check_namespace(each.strip()) for each in value.split(",") if each.strip())


def _namespace(value: str) -> str:
    return value if value == ALL_NAMESPACES else check_namespace(value)


def _path(value: str) -> Path | None:
    return Path(value).expanduser() if value else None


def _switch(value: str) -> bool:
    try:
        return {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}[value.lower()]
    except KeyError:
        raise ValueError("true or false") from None


def _one_of(*choices: str) -> Callable[[str], str]:
    def parse(value: str) -> str:
        if value not in choices:
            raise ValueError(f"one of {', '.join(choices)}")
        return value

    return parse


def _whole(minimum: int, maximum: int) -> Callable[[str], int]:
    def parse(value: str) -> int:
        if not re.fullmatch(r"[0-9]{1,12}", value) or not minimum <= int(value) <= maximum:
            raise ValueError(f"an integer from {minimum} to {maximum}")
        return int(value)

    return parse


def _seconds(minimum: float = 0.0) -> Callable[[str], float]:
    def parse(value: str) -> float:
        try:
            seconds = float(value)
        except ValueError:
            seconds = math.nan
        if not math.isfinite(seconds) or seconds < minimum or (seconds == 0 and minimum == 0 and value.startswith("-")):
            raise ValueError(f"a number of at least {minimum:g}")
        return seconds

    return parse


def knob(default: Any, parse: Callable[[str], Any], text: str) -> Any:
    """Declare a setting: its default, how its text is read, and what it is for."""
    return field(default=default, metadata={"parse": parse, "help": text})


@frozen
class Settings:
    """What ``kdm serve`` is told. A field is a flag (``--ops-port``) and a variable (``KDM_OPS_PORT``); flags win."""

    repository: str = knob(
        "memory", _one_of("memory", "kubernetes"), "Where Deployments live: memory (demo data) or kubernetes."
    )
    kubeconfig: Path | None = knob(
        None,
        _path,
        "The kubeconfig file, or several joined by ':'. Default: $KUBECONFIG, ~/.kube/config, in-cluster.",
    )
    context: str = knob("", _text, "The kubeconfig's context. Default: its current one.")
    namespaces: tuple[str, ...] = knob(
        (), _name_list, "The namespaces to watch, separated by commas, one watch each. Default: all, with one watch."
    )
    label_selector: str = knob("", _text, "Manage only Deployments with these labels, in the Kubernetes API's syntax.")
    namespace: str = knob(
        ALL_NAMESPACES,
        _namespace,
        "What a request without ?namespace= means: one namespace, or '*' for every watched one.",
    )
    max_replicas: int = knob(
        DEFAULT_MAX_REPLICAS, _whole(0, MAX_REPLICAS), "The largest replica count a caller may ask for."
    )
    stale_after_s: float = knob(
        150.0, _seconds(1.0), "Without news from the cluster for this long the cache counts as stale, in seconds."
    )
    refuse_stale: bool = knob(False, _switch, "Answer reads of a stale cache with 503.")
    write_timeout_s: float = knob(10.0, _seconds(0.1), "How long the cluster may take for a write, in seconds.")
    check_interval_s: float = knob(
        0.0, _seconds(), "How often to compare the cache with the cluster, in seconds; 0 for never. Costs a list each."
    )

    host: str = knob("127.0.0.1", _text, "The address of the API. 0.0.0.0 or :: for every interface.")
    port: int = knob(8443, _whole(0, 65535), "The port of the API; 0 for any free one.")
    ops_host: str = knob("127.0.0.1", _text, "The address of the plain listener for probes and metrics.")
    ops_port: int = knob(8081, _whole(0, 65535), "The port of the plain listener; 0 for any free one.")

    dev: bool = knob(False, _switch, "Use the development certificates and policy in certs/, which are no secret.")
    tls_cert: Path | None = knob(None, _path, "The server's certificate and intermediates, PEM.")
    tls_key: Path | None = knob(None, _path, "The server's private key, PEM.")
    tls_client_ca: Path | None = knob(
        None, _path, "The CA certificates that clients' certificates must come from, PEM."
    )
    tls_client_crl: Path | None = knob(
        None, _path, "The revocation lists of those CAs, PEM; without one nothing is revoked."
    )
    tls_min_version: str = knob("1.3", _one_of("1.3", "1.2"), "The oldest TLS version to speak: 1.3 or 1.2.")

    policy_file: str = knob(
        "",
        _text,
        f"Who may do what, TOML, or the word {ALLOW_ALL_WORD}: every client with a certificate of the client CA may do "
        "everything. Must be given without --dev.",
    )
    audit_file: str = knob(
        "",
        _text,
        f"Where the audit trail goes: a file, '-' for standard output, or the word {NO_AUDIT_WORD}. "
        f"Default: '-', and with --dev {NO_AUDIT_WORD}.",
    )
    audit_required: bool = knob(True, _switch, "Refuse writes that cannot be recorded.")

    log_level: str = knob(
        "info",
        _one_of("debug", "info", "warning", "error"),
        "The least severity that is logged: debug, info, warning or error.",
    )
    log_format: str = knob("console", _one_of("console", "json"), "How a log line looks: console, for people, or json.")
    log_requests: bool = knob(False, _switch, "Log one line for each request.")
    otel: bool = knob(
        False,
        _switch,
        "Send a trace of each request by OTLP over HTTP, to where the standard OTEL_* variables say. Needs the extra "
        "otel.",
    )
    loop: Literal["auto", "uvloop", "asyncio"] = knob(
        "auto",
        _one_of("auto", "uvloop", "asyncio"),
        "The event loop: uvloop, asyncio, or auto, which is uvloop where it is installed.",
    )
    limits: Limits = field(factory=Limits)

    @property
    def audit_destination(self) -> str:
        """Where the audit trail goes: a file, "-" for standard output, "" for nowhere."""
        destination = self.audit_file or (NO_AUDIT_WORD if self.dev else "-")
        return "" if destination == NO_AUDIT_WORD else destination

    @classmethod
    def read(cls, environment: Mapping[str, str], flags: Mapping[str, object] | None = None) -> Settings:
        """Read the settings.

        Args:
            environment: Variables. Those that begin with ``KDM_`` must all be known.
            flags: Values by field name (``limit_idle_s`` for a limit), as strings or booleans; None is not given.

        Raises:
            BadSetting: One is unknown, or has a value it cannot have.
        """
        given: dict[str, Any] = {}
        limits: dict[str, Any] = {}
        known = {each.variable: each for each in KNOBS}
        for name, value in environment.items():
            if not name.startswith(PREFIX) or name.startswith(IGNORED_PREFIXES):
                continue
            if _is_service_link(name) or (name.endswith("_PORT") and _is_service_url(value)):
                continue
            if name not in known:
                close = difflib.get_close_matches(name, known, n=1, cutoff=0.8)
                hint = f"; did you mean {close[0]}?" if close else "; `kdm serve --help` lists them all"
                raise BadSetting(f"unknown setting {name}{hint}")
            each = known[name]
            (limits if each.limit else given)[each.field_name] = each.read(name, value)
        for each in KNOBS:
            flag = (flags or {}).get(each.name)
            if flag is not None:
                (limits if each.limit else given)[each.field_name] = each.read(each.flag, str(flag))
        return cls(**given, limits=Limits(**limits))


@frozen
class Knob:
    """One setting, as a user meets it."""

    name: str
    field_name: str
    default: Any
    parse: Callable[[str], Any]
    help: str
    limit: bool

    @property
    def variable(self) -> str:
        """The environment variable."""
        return PREFIX + self.name.upper()

    @property
    def flag(self) -> str:
        """The command line flag."""
        return "--" + self.name.replace("_", "-")

    @property
    def shown_default(self) -> str:
        """The default as a user would write it; "" for none."""
        if self.default is None or self.default == ():
            return ""
        return str(self.default).lower() if isinstance(self.default, bool) else str(self.default)

    def read(self, told_as: str, value: str) -> Any:
        """Turn a setting's text into its value.

        Raises:
            BadSetting: It cannot be that.
        """
        try:
            return self.parse(value)
        except InvalidName as error:
            raise BadSetting(f"{told_as}: {error}") from error
        except ValueError as error:
            raise BadSetting(f"{told_as}: {value[:80]!r} is not allowed: it must be {error}") from error


def _limit_knobs() -> list[Knob]:
    """Make a knob of each of the edge's limits; what it says is what the class documents."""
    attributes = textwrap.dedent((Limits.__doc__ or "").partition("Attributes:\n")[2])
    documented = dict(re.findall(r"^(\w+): (.*(?:\n {4,}.*)*)", textwrap.dedent(attributes), re.MULTILINE))
    fields: tuple[Attribute[Any], ...] = attrs.fields(Limits)
    return [
        Knob(
            f"limit_{each.name}",
            each.name,
            each.default,
            _whole(1, 2**31) if isinstance(each.default, int) else _seconds(0.001),
            " ".join(documented[each.name].split()),
            True,
        )
        for each in fields
    ]


KNOBS: Final = [
    Knob(each.name, each.name, each.default, each.metadata["parse"], each.metadata["help"], False)
    for each in attrs.fields(Settings)
    if each.metadata
] + _limit_knobs()
"""Every setting, in the order of ``kdm serve --help``."""


def add_flags(parser: ArgumentParser) -> None:
    """Give a parser a flag for each setting."""
    for each in KNOBS:
        default = f" [{each.shown_default}]" if each.shown_default else ""
        text = f"{each.help}{default} ({each.variable})".replace("%", "%%")
        if isinstance(each.default, bool):
            parser.add_argument(each.flag, dest=each.name, action=BooleanOptionalAction, default=None, help=text)
        else:
            parser.add_argument(each.flag, dest=each.name, metavar=each.name.rpartition("_")[2].upper(), help=text)
