"""What a Prometheus that scrapes kdm gets to see."""

from __future__ import annotations

import math
from importlib.metadata import version

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import parser
from prometheus_client.openmetrics import parser as openmetrics_parser

from kdm_adapters.memory import MemoryDeploymentRepository
from kdm_adapters.prometheus import PrometheusInstrument
from kdm_adapters.prometheus.series import MAX_SERIES, Counters, Histograms
from kdm_core import ItemOutcome, Outcome, ServiceInstrument, SourceStatus, SyncStatus, WatchInstrument

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def scrape(instrument: PrometheusInstrument) -> Samples:
    body, content_type = instrument.render()
    assert content_type.startswith("text/plain; version=")
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in parser.text_string_to_metric_families(body.decode())
        for sample in family.samples
    }


def value(samples: Samples, name: str, **labels: str) -> float:
    return samples[name, frozenset(labels.items())]


@pytest.fixture
def instrument() -> PrometheusInstrument:
    return PrometheusInstrument()


def call_every_hook(instrument: PrometheusInstrument) -> None:
    instrument.read_served("get")
    instrument.watch_event("*", "ADDED")
    instrument.event_undecodable("shop")
    instrument.listed("*", "watch-list", "initial", 0.3)
    instrument.watch_ended("*", "timeout")
    instrument.backed_off("*", 1.5)
    instrument.backed_off("*", 2.5)
    instrument.api_request("patch", 200, 0.01)
    instrument.write("success", 0.02)
    instrument.bulk_item("done")
    instrument.subscriber_lagged()
    instrument.owner_conflict("ScaledObject", overridden=True)
    instrument.audit_lost()


def test_every_hook_shows(instrument: PrometheusInstrument) -> None:
    call_every_hook(instrument)
    samples = scrape(instrument)
    assert value(samples, "kdm_cache_reads_total", kind="get") == 1
    assert value(samples, "kdm_watch_events_total", source="*", type="ADDED") == 1
    assert value(samples, "kdm_undecodable_events_total", source="shop") == 1
    assert value(samples, "kdm_lists_total", source="*", mode="watch-list", reason="initial") == 1
    assert value(samples, "kdm_list_duration_seconds_sum", mode="watch-list") == 0.3
    assert value(samples, "kdm_watch_ends_total", source="*", reason="timeout") == 1
    assert value(samples, "kdm_backoff_seconds_total", source="*") == 4
    assert value(samples, "kdm_api_requests_total", verb="patch", code="200") == 1
    assert value(samples, "kdm_api_request_duration_seconds_count", verb="patch") == 1
    assert value(samples, "kdm_writes_total", outcome="success") == 1
    assert value(samples, "kdm_write_duration_seconds_count") == 1
    assert value(samples, "kdm_bulk_items_total", outcome="done") == 1
    assert value(samples, "kdm_subscriber_lags_total") == 1
    assert value(samples, "kdm_audit_events_lost_total") == 1


def test_no_hook_is_forgotten() -> None:
    """Whatever kdm can tell about itself is told to Prometheus."""
    hooks = {
        name
        for kind in (ServiceInstrument, WatchInstrument)
        for name, member in vars(kind).items()
        if callable(member) and not name.startswith("_")
    }
    assert hooks <= set(vars(PrometheusInstrument))


def test_what_can_be_known_in_advance_starts_at_zero(instrument: PrometheusInstrument) -> None:
    """A first event is a rise from zero, which an alert on a rate sees, and not a series out of nowhere."""
    samples = scrape(instrument)
    for outcome in Outcome:
        assert value(samples, "kdm_writes_total", outcome=outcome.value) == 0
    for each in ItemOutcome:
        assert value(samples, "kdm_bulk_items_total", outcome=each.value) == 0
    for kind in ("get", "find", "list"):
        assert value(samples, "kdm_cache_reads_total", kind=kind) == 0
    instrument.listed("shop", "list", "initial", 0.1)
    samples = scrape(instrument)
    assert value(samples, "kdm_undecodable_events_total", source="shop") == 0
    assert value(samples, "kdm_watch_ends_total", source="shop", reason="broken") == 0
    assert value(samples, "kdm_backoff_seconds_total", source="shop") == 0
    assert value(samples, "kdm_subscriber_lags_total") == 0
    assert value(samples, "kdm_write_duration_seconds_count") == 0


def test_a_value_falls_into_the_buckets_that_bound_it(instrument: PrometheusInstrument) -> None:
    """Buckets are cumulative and include their bound, as Prometheus has them."""
    for seconds in (0.001, 0.005, 0.006, 99.0):
        instrument.write("success", seconds)
    samples = scrape(instrument)
    bucket = {
        dict(labels)["le"]: count
        for (name, labels), count in samples.items()
        if name == "kdm_write_duration_seconds_bucket"
    }
    assert (bucket["0.005"], bucket["0.01"], bucket["10.0"], bucket["+Inf"]) == (2, 3, 3, 4)
    assert value(samples, "kdm_write_duration_seconds_count") == 4
    assert value(samples, "kdm_write_duration_seconds_sum") == pytest.approx(99.012)


@pytest.mark.parametrize("accept", ["", "text/plain", "application/openmetrics-text; version=1.0.0", "nonsense;;q=,"])
def test_the_scraper_chooses_the_format(instrument: PrometheusInstrument, accept: str) -> None:
    """OpenMetrics for who asks for it, strictly parsed; the text format for everybody else."""
    call_every_hook(instrument)
    instrument.observe(lambda: SyncStatus(synced=True, connected=True, resource_version="7", age_s=0.5))
    body, content_type = instrument.render(accept)
    if "openmetrics" in accept:
        assert content_type.startswith("application/openmetrics-text")
        families = list(openmetrics_parser.text_string_to_metric_families(body.decode()))  # type: ignore[no-untyped-call]  # the library forgot
    else:
        assert content_type.startswith("text/plain")
        families = list(parser.text_string_to_metric_families(body.decode()))
    assert {"kdm_writes", "kdm_cache_age_seconds"} <= {family.name for family in families}


def test_every_metric_has_a_help_text_and_a_name_by_convention(instrument: PrometheusInstrument) -> None:
    call_every_hook(instrument)
    source = SourceStatus("shop", synced=True, connected=True, resource_version="7", age_s=0.5)
    status = SyncStatus(
        synced=True, connected=True, resource_version="7", age_s=0.5, sources=(source,), owners=(source,)
    )
    instrument.observe(lambda: status)
    for family in instrument.registry.collect():
        if family.name.startswith("kdm_"):
            assert family.documentation.endswith(".")
            assert family.samples
        else:
            assert family.name.startswith(("process_", "python_gc_"))


class TestCache:
    def test_its_state_is_read_at_each_scrape(self, instrument: PrometheusInstrument) -> None:
        status = SyncStatus(synced=False, connected=False, resource_version="", age_s=math.inf)
        instrument.observe(lambda: status)
        samples = scrape(instrument)
        assert value(samples, "kdm_cache_age_seconds") == math.inf
        assert value(samples, "kdm_cache_synced") == 0
        assert ("kdm_cache_resource_version", frozenset()) not in samples
        status = SyncStatus(
            synced=True, connected=True, resource_version="4711", age_s=61.5, stale=True, objects=10_000
        )
        samples = scrape(instrument)
        assert value(samples, "kdm_cache_objects") == 10_000
        assert value(samples, "kdm_cache_age_seconds") == 61.5
        assert value(samples, "kdm_cache_synced") == 1
        assert value(samples, "kdm_cache_connected") == 1
        assert value(samples, "kdm_cache_stale") == 1
        assert value(samples, "kdm_cache_resource_version") == 4711

    async def test_of_a_repository(self, instrument: PrometheusInstrument) -> None:
        """A repository's own status is all it takes, before it is started as well as after."""
        repository = MemoryDeploymentRepository(instrument=instrument)
        instrument.observe(repository.sync_status)
        assert value(scrape(instrument), "kdm_cache_synced") == 0
        async with repository:
            await repository.wait_synced(5)
            assert value(scrape(instrument), "kdm_cache_synced") == 1


def test_tells_the_build_and_the_process(instrument: PrometheusInstrument) -> None:
    samples = scrape(instrument)
    (build,) = [dict(labels) for name, labels in samples if name == "kdm_build_info"]
    assert build["version"] == version("kdm-service")
    assert value(samples, "process_resident_memory_bytes") > 0
    assert value(samples, "python_gc_collections_total", generation="0") >= 0


def test_two_instruments_share_nothing() -> None:
    one, other = PrometheusInstrument(), PrometheusInstrument()
    one.read_served("get")
    assert value(scrape(other), "kdm_cache_reads_total", kind="get") == 0


class TestCardinality:
    def test_counters_are_bounded(self) -> None:
        """Series beyond the bound are counted together: nothing is lost, and memory does not grow."""
        counters = Counters("x_total", "X.", ("a", "b"))
        for number in range(MAX_SERIES + 50):
            counters.add((f"{number}", "b"))
        counters.add(("0", "b"))
        (family,) = counters.collect()
        values = {tuple(sample.labels.values()): sample.value for sample in family.samples}
        assert len(values) == MAX_SERIES + 1
        assert values["0", "b"] == 2
        assert values["other", "other"] == 50

    def test_histograms_are_bounded(self) -> None:
        histograms = Histograms("x_seconds", "X.", (1.0,), ("a",))
        for number in range(MAX_SERIES + 50):
            histograms.observe(0.5, (f"{number}",))
        (family,) = histograms.collect()
        counts = {sample.labels["a"]: sample.value for sample in family.samples if sample.name == "x_seconds_count"}
        assert len(counts) == MAX_SERIES + 1
        assert counts["other"] == 50

    def test_a_label_cannot_break_the_exposition(self, instrument: PrometheusInstrument) -> None:
        hostile = 'a"\n} 1\nkdm_writes_total{outcome="success'
        instrument.watch_ended("*", hostile)
        samples = scrape(instrument)
        assert value(samples, "kdm_watch_ends_total", source="*", reason=hostile) == 1
        assert value(samples, "kdm_writes_total", outcome="success") == 0


async def test_each_source_is_told_of_on_its_own(instrument: PrometheusInstrument) -> None:
    repository = MemoryDeploymentRepository(namespaces=["blog", "shop"])
    repository.faults.disconnected_namespaces = frozenset({"blog"})
    async with repository:
        instrument.observe(repository.sync_status)
        samples = scrape(instrument)
    assert value(samples, "kdm_cache_source_synced", source="shop") == 1
    assert value(samples, "kdm_cache_source_synced", source="blog") == 0
    assert value(samples, "kdm_cache_source_connected", source="shop") == 1
    assert value(samples, "kdm_cache_source_connected", source="blog") == 0
    assert value(samples, "kdm_cache_source_age_seconds", source="shop") == 0
    assert value(samples, "kdm_cache_source_age_seconds", source="blog") == math.inf
    assert value(samples, "kdm_cache_synced") == value(samples, "kdm_cache_connected") == 0


TEXT = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8; escaping=underscores"
TYPES = ("text/plain", "application/openmetrics-text", "*/*", "text/html", "", "text/plain ", "a,b")
VERSIONS = ("", "0.0.4", "1.0.0", "abc", "2.0.0", "1", "-1.0.0", "1.x", "٣.0.0", "1.0.0 ", "9" * 5000)
PARAMETERS = (
    "",
    "q=0.5",
    "escaping=dots",
    "escaping=allow-utf-8",
    "escaping=x",
    "escaping",
    "charset=ascii",
    ";;",
    "=",
)


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        ("", TEXT),
        ("text/plain; version=abc", TEXT),
        ("text/plain; version=1.0.x", TEXT),
        ("application/openmetrics-text; version=abc", TEXT),
        ("application/openmetrics-text; version=2.0.0, text/plain", TEXT),
        ("application/openmetrics-text; version=2.0.0, application/openmetrics-text; version=1.0.0", OPENMETRICS),
    ],
)
def test_an_accept_header_that_makes_no_sense_is_answered(
    instrument: PrometheusInstrument, accept: str, content_type: str
) -> None:
    assert instrument.render(accept)[1] == content_type


@given(
    st.lists(st.tuples(st.sampled_from(TYPES), st.sampled_from(VERSIONS), st.sampled_from(PARAMETERS)), max_size=4)
    | st.text()
)
def test_the_content_type_is_that_of_the_body(accepted: list[tuple[str, str, str]] | str) -> None:
    """Whatever was asked for: its parser reads it."""
    accept = (
        accepted
        if isinstance(accepted, str)
        else ",".join(f"{kind};version={version};{parameter}" for kind, version, parameter in accepted)
    )
    body, content_type = PrometheusInstrument().render(accept)
    kind, *parameters = content_type.split("; ")
    version = next(each for each in parameters if each.startswith("version="))
    if kind == "application/openmetrics-text":
        assert version == "version=1.0.0"
        assert list(openmetrics_parser.text_string_to_metric_families(body.decode()))  # type: ignore[no-untyped-call]
    else:
        assert (kind, version) in {("text/plain", "version=0.0.4"), ("text/plain", "version=1.0.0")}
        assert list(parser.text_string_to_metric_families(body.decode()))
        assert b"# EOF" not in body


def test_the_trail_and_the_log_are_told_as_they_are_when_scraped(instrument: PrometheusInstrument) -> None:
    state = {"dropped": 0, "writable": True}
    instrument.observe_log(lambda: state["dropped"])
    instrument.observe_audit(lambda: bool(state["writable"]))
    samples = scrape(instrument)
    assert (value(samples, "kdm_log_lines_dropped_total"), value(samples, "kdm_audit_writable")) == (0, 1)
    state |= {"dropped": 7, "writable": False}
    samples = scrape(instrument)
    assert (value(samples, "kdm_log_lines_dropped_total"), value(samples, "kdm_audit_writable")) == (7, 0)
