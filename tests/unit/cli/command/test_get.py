"""`kdm get`: Deployments in each form, of one kdm and of several."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
import yaml

from kdm_cli.exits import Exit
from kdm_core import DeploymentCondition
from unit.cli.command.asking import Asked, Command, asked, context_file


@pytest.fixture(scope="module", autouse=True)
def _deployments(kdm: Asked) -> None:
    kdm.create("default/web", 3, tier="web")
    kdm.create("default/worker", 1, tier="batch")
    kdm.create("shop/api", 2, tier="web")
    stalled = kdm.create("shop/stuck", 2, held=True)
    late = DeploymentCondition("False", "ProgressDeadlineExceeded", "it has timed out progressing")
    kdm.do(lambda cluster: (cluster.scale(stalled, 4), cluster.report(stalled, current=4, progressing=late)))


@pytest.fixture(scope="module")
def second(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Asked]:
    with asked(tmp_path_factory.mktemp("second")) as running:
        running.create("default/web", 7)
        yield running


@pytest.fixture(scope="module")
def description(kdm: Asked) -> dict[str, Any]:
    """What kdm says that its answers look like: the OpenAPI document."""
    from kdm_adapters.remote.client import Client  # noqa: PLC0415

    with Client(kdm.served.access()) as client:
        return dict(client.get("/api/v2/openapi.json"))


def validate(document: dict[str, Any], schema: str, value: Any) -> None:
    """Check a value against a schema of the OpenAPI document."""
    jsonschema_rs.validator_for({**document, "$ref": f"#/components/schemas/{schema}"}).validate(value)


def schema_of(document: dict[str, Any], path: str, method: str = "get") -> str:
    """Return the name of the schema that a route's answer has."""
    answer = document["paths"][path][method]["responses"]["200"]["content"]["application/json"]["schema"]
    return str(answer["$ref"]).rpartition("/")[2]


def test_the_table_has_the_namespace_of_the_context(run: Command) -> None:
    ran = run("get")
    assert ran.code == 0
    assert ran.out.splitlines() == [
        "NAME     DESIRED   READY   AVAILABLE   STATE",
        "web            3       3           3   settled",
        "worker         1       1           1   settled",
    ]


def test_of_all_namespaces_it_has_a_column_for_them(run: Command) -> None:
    lines = run("get", "-A").out.splitlines()
    assert lines[0].split()[0] == "NAMESPACE"
    assert [line.split()[:2] for line in lines[1:]] == [
        ["default", "web"], ["default", "worker"], ["shop", "api"], ["shop", "stuck"]
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        (["-n", "shop"], ["shop/api", "shop/stuck"]),
        (["-A", "-l", "tier=web"], ["default/web", "shop/api"]),
        (["-A", "--state", "stalled,blocked"], ["shop/stuck"]),
        (["shop/api", "web", "shop/api"], ["shop/api", "default/web", "shop/api"]),
        (["-n", "shop", "api"], ["shop/api"]),
    ],
)
def test_which_are_shown(run: Command, arguments: list[str], names: list[str]) -> None:
    assert run("get", *arguments, "-o", "name").out.split() == names


def test_wide_shows_all_counts_and_who_changed_it_last(run: Command) -> None:
    title, row = run("get", "web", "-o", "wide").out.splitlines()
    assert title.split() == [
        "NAME", "DESIRED", "READY", "AVAILABLE", "STATE", "CURRENT", "UPDATED", "OWNER", "CHANGED", "BY", "REASON",
        "MESSAGE",
    ]  # fmt: skip
    assert row.split()[:8] == ["web", "3", "3", "3", "settled", "3", "3", "-"]


def test_json_is_what_the_description_of_the_api_says(run: Command, description: dict[str, Any]) -> None:
    one = run("get", "web", "-o", "json").json
    validate(description, schema_of(description, "/api/v2/namespaces/{namespace}/deployments/{name}"), one)
    assert one["replicas"]["desired"] == 3
    many = run("get", "-A", "-o", "json").json
    validate(description, schema_of(description, "/api/v2/deployments"), many)
    assert [each["name"] for each in many["items"]] == ["web", "worker", "api", "stuck"]
    assert run("whoami", "-o", "json").json == about(run, description)


def about(run: Command, description: dict[str, Any]) -> Any:
    value = run("whoami", "-o", "json").json
    validate(description, schema_of(description, "/api/v2"), value)
    return value


def test_json_of_a_write_is_what_the_description_says(run: Command, description: dict[str, Any]) -> None:
    path = "/api/v2/namespaces/{namespace}/deployments/{name}/replicas"
    for arguments in (["worker=1"], ["worker=1", "--wait"], ["worker=2", "--dry-run"]):
        written = run("scale", *arguments, "-o", "json")
        assert written.code == 0
        validate(description, schema_of(description, path, "put"), written.json)


def test_yaml_says_the_same_as_json(run: Command) -> None:
    as_yaml = yaml.safe_load(run("get", "web", "-o", "yaml").out)
    as_json = run("get", "web", "-o", "json").json
    assert as_yaml == as_json
    assert list(as_yaml) == list(as_json)


def test_a_long_list_is_read_page_by_page(run: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kdm_cli.client.api.PAGE", 1)
    listed = run("get", "-A", "-o", "json").json
    assert len(listed["items"]) == 4
    assert listed["metadata"]["continue"] is None
    assert listed["metadata"]["consistent"] is True


def test_what_is_found_is_shown_though_something_is_not(run: Command) -> None:
    ran = run("get", "web", "nope")
    assert ran.code == Exit.PARTLY
    assert "web" in ran.out
    assert ran.line.startswith("Deployment 'default/nope' not found (request id ")
    assert run("get", "nope", "neither").code == Exit.NOT_FOUND


def test_nothing_found_is_said_and_is_no_error(run: Command) -> None:
    ran = run("get", "-n", "empty")
    assert (ran.code, ran.out, ran.line) == (0, "", "no Deployments found")
    assert run("get", "-n", "empty", "-o", "json").json["items"] == []


def test_a_stale_answer_says_so(kdm: Asked, run: Command) -> None:
    with kdm.fault("stale"):
        ran = run("get")
    assert ran.code == 0
    assert ran.line.startswith("this may be out of date: kdm has heard nothing from the cluster for")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["web", "-l", "a=b"], "exclude each other"),
        (["web", "-A"], "exclude each other"),
        (["-A", "-n", "shop"], "-A and -n contradict each other"),
        (["-l", "tier in (web"], "invalid label selector"),
        (["--state", "asleep"], "must be one or more of observing, settling, settled, blocked, stalled, paused"),
        (["-o", "xml"], "'xml' is not one of"),
        (["Web"], "is no Deployment's name"),
        (["--contxt", "a"], "No such option '--contxt'"),
        (["--context", "nowhere"], "no context 'nowhere'; there are: alice, bob"),
    ],
)
def test_a_wrong_question_is_one_line_that_says_what_is_allowed(run: Command, arguments: list[str], told: str) -> None:
    ran = run("get", *arguments)
    assert ran.code == Exit.USAGE
    assert told in ran.line
    assert ran.out == ""


class TestSeveralContexts:
    @pytest.fixture
    def both(self, run: Command, kdm: Asked, second: Asked, contexts: Path) -> Command:
        """The command, with a context for each kdm, and one for a kdm that is away."""
        context_file(contexts, kdm.served, second.served, away="https://127.0.0.1:1")
        return run

    def test_a_column_says_which_one_a_row_is_of(self, both: Command) -> None:
        lines = both("get", "--context", "alice,alice-2").out.splitlines()
        assert lines[0].split()[:2] == ["CONTEXT", "NAME"]
        assert [line.split()[:3] for line in lines[1:]] == [
            ["alice", "web", "3"], ["alice", "worker", "1"], ["alice-2", "web", "7"]
        ]  # fmt: skip
        assert both("get", "web", "--context", "alice-2,alice").out.splitlines()[1].split()[:3] == [
            "alice-2",
            "web",
            "7",
        ]

    def test_json_is_by_context(self, both: Command) -> None:
        listed = both("get", "--context", "alice,alice-2", "-o", "json").json
        assert {name: len(each["items"]) for name, each in listed.items()} == {"alice": 2, "alice-2": 1}
        one = both("get", "web", "--context", "alice,alice-2", "-o", "json").json
        assert {name: each["replicas"]["desired"] for name, each in one.items()} == {"alice": 3, "alice-2": 7}

    def test_one_that_is_away_is_named_and_the_others_are_shown(self, both: Command) -> None:
        ran = both("get", "--context", "away,alice-2")
        assert ran.code == Exit.PARTLY
        assert ran.line.startswith("context away: ")
        assert ran.out.splitlines()[1].split()[:3] == ["alice-2", "web", "7"]
        assert both("get", "--context", "away").code == Exit.UNAVAILABLE

    def test_a_write_asks_one(self, both: Command) -> None:
        ran = both("scale", "web=1", "--context", "alice,alice-2")
        assert ran.code == Exit.USAGE
        assert "this command asks one kdm" in ran.line


def test_whoami_and_health(kdm: Asked, run: Command) -> None:
    said = run("whoami", "--context", "bob").out
    assert "user             bob" in said
    assert "context          bob" in said
    assert run("health").out.splitlines()[1].split() == ["healthy", "-"]
    with kdm.fault("unreachable"):
        ran = run("health", "-o", "json")
    assert ran.code == Exit.UNAVAILABLE
    assert json.loads(ran.out)["status"] == "unhealthy"


def test_what_could_control_a_terminal_is_shown_as_escapes(kdm: Asked, run: Command) -> None:
    stuck = kdm.create("evil/web", 2, held=True)
    message = "\x1b]0;title\x07 \u202ereversed\nsecond line"

    def block(cluster: Any) -> None:
        cluster.scale(stuck, 3)
        cluster.report(stuck, replica_failure=DeploymentCondition("True", "FailedCreate", message))

    kdm.do(block)
    ran = run("get", "-n", "evil", "-o", "wide")
    assert len(ran.out.splitlines()) == 2
    assert all(line.isprintable() for line in ran.out.splitlines())
    assert "\\x1b]0;title\\x07 \\u202ereversed" in ran.out
