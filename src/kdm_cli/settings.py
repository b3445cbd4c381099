"""Every setting of ``kdm serve``: declared once, read once, from flags and the environment."""

from __future__ import annotations

import difflib
import re
import textwrap
from argparse import ArgumentParser, BooleanOptionalAction
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, Literal

import attrs
from attrs import Attribute, field, frozen

from kdm_cli import setting_values as values
from kdm_core import ALL_NAMESPACES, DEFAULT_MAX_REPLICAS, MAX_REPLICAS, InvalidName
from kdm_core.history import DEFAULT_HISTORY_ENTRIES
from kdm_http.server.limits import Limits

PREFIX: Final = "KDM_"
IGNORED_PREFIXES: Final = ("KDM_TEST_", "KDM_CACHE_DIR", "KDM_CONFIG", "KDM_REASON")
"""Variables of the test suite, which runs kdm among others, and of the commands that ask a kdm."""

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


def setting(default: Any, parse: Callable[[str], Any], text: str, *, unset: str = "for the default") -> Any:
    """Declare a setting: its default, how its text is read, what it is for, and what leaving it out means."""
    return field(default=default, metadata={"parse": parse, "help": text, "unset": unset})


_LOOPBACK: Final = "for 127.0.0.1, or say * for every interface"


@frozen
class Settings:
    """What ``kdm serve`` runs with. A field is a flag (``--ops-port``) and a variable (``KDM_OPS_PORT``); flags win."""

    repository: str = setting(
        "memory", values.one_of("memory", "kubernetes"), "Where Deployments live: memory (demo data) or kubernetes."
    )
    kubeconfig: Path | None = setting(
        None,
        values.path,
        "The kubeconfig file, or several joined by ':'. Default: $KUBECONFIG, ~/.kube/config, in-cluster.",
    )
    context: str = setting("", values.text, "The kubeconfig's context. Default: its current one.")
    namespaces: tuple[str, ...] = setting(
        (),
        values.name_list,
        "The namespaces to watch, separated by commas, one watch each. Default: all, with one watch.",
        unset="to watch every namespace",
    )
    label_selector: str = setting(
        "",
        values.text,
        "Manage only Deployments with these labels, in the Kubernetes API's syntax.",
        unset="to manage every Deployment",
    )
    namespace: str = setting(
        ALL_NAMESPACES,
        values.namespace,
        "What a request without ?namespace= means: one namespace, or '*' for every watched one.",
    )
    max_replicas: int = setting(
        DEFAULT_MAX_REPLICAS, values.whole(0, MAX_REPLICAS), "The largest replica count a caller may ask for."
    )
    stale_after_s: float = setting(
        150.0, values.seconds(1.0), "Without news from the cluster for this long the cache counts as stale, in seconds."
    )
    refuse_stale: bool = setting(False, values.switch, "Answer reads of a stale cache with 503.")
    owners: bool = setting(
        False,
        values.switch,
        "Look for who else changes the counts, such as HorizontalPodAutoscalers, which kdm then watches: "
        "API v2 refuses a count that would not last.",
    )
    write_timeout_s: float = setting(
        10.0, values.seconds(0.1), "How long the cluster may take for a write, in seconds."
    )

    parking: str = setting(
        "auto",
        values.one_of("auto", "off", "memory", "configmaps"),
        "Where the counts of parked Deployments are kept: off, for no parking; memory, which a restart forgets; "
        "configmaps, in kdm's own namespace; auto: memory beside the memory repository, and otherwise off.",
    )
    parking_namespace: str = setting(
        "",
        values.one_namespace,
        "The namespace of the ConfigMaps kdm-parked-0 to kdm-parked-15. Default: that of kdm's own service account.",
        unset="for kdm's own",
    )
    history_entries: int = setting(
        DEFAULT_HISTORY_ENTRIES,
        values.whole(0, 10_000_000),
        "How many changes of counts are remembered in all, 20 of one Deployment; 0 for no history.",
    )
    events: bool = setting(
        False,
        values.switch,
        "Announce each change made through kdm as a Kubernetes Event on its Deployment, for kubectl describe.",
    )

    host: str = setting(
        "127.0.0.1",
        values.host,
        "The address of the API; * for every interface, 0.0.0.0 for those of IPv4.",
        unset=_LOOPBACK,
    )
    port: int = setting(8443, values.whole(0, 65535), "The port of the API; 0 for any free one.")
    ops_host: str = setting(
        "127.0.0.1",
        values.host,
        "The address of the plain listener for probes and metrics; * as above.",
        unset=_LOOPBACK,
    )
    ops_port: int = setting(8081, values.whole(0, 65535), "The port of the plain listener; 0 for any free one.")

    dev: bool = setting(
        False, values.switch, "Use the development certificates and policy in certs/, which are no secret."
    )
    tls_cert: Path | None = setting(None, values.path, "The server's certificate and intermediates, PEM.")
    tls_key: Path | None = setting(None, values.path, "The server's private key, PEM.")
    tls_client_ca: Path | None = setting(
        None, values.path, "The CA certificates that clients' certificates must come from, PEM."
    )
    tls_client_crl: Path | None = setting(
        None,
        values.path,
        "The revocation lists of those CAs, PEM; without one nothing is revoked.",
        unset="if nothing is to be revoked",
    )
    tls_min_version: str = setting("1.3", values.one_of("1.3", "1.2"), "The oldest TLS version to speak: 1.3 or 1.2.")

    policy_file: str = setting(
        "",
        values.file_or(ALLOW_ALL_WORD),
        f"Who may do what, TOML, or the word {ALLOW_ALL_WORD}: every client with a certificate of the client CA may do "
        "everything. Must be given without --dev.",
    )
    audit_file: str = setting(
        "",
        values.file_or(NO_AUDIT_WORD),
        f"Where the audit trail goes: a file, '-' for standard output, or the word {NO_AUDIT_WORD}. "
        f"Default: '-', and with --dev {NO_AUDIT_WORD}.",
    )
    audit_required: bool = setting(True, values.switch, "Refuse writes that cannot be recorded.")

    log_level: str = setting(
        "info",
        values.one_of("debug", "info", "warning", "error"),
        "The least severity that is logged: debug, info, warning or error.",
    )
    log_format: str = setting(
        "console", values.one_of("console", "json"), "How a log line looks: console, for people, or json."
    )
    log_requests: bool = setting(False, values.switch, "Log one line for each request.")
    otel: bool = setting(
        False,
        values.switch,
        "Send a trace of each request by OTLP over HTTP, to where the standard OTEL_* variables say. Needs the extra "
        "otel.",
    )
    loop: Literal["auto", "uvloop", "asyncio"] = setting(
        "auto",
        values.one_of("auto", "uvloop", "asyncio"),
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
            warn: Called with a sentence for each variable that is wrong and that a flag replaces.

        Raises:
            BadSetting: One is unknown, or has a value it cannot have, or two contradict each other.
        """
        given: dict[str, tuple[str, Any]] = {}
        from_flags = {each.name: flag for each in SETTINGS if (flag := (flags or {}).get(each.name)) is not None}
        known = {each.variable: each for each in SETTINGS}
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
                if each.name not in from_flags:
                    raise
                warn(f"{error}; ignored, because {each.flag} is given")
        for each in SETTINGS:
            if each.name in from_flags:
                given[each.name] = (each.flag, each.read(each.flag, str(from_flags[each.name])))
        _check_together(given)
        limits = {each.field_name: given[each.name][1] for each in SETTINGS if each.limit and each.name in given}
        rest = {each.field_name: given[each.name][1] for each in SETTINGS if not each.limit and each.name in given}
        return cls(**rest, limits=Limits(**limits))


def _check_together(given: Mapping[str, tuple[str, Any]]) -> None:
    """Refuse settings that are valid on their own and contradict each other.

    Raises:
        BadSetting: Two of them do.
    """
    watched_as, watched = given.get("namespaces", ("", ()))
    default_as, default = given.get("namespace", ("", ALL_NAMESPACES))
    if watched and default not in {ALL_NAMESPACES, *watched}:
        raise BadSetting(
            f"{default_as}: '{default}' is not watched, so nothing could be found there: {watched_as} has "
            f"{', '.join(watched)}"
        )


@frozen
class Setting:
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

    def read(self, given_as: str, value: str) -> Any:
        """Turn a setting's text into its value.

        Raises:
            BadSetting: It cannot be that.
        """
        if not value.strip():
            raise BadSetting(f"{given_as}: is empty; leave it out {self.unset}")
        try:
            return self.parse(value)
        except InvalidName as error:
            raise BadSetting(f"{given_as}: {error}") from error
        except ValueError as error:
            raise BadSetting(f"{given_as}: {value[:80]!r} is not allowed: it must be {error}") from error


def _limit_settings() -> list[Setting]:
    """Make a setting of each of the edge's limits; what it says is what the class documents."""
    attributes = textwrap.dedent((Limits.__doc__ or "").partition("Attributes:\n")[2])
    documented = dict(re.findall(r"^(\w+): (.*(?:\n {4,}.*)*)", textwrap.dedent(attributes), re.MULTILINE))
    fields: tuple[Attribute[Any], ...] = attrs.fields(Limits)
    return [
        Setting(
            f"limit_{each.name}",
            each.name,
            each.default,
            values.whole(1, 2**31) if isinstance(each.default, int) else values.seconds(0.001),
            " ".join(documented.get(each.name, "").split()),  # python -OO leaves out what classes document
            True,
        )
        for each in fields
    ]


SETTINGS: Final = [
    Setting(
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
] + _limit_settings()
"""Every setting, in the order of ``kdm serve --help``."""


def add_flags(parser: ArgumentParser) -> None:
    """Give a parser a flag for each setting."""
    for each in SETTINGS:
        default = f" [{each.shown_default}]" if each.shown_default else ""
        text = f"{each.help}{default} ({each.variable})".replace("%", "%%")
        if isinstance(each.default, bool):
            parser.add_argument(each.flag, dest=each.name, action=BooleanOptionalAction, default=None, help=text)
        else:
            parser.add_argument(each.flag, dest=each.name, metavar=each.name.rpartition("_")[2].upper(), help=text)
