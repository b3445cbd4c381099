"""Every knob of ``kdm serve``: declared once, read once, from flags and the environment."""

from __future__ import annotations

import difflib
import math
import os
import re
import textwrap
from argparse import ArgumentParser, BooleanOptionalAction
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, Literal

import attrs
from attrs import Attribute, field, frozen

from kdm_core import ALL_NAMESPACES, DEFAULT_MAX_REPLICAS, MAX_REPLICAS, InvalidName
from kdm_core.names import check_namespace
from kdm_http.server.limits import Limits

PREFIX: Final = "KDM_"
IGNORED_PREFIXES: Final = ("KDM_TEST_", "KDM_CACHE_DIR")
"""Variables of the test suite, which runs kdm among others."""

ALLOW_ALL_WORD: Final = "allow-all"
"""As the policy's file: no policy. One that has this name is ``./allow-all``."""

NO_AUDIT_WORD: Final = "none"
"""As the audit trail's file: no audit trail."""

EVERY_INTERFACE: Final = "*"
"""As an address to listen on: every one of this machine, of IPv4 and of IPv6, whichever it has."""

_is_service_link: Final = re.compile(
    r"KDM_(\w+_)?(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)", re.ASCII
).fullmatch
_is_service_url: Final = re.compile(r"(tcp|udp|sctp)://.+").fullmatch
"""Kubernetes puts these into each Pod for a Service called ``kdm`` or ``kdm-...`` ("Discovering services")."""


class BadSetting(ValueError):
    """A setting that is unknown or has a value it cannot have. The message names it and says what is allowed."""


def _text(value: str) -> str:
    return value


def _host(value: str) -> str:
    return "" if value == EVERY_INTERFACE else value


def _name_list(value: str) -> tuple[str, ...]:
    names = tuple(check_namespace(each.strip()) for each in value.split(",") if each.strip())
    if not names:
        raise ValueError("one namespace at least")
    return names


def _namespace(value: str) -> str:
    return value if value == ALL_NAMESPACES else check_namespace(value)


def _expanded(value: str) -> str:
    """Replace a leading ``~`` or ``~user`` by that user's home, as a shell does for an unquoted word."""
    expanded = os.path.expanduser(value)  # noqa: PTH111 - Path.expanduser would take the ./ off ./allow-all
    if expanded.startswith("~"):
        user = value.partition("/")[0]
        raise ValueError(
            f"a path without '{user}', whose home directory is not known; ./{value} is a file of that name"
        )
    return expanded


def _path(value: str) -> Path:
    return Path(_expanded(value))


def _file_or(word: str) -> Callable[[str], str]:
    return lambda value: value if value == word else _expanded(value)


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


def knob(default: Any, parse: Callable[[str], Any], text: str, *, unset: str = "for the default") -> Any:
    """Declare a setting: its default, how its text is read, what it is for, and what leaving it out means."""
    return field(default=default, metadata={"parse": parse, "help": text, "unset": unset})


_LOOPBACK: Final = "for 127.0.0.1, or say * for every interface"


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
        (),
        _name_list,
        "The namespaces to watch, separated by commas, one watch each. Default: all, with one watch.",
        unset="to watch every namespace",
    )
    label_selector: str = knob(
        "",
        _text,
        "Manage only Deployments with these labels, in the Kubernetes API's syntax.",
        unset="to manage every Deployment",
    )
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

    host: str = knob(
        "127.0.0.1", _host, "The address of the API; * for every interface, 0.0.0.0 for those of IPv4.", unset=_LOOPBACK
    )
    port: int = knob(8443, _whole(0, 65535), "The port of the API; 0 for any free one.")
    ops_host: str = knob(
        "127.0.0.1", _host, "The address of the plain listener for probes and metrics; * as above.", unset=_LOOPBACK
    )
    ops_port: int = knob(8081, _whole(0, 65535), "The port of the plain listener; 0 for any free one.")

    dev: bool = knob(False, _switch, "Use the development certificates and policy in certs/, which are no secret.")
    tls_cert: Path | None = knob(None, _path, "The server's certificate and intermediates, PEM.")
    tls_key: Path | None = knob(None, _path, "The server's private key, PEM.")
    tls_client_ca: Path | None = knob(
        None, _path, "The CA certificates that clients' certificates must come from, PEM."
    )
    tls_client_crl: Path | None = knob(
        None,
        _path,
        "The revocation lists of those CAs, PEM; without one nothing is revoked.",
        unset="if nothing is to be revoked",
    )
    tls_min_version: str = knob("1.3", _one_of("1.3", "1.2"), "The oldest TLS version to speak: 1.3 or 1.2.")

    policy_file: str = knob(
        "",
        _file_or(ALLOW_ALL_WORD),
        f"Who may do what, TOML, or the word {ALLOW_ALL_WORD}: every client with a certificate of the client CA may do "
        "everything. Must be given without --dev.",
    )
    audit_file: str = knob(
        "",
        _file_or(NO_AUDIT_WORD),
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
    def read(
        cls,
        environment: Mapping[str, str],
        flags: Mapping[str, object] | None = None,
        warn: Callable[[str], None] = lambda _: None,
    ) -> Settings:
        """Read the settings.

        Args:
            environment: Variables. Those that begin with ``KDM_`` must all be known. One that is empty is an error: a
                template that lost its value must not widen what kdm does.
            flags: Values by field name (``limit_idle_s`` for a limit), as strings or booleans; None is not given.
            warn: Told of a variable that would be an error, were there not a flag in its place.

        Raises:
            BadSetting: One is unknown, or has a value it cannot have, or two contradict each other.
        """
        given: dict[str, tuple[str, Any]] = {}
        told_by_flag = {each.name: flag for each in KNOBS if (flag := (flags or {}).get(each.name)) is not None}
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
            try:
                given[each.name] = (name, each.read(name, value))
            except BadSetting as error:
                if each.name not in told_by_flag:
                    raise
                warn(f"{error}; ignored, for there is {each.flag}")
        for each in KNOBS:
            if each.name in told_by_flag:
                given[each.name] = (each.flag, each.read(each.flag, str(told_by_flag[each.name])))
        _check_together(given)
        limits = {each.field_name: given[each.name][1] for each in KNOBS if each.limit and each.name in given}
        rest = {each.field_name: given[each.name][1] for each in KNOBS if not each.limit and each.name in given}
        return cls(**rest, limits=Limits(**limits))


def _check_together(given: Mapping[str, tuple[str, Any]]) -> None:
    """Refuse settings that are good each on its own and cannot be meant together.

    Raises:
        BadSetting: As told.
    """
    watched_as, watched = given.get("namespaces", ("", ()))
    default_as, default = given.get("namespace", ("", ALL_NAMESPACES))
    if watched and default not in {ALL_NAMESPACES, *watched}:
        raise BadSetting(
            f"{default_as}: '{default}' is not watched, so nothing could be found there: {watched_as} has "
            f"{', '.join(watched)}"
        )


@frozen
class Knob:
    """One setting, as a user meets it."""

    name: str
    field_name: str
    default: Any
    parse: Callable[[str], Any]
    help: str
    limit: bool
    unset: str = "for the default"

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
        if not value.strip():
            raise BadSetting(f"{told_as}: is empty; leave it out {self.unset}")
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
    Knob(
        each.name,
        each.name,
        each.default,
        each.metadata["parse"],
        each.metadata["help"],
        False,
        each.metadata["unset"],
    )
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
