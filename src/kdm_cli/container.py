"""The composition root: the one place that knows the core, the adapters and the edge, and puts them together.

Nothing else sees the container: its parts get each other as plain arguments.
"""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING

from dependency_injector import containers, providers
from prometheus_client import CollectorRegistry, disable_created_metrics

from kdm_adapters.audit_log import STDOUT, JsonLinesAuditSink
from kdm_adapters.lines import LineWriter
from kdm_adapters.prometheus import PrometheusInstrument
from kdm_cli import garbage_collection as garbage
from kdm_cli.extras import needed_for
from kdm_cli.listening import dev_directory, server_config
from kdm_cli.policy_file import PolicyFile
from kdm_cli.settings import ALLOW_ALL_WORD, BadSetting, Settings
from kdm_cli.unused import no_system_cas
from kdm_core import (
    ALLOW_ALL,
    ChangeLog,
    ChangeTracker,
    DeploymentRepository,
    DeploymentService,
    ParkingLot,
    Policy,
    ServiceInstrument,
    WatchInstrument,
)
from kdm_http.api.app import create_app
from kdm_http.api.stream.streams import StreamLimits
from kdm_http.ops import Metrics, create_ops_app
from kdm_http.server.application import Application
from kdm_http.telemetry.edge_metrics import EdgeMetrics
from kdm_http.telemetry.stream_metrics import StreamMetrics

if TYPE_CHECKING:
    from kdm_adapters.kubernetes.events import EventAnnouncer
    from kdm_http.telemetry.tracing import Tracing

_log = logging.getLogger("kdm.policy")


def _memory(settings: Settings, instrument: WatchInstrument) -> DeploymentRepository:
    from kdm_adapters.memory import MemoryCluster, MemoryDeploymentRepository, Pace, demo  # noqa: PLC0415 - as below

    for name in ("kubeconfig", "context", "label_selector"):
        if getattr(settings, name):
            raise BadSetting(f"--{name.replace('_', '-')} needs --repository kubernetes")
    repository = MemoryDeploymentRepository(
        cluster=MemoryCluster(pace=Pace()),
        namespaces=settings.namespaces,
        refuse_stale=settings.refuse_stale,
        owners=settings.owners,
        instrument=instrument,
    )
    demo.seed(repository.cluster)
    return repository


def _kubernetes(settings: Settings, instrument: WatchInstrument) -> DeploymentRepository:
    with needed_for("--repository kubernetes", "kubernetes"), no_system_cas():  # aiohttp's own, which nothing here uses
        # Half a second and tens of megabytes, which the memory repository does not need.
        from kdm_adapters.kubernetes import ClusterConfig, KubernetesDeploymentRepository  # noqa: PLC0415
    return KubernetesDeploymentRepository(
        ClusterConfig(kubeconfig=settings.kubeconfig, context=settings.context or None),
        namespaces=settings.namespaces or None,
        label_selector=settings.label_selector,
        stale_after_s=settings.stale_after_s,
        refuse_stale=settings.refuse_stale,
        write_timeout_s=settings.write_timeout_s,
        owners=settings.owners,
        instrument=instrument,
    )


def _parking(settings: Settings, instrument: WatchInstrument) -> ParkingLot | None:
    in_memory = settings.repository == "memory"
    where = settings.parking if settings.parking != "auto" else "memory" if in_memory else "off"
    if settings.parking_namespace and where != "configmaps":
        raise BadSetting("--parking-namespace needs --parking configmaps")
    if where == "off":
        return None
    if where == "memory":
        if not in_memory:
            raise BadSetting(
                "--parking memory would forget with a restart which counts a cluster is owed: use --parking configmaps"
            )
        from kdm_adapters.memory import MemoryParkingLot  # noqa: PLC0415 - as above

        return MemoryParkingLot()
    if in_memory:
        raise BadSetting("--parking configmaps needs --repository kubernetes")
    with needed_for("--parking configmaps", "kubernetes"):
        from kdm_adapters.kubernetes import ClusterConfig  # noqa: PLC0415
        from kdm_adapters.kubernetes.config.in_cluster import own_namespace  # noqa: PLC0415
        from kdm_adapters.kubernetes.parking import ConfigMapParkingLot  # noqa: PLC0415
    namespace = settings.parking_namespace or own_namespace()
    if namespace is None:
        raise BadSetting(
            "--parking configmaps: which namespace? kdm runs outside a cluster, so say it with --parking-namespace"
        )
    config = ClusterConfig(kubeconfig=settings.kubeconfig, context=settings.context or None)
    return ConfigMapParkingLot(config, namespace, timeout_s=settings.write_timeout_s, instrument=instrument)


def _sees_all(settings: Settings) -> bool:
    """Return whether a Deployment that the repository does not have does not exist."""
    return not settings.label_selector


def _tracker(settings: Settings) -> ChangeTracker | None:
    return ChangeTracker(ChangeLog(settings.history_entries)) if settings.history_entries else None


def _announcer(settings: Settings, instrument: PrometheusInstrument) -> EventAnnouncer | None:
    if not settings.events:
        return None
    if settings.repository != "kubernetes":
        raise BadSetting("--events needs --repository kubernetes")
    if not settings.history_entries:
        raise BadSetting("--events needs a history: --history-entries must not be 0")
    with needed_for("--events", "kubernetes"):
        from kdm_adapters.kubernetes.api.client import Client  # noqa: PLC0415 - as above
        from kdm_adapters.kubernetes.config.credentials import ClusterConfig, Credentials  # noqa: PLC0415
        from kdm_adapters.kubernetes.events import EventAnnouncer  # noqa: PLC0415
    cluster = ClusterConfig(kubeconfig=settings.kubeconfig, context=settings.context or None)
    return EventAnnouncer(
        Client(Credentials(cluster), instrument),
        instance=socket.gethostname(),  # a Pod's is its name
        instrument=instrument,
    )


def _tracing(settings: Settings) -> Tracing | None:
    if not settings.otel:
        return None
    with needed_for("--otel", "otel"):
        from kdm_http.telemetry.tracing import Tracing  # noqa: PLC0415 - OpenTelemetry may not be installed
    return Tracing()


def _traced(repository: DeploymentRepository, tracing: Tracing | None) -> DeploymentRepository:
    if tracing is None:
        return repository
    from kdm_adapters.tracing import TracedRepository  # noqa: PLC0415 - OpenTelemetry may not be installed

    return TracedRepository(repository, tracing.tracer)


def _api(
    service: DeploymentService,
    settings: Settings,
    traffic: EdgeMetrics,
    registry: CollectorRegistry,
    tracing: Tracing | None,
) -> Application:
    limits = StreamLimits(settings.limits.streams, settings.limits.streams_per_identity)
    make = partial(
        create_app,
        service,
        counter=traffic.requests,
        log_requests=settings.log_requests,
        stream_limits=limits,
        stream_events=StreamMetrics(registry),
    )
    if tracing is None:
        return make()
    from kdm_http.telemetry.tracing import Traced  # noqa: PLC0415 - OpenTelemetry may not be installed

    traced = Traced(tracing.tracer)
    traced.app = make(observers=[traced.observe])
    return traced


def _audit(settings: Settings, instrument: ServiceInstrument) -> JsonLinesAuditSink | None:
    if not settings.audit_destination:
        return None
    if settings.audit_destination == STDOUT and os.fstat(1).st_rdev == Path(os.devnull).stat().st_rdev:
        logging.getLogger("kdm.audit").warning(
            "the audit trail goes to standard output, which is closed or the null device: nothing is kept"
        )
    return JsonLinesAuditSink(settings.audit_destination, required=settings.audit_required, instrument=instrument)


def _policy_file(settings: Settings, reloaded: Callable[[bool], None]) -> PolicyFile | None:
    if settings.policy_file == ALLOW_ALL_WORD:
        return None
    if settings.policy_file:
        return PolicyFile(Path(settings.policy_file), reloaded=reloaded)
    if settings.dev:
        return PolicyFile(dev_directory() / "dev-policy.toml", reloaded=reloaded)
    raise BadSetting(
        "who may do what needs --policy-file (or KDM_POLICY_FILE): a TOML file, see `kdm policy check`, or the word "
        f"{ALLOW_ALL_WORD}, which lets every client with a certificate of the client CA do everything"
    )


def _policy(file: PolicyFile | None) -> Policy:
    if file is None:
        _log.warning("%s: every client with a certificate of the client CA may do everything", ALLOW_ALL_WORD)
        return ALLOW_ALL
    return file.policy


def _read_again(file: PolicyFile | None) -> None:
    if file is not None:
        file.reload()


@asynccontextmanager
async def _lifespan(
    repository: DeploymentRepository,
    parking: ParkingLot | None,
    service: DeploymentService,
    audit: JsonLinesAuditSink | None,
    policy_file: PolicyFile | None,
    tracing: Tracing | None,
    announcer: EventAnnouncer | None,
) -> AsyncIterator[None]:
    async with AsyncExitStack() as stack:
        if tracing is not None:
            await stack.enter_async_context(tracing)
        if audit is not None:
            stack.enter_context(audit)
            audit.check()  # rather do not start than refuse every write
            await stack.enter_async_context(audit.examined())
        await stack.enter_async_context(repository)
        if announcer is not None:
            await stack.enter_async_context(announcer)
        await stack.enter_async_context(service.remembering())
        if parking is not None:
            await stack.enter_async_context(parking)
        await stack.enter_async_context(garbage.frozen_once_synced(repository))
        if policy_file is not None:
            await stack.enter_async_context(policy_file.followed_by(service))
        yield


def _metrics(
    instrument: PrometheusInstrument,
    repository: DeploymentRepository,
    audit: JsonLinesAuditSink | None,
    log_lines: LineWriter,
    service: DeploymentService,
    tracker: ChangeTracker | None,
) -> Metrics:
    # Each counter's creation time would be one more series.
    disable_created_metrics()  # type: ignore[no-untyped-call] # the library has no type for it
    instrument.observe(repository.sync_status)
    instrument.observe_log(lambda: log_lines.dropped)
    if service.parks:
        instrument.observe_parking(service.parking_status)
    if tracker is not None:
        instrument.observe_history(lambda: len(tracker.log))
    if audit is not None:
        instrument.observe_audit(lambda: not audit.problem)
    return instrument.render


class Container(containers.DeclarativeContainer):
    """How the parts depend on each other. Tests replace one with ``container.repository.override(...)``."""

    settings = providers.Dependency(instance_of=Settings)
    log_lines = providers.Singleton(LineWriter, 2, "kdm-log")
    """The log's, on standard error."""
    out_lines = providers.Singleton(LineWriter, 1, "kdm-out")
    """Everything else, on standard output."""
    instrument = providers.Singleton(PrometheusInstrument)
    repository = providers.Selector(
        providers.Callable(attrgetter("repository"), settings),
        memory=providers.Singleton(_memory, settings, instrument),
        kubernetes=providers.Singleton(_kubernetes, settings, instrument),
    )
    audit = providers.Singleton(_audit, settings, instrument)
    traffic = providers.Singleton(EdgeMetrics, instrument.provided.registry, audit)
    policy_file = providers.Singleton(_policy_file, settings, traffic.provided.policy_reloaded)
    policy = providers.Callable(_policy, policy_file)
    tracing = providers.Singleton(_tracing, settings)
    parking = providers.Singleton(_parking, settings, instrument)
    tracker = providers.Singleton(_tracker, settings)
    announcer = providers.Singleton(_announcer, settings, instrument)
    service = providers.Singleton(
        DeploymentService,
        providers.Callable(_traced, repository, tracing),
        policy=policy,
        audit=audit,
        instrument=instrument,
        namespace=settings.provided.namespace,
        max_replicas=settings.provided.max_replicas,
        parking=parking,
        sees_all=providers.Callable(_sees_all, settings),
        tracker=tracker,
        announcer=announcer,
    )
    metrics = providers.Singleton(_metrics, instrument, repository, audit, log_lines, service, tracker)
    api = providers.Singleton(_api, service, settings, traffic, instrument.provided.registry, tracing)
    ops = providers.Singleton(create_ops_app, service, metrics)
    server_config = providers.Singleton(server_config, settings)
    read_again = providers.Callable(_read_again, policy_file)
    """What SIGHUP reads again besides the certificates."""
    lifespan = providers.Factory(_lifespan, repository, parking, service, audit, policy_file, tracing, announcer)
    """What lives as long as requests do: traces, the audit trail, the cache, the watch over the policy file."""
