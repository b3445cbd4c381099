"""Contexts: which kdm to ask, and as whom."""

from __future__ import annotations

import multiprocessing
import os
import stat
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdm_cli import contexts as module
from kdm_cli import dev_context
from kdm_cli.contexts import Context, Contexts
from kdm_cli.exits import CommandError, Exit
from kdm_cli.main import main
from unit.cli.command.asking import Command

URL = "https://kdm.example:8443"


def context(name: str = "prod", server: str = URL, **others: str) -> Context:
    return Context(name, server, Path("/pki/ca.pem"), Path("/pki/alice.pem"), Path("/pki/alice-key.pem"), **others)


NAMES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,20}", fullmatch=True)
PATHS = st.text(st.characters(exclude_characters="\0/", exclude_categories=["Cs"]), min_size=1, max_size=20).map(
    lambda text: Path("/") / text
)


@given(st.dictionaries(NAMES, st.tuples(PATHS, PATHS, PATHS), min_size=1, max_size=4))
def test_what_is_written_is_read_again(
    tmp_path_factory: pytest.TempPathFactory, made: dict[str, tuple[Path, Path, Path]]
) -> None:
    path = tmp_path_factory.mktemp("contexts") / "contexts.toml"
    wanted = {name: Context(name, URL, ca, cert, key) for name, (ca, cert, key) in made.items()}
    contexts = Contexts(path)
    for each in wanted.values():
        contexts.add(each)
    again = Contexts(path)
    assert {name: again.get(name) for name in again.names} == wanted
    assert again.current == next(iter(wanted))


def test_the_file_is_for_its_owner_alone_and_so_is_a_folder_that_is_made(tmp_path: Path) -> None:
    path = tmp_path / "config" / "kdm" / "contexts.toml"
    Contexts(path).add(context())
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert [each.name for each in path.parent.iterdir()] == ["contexts.toml"]  # no temporary file is left


def test_a_file_that_cannot_be_written_stays_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "contexts.toml"
    Contexts(path).add(context())
    before = path.read_bytes()

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(CommandError, match="cannot be written: No space left on device"):
        Contexts(path).add(context("other"))
    assert path.read_bytes() == before
    assert [each.name for each in tmp_path.iterdir()] == ["contexts.toml"]


def test_a_link_to_the_file_stays_a_link(tmp_path: Path) -> None:
    real, link = tmp_path / "dotfiles" / "kdm.toml", tmp_path / "contexts.toml"
    real.parent.mkdir()
    link.symlink_to(real)
    Contexts(link).add(context())
    assert link.is_symlink()
    assert Contexts(real).names == ["prod"]


def _add(path: Path, number: int) -> None:
    Contexts(path).add(context(f"c{number}"))


def test_processes_that_write_at_the_same_time_lose_nothing(tmp_path: Path) -> None:
    path = tmp_path / "contexts.toml"
    processes = [multiprocessing.get_context("fork").Process(target=_add, args=(path, each)) for each in range(8)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(30)
    assert Contexts(path).names == [f"c{each}" for each in range(8)]


def test_a_relative_path_is_relative_to_the_file(tmp_path: Path) -> None:
    path = tmp_path / "contexts.toml"
    path.write_text(f'[contexts.a]\nserver = "{URL}"\nca = "pki/ca.pem"\ncert = "~/a.pem"\nkey = "../a-key.pem"\n')
    found = Contexts(path).get("a")
    assert found.ca == tmp_path / "pki" / "ca.pem"
    assert found.cert == Path.home() / "a.pem"
    assert found.key == tmp_path / "../a-key.pem"
    assert found.namespace == "default"


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("current = ", "not TOML"),
        ('curent = "a"', "unknown: curent; there may be: current, contexts"),
        ("current = 5", "current must be a name"),
        ("[contexts]\na = 5", "context 'a': must be a table"),
        ('[contexts.a]\nsever = "x"', "unknown: sever"),
        ("\xff", "not TOML"),
    ],
)
def test_a_file_that_is_none_is_one_line_with_its_name(contexts: Path, bare: Command, content: str, told: str) -> None:
    contexts.write_bytes(content.encode("latin-1"))
    ran = bare("get")
    assert ran.code == Exit.USAGE
    assert told in ran.line
    assert str(contexts) in ran.line


@pytest.mark.parametrize(
    "url",
    [
        "http://kdm:1",
        "kdm:1",
        "https://",
        "https://kdm:x",
        "https://kdm/api",
        "https://a@kdm",
        "https://kdm?x",
        "https://kdm\n",
    ],
)
def test_a_server_that_is_none_is_refused_when_it_is_added(bare: Command, tmp_path: Path, url: str) -> None:
    file = tmp_path / "file.pem"
    file.touch()
    ran = bare("context", "add", "a", "--server", url, "--ca", str(file), "--cert", str(file), "--key", str(file))
    assert ran.code == Exit.USAGE
    assert "expected https://HOST:PORT" in ran.line


def test_without_any_context_it_says_how_to_get_one(bare: Command) -> None:
    ran = bare("get")
    assert ran.code == Exit.USAGE
    assert "kdm context add NAME --from DIR" in ran.line


def test_the_life_of_contexts(bare: Command, contexts: Path, tmp_path: Path) -> None:
    assert main(["certs", "init", str(tmp_path / "pki")]) == 0
    added = bare("context", "add", "prod", "--from", str(tmp_path / "pki"), "--server", URL, "-n", "shop")
    assert (added.code, added.out) == (0, "added prod, the current context\n")
    assert tomllib.loads(contexts.read_text())["contexts"]["prod"] == {
        "server": URL,
        "ca": str(tmp_path / "pki" / "ca.pem"),
        "cert": str(tmp_path / "pki" / "admin.pem"),
        "key": str(tmp_path / "pki" / "admin-key.pem"),
        "namespace": "shop",
    }
    assert bare("context", "add", "test", "--from", str(tmp_path / "pki")).out.startswith("added test; ")
    assert [line.split()[:2] for line in bare("context", "list").out.splitlines()[1:]] == [
        ["*", "prod"],
        ["test", "https://localhost:8443"],
    ]
    assert bare("context", "use", "test").code == 0
    assert Contexts(contexts).current == "test"
    listed = bare("context", "list", "-o", "json").json
    assert listed["current"] == "test"
    assert [each["name"] for each in listed["contexts"]] == ["prod", "test"]
    assert bare("context", "list", "-o", "name").out == "prod\ntest\n"
    assert bare("context", "remove", "test").out == "removed test; there is no current context now\n"
    assert bare("context", "use", "test").line.endswith("no context 'test'; there are: prod (kdm context add)")
    assert bare("context", "remove", "test").code == Exit.USAGE


def test_a_context_that_is_there_is_replaced_only_by_force(bare: Command, contexts: Path, tmp_path: Path) -> None:
    main(["certs", "init", str(tmp_path / "pki")])
    add = ("context", "add", "a", "--from", str(tmp_path / "pki"), "--server")
    assert bare(*add, URL).code == 0
    assert "--force replaces it" in bare(*add, "https://other:1").line
    assert Contexts(contexts).get("a").server == URL
    assert bare(*add, "https://other:1", "--force").code == 0
    assert Contexts(contexts).get("a").server == "https://other:1"


def test_a_directory_with_several_clients_wants_to_know_which(bare: Command, contexts: Path, tmp_path: Path) -> None:
    pki = str(tmp_path / "pki")
    main(["certs", "init", pki])
    main(["certs", "issue", pki, "--cn", "ci"])
    main(["certs", "issue", pki, "--cn", "kdm", "--name", "server2", "--server", "--san", "kdm"])
    ran = bare("context", "add", "a", "--from", pki)
    assert ran.code == Exit.USAGE
    assert "say which with --client: admin, ci" in ran.line
    assert bare("context", "add", "a", "--from", pki, "--client", "ci").code == 0
    assert Contexts(contexts).get("a").cert == tmp_path / "pki" / "ci.pem"
    assert "no client 'eve'; there are: admin, ci" in bare("context", "add", "b", "--from", pki, "--client", "eve").line
    assert "no ca.pem in it" in bare("context", "add", "b", "--from", str(tmp_path)).line
    assert "exclude each other" in bare("context", "add", "b", "--from", pki, "--ca", "x").line
    assert "give --from DIR, or --server" in bare("context", "add", "b", "--server", URL).line
    assert "no context's name" in bare("context", "add", "../b", "--from", pki, "--client", "ci").line


def test_flags_win_over_the_variable_and_that_over_the_current_context(
    contexts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = Contexts(contexts)
    for name in ("a", "b", "c"):
        found.add(context(name, f"https://{name}:1"))
    assert [each.name for each in module.chosen(None, {})] == ["a"]
    monkeypatch.setenv("KDM_CONTEXT", "b")
    assert [each.name for each in module.chosen(None, {})] == ["b"]
    assert [each.name for each in module.chosen("c", {})] == ["c"]
    assert [each.name for each in module.chosen("c,a,c", {}, several=True)] == ["c", "a"]
    with pytest.raises(CommandError, match="this command asks one kdm"):
        module.chosen("c,a", {})
    changed = module.chosen("c", {"server": "https://d:2/", "key": "k.pem", "namespace": "shop", "ca": None})[0]
    assert changed == context("c", "https://d:2")._replace(key=Path("k.pem"), namespace="shop")


def test_flags_alone_need_no_context(contexts: Path) -> None:
    flags = {"server": URL, "ca": "ca.pem", "cert": "a.pem", "key": "k.pem"}
    (found,) = module.chosen(None, flags)
    assert (found.server, found.cert, found.namespace) == (URL, Path("a.pem"), "default")
    assert not contexts.exists()


class TestDevelopment:
    """What `make run` writes."""

    def test_a_context_for_the_development_certificates_is_written_and_used(
        self, contexts: Path, tmp_path: Path
    ) -> None:
        lines = dev_context.lines("dev", URL, tmp_path)
        assert Contexts(contexts).get("dev").cert == tmp_path / "dev-admin.pem"
        assert lines[0].endswith("kdm get -A")
        dev_context.lines("dev", "https://localhost:2", tmp_path)
        assert Contexts(contexts).get("dev").server == "https://localhost:2"
        assert Contexts(contexts).names == ["dev"]

    def test_a_context_of_the_user_is_neither_overwritten_nor_deselected(self, contexts: Path, tmp_path: Path) -> None:
        mine = context("dev", "https://mine:1")
        Contexts(contexts).add(mine)
        lines = dev_context.lines("dev", URL, tmp_path)
        found = Contexts(contexts)
        assert found.get("dev") == mine
        assert found.current == "dev"
        assert found.get("dev-2").server == URL
        assert all(line.endswith("--context dev-2") for line in lines)

    def test_a_file_that_is_broken_is_left_alone(self, contexts: Path, tmp_path: Path) -> None:
        contexts.write_text("not TOML")
        (line,) = dev_context.lines("dev", URL, tmp_path)
        assert line.startswith("No context was written: ")
        assert contexts.read_text() == "not TOML"
