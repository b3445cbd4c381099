"""The policy file: read at the start, watched while kdm serves, never replaced by one that is no good."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from pathlib import Path
from typing import Any

import pytest

from kdm_adapters.memory import MemoryDeploymentRepository
from kdm_cli import policy_file
from kdm_cli.policy_file import PolicyFile
from kdm_core import Caller, DeploymentRef, DeploymentService, Forbidden, Identity, PolicyError, regular_file

ALICE = Identity("alice")
WEB = DeploymentRef("shop", "web")
DEADLINE_S = 10.0
POLL_S = 0.005

NOTHING = "version = 1\n"
READ = 'version = 1\n[[grant]]\nusers = ["alice"]\nverbs = ["read"]\nnamespaces = ["shop"]\n'
READ_ALL = READ.replace('["shop"]', '["*"]')


class Reloads:
    """What the policy file told, to be waited for."""

    def __init__(self) -> None:
        self._told: asyncio.Queue[bool] = asyncio.Queue()

    def __call__(self, used: bool) -> None:
        self._told.put_nowait(used)

    async def next(self) -> bool:
        """Wait for the next changed file, and return whether it was taken into use."""
        async with asyncio.timeout(DEADLINE_S):
            return await self._told.get()

    @property
    def none_left(self) -> bool:
        return self._told.empty()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "policy.toml"
    path.write_text(READ)
    return path


@pytest.fixture
def reloads() -> Reloads:
    return Reloads()


def replace(path: Path, content: str | bytes | None) -> None:
    """Replace a file, as an atomic writer does; None deletes it."""
    if content is None:
        path.unlink()
        return
    new = path.with_suffix(".new")
    new.write_bytes(content if isinstance(content, bytes) else content.encode())
    new.replace(path)


def may_read(service: DeploymentService) -> bool:
    try:
        service.get(DeploymentRef("shop", "web"), Caller(ALICE))
    except Forbidden:
        return False
    return True


async def test_a_changed_file_is_taken_into_use(path: Path, reloads: Reloads, caplog: pytest.LogCaptureFixture) -> None:
    """A grant that is taken away is gone for the next request, and given back it is there again; the log says so."""
    caplog.set_level(logging.INFO, logger="kdm.policy")
    file = PolicyFile(path, reloaded=reloads)
    async with MemoryDeploymentRepository() as repository:
        repository.cluster.create(WEB, 1)
        service = DeploymentService(repository, policy=file.policy)
        async with file.followed_by(service, POLL_S):
            assert may_read(service)
            replace(path, NOTHING)
            assert await reloads.next() is True
            assert not may_read(service)
            replace(path, READ_ALL)
            assert await reloads.next() is True
            assert may_read(service)
    assert [(each.getMessage(), getattr(each, "grants", None)) for each in caplog.records] == [
        ("policy loaded", 1),
        ("policy reloaded", 0),
        ("the policy has no grants: everything is denied", None),
        ("policy reloaded", 1),
    ]


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (READ.replace("namespaces", "namespace"), "grant[0].namespace: unknown key; did you mean 'namespaces'?"),
        (READ + "[[grant]]\n", "grant[1].verbs: missing"),
        ("version = 1\n[[grant", "not TOML: "),
        (b"version = 1\n#\xff", "not UTF-8: invalid start byte at byte 13"),
        ("", "version: missing"),
        (None, "No such file or directory"),
    ],
)
async def test_a_bad_file_is_refused_and_the_old_policy_goes_on(
    path: Path, reloads: Reloads, caplog: pytest.LogCaptureFixture, content: str | bytes | None, complaint: str
) -> None:
    """What is wrong is logged once, with the file and the key's place, and the file's repair is taken into use."""
    file = PolicyFile(path, reloaded=reloads)
    async with MemoryDeploymentRepository() as repository:
        repository.cluster.create(WEB, 1)
        service = DeploymentService(repository, policy=file.policy)
        async with file.followed_by(service, POLL_S):
            replace(path, content)
            assert await reloads.next() is False
            assert may_read(service)
            replace(path, READ_ALL)
            assert await reloads.next() is True
            assert service.policy.unrestricted(ALICE, "*")
    assert reloads.none_left
    (refusal,) = [each for each in caplog.records if each.levelno == logging.ERROR]
    assert refusal.getMessage() == "policy refused, the old one stays in use"
    assert str(path) in refusal.__dict__["reason"]
    assert complaint in refusal.__dict__["reason"]


async def test_a_kubernetes_configmap_swap_is_noticed(tmp_path: Path, reloads: Reloads) -> None:
    """A mounted ConfigMap is a chain of symlinks, and an update swaps the one in the middle."""
    for name, content in (("..1", READ), ("..2", READ_ALL)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "policy.toml").write_text(content)
    (tmp_path / "..data").symlink_to("..1")
    path = tmp_path / "policy.toml"
    path.symlink_to(Path("..data", "policy.toml"))
    file = PolicyFile(path, reloaded=reloads)
    async with MemoryDeploymentRepository() as repository:
        service = DeploymentService(repository, policy=file.policy)
        async with file.followed_by(service, POLL_S):
            assert not service.policy.unrestricted(ALICE, "*")
            (tmp_path / "..new").symlink_to("..2")
            (tmp_path / "..new").replace(tmp_path / "..data")
            assert await reloads.next() is True
            assert service.policy.unrestricted(ALICE, "*")


async def test_the_same_content_written_anew_is_no_change(path: Path, reloads: Reloads) -> None:
    """The next thing told after rewriting the file is the change that follows it."""
    file = PolicyFile(path, reloaded=reloads)
    async with MemoryDeploymentRepository() as repository:
        service = DeploymentService(repository, policy=file.policy)
        before = service.policy
        async with file.followed_by(service, POLL_S):
            replace(path, READ)
            assert service.policy is before
            replace(path, "no policy")
            assert await reloads.next() is False
    assert service.policy is before
    assert reloads.none_left


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (None, "cannot read the policy .*policy.toml: No such file or directory"),
        ("version = 2", "policy.toml: version: must be 1"),
        (b"\xff", "policy.toml: not UTF-8"),
    ],
)
def test_a_bad_file_at_the_start_is_an_error(path: Path, content: str | bytes | None, complaint: str) -> None:
    replace(path, content)
    with pytest.raises(PolicyError, match=complaint):
        PolicyFile(path)


async def test_the_watch_ends_with_its_context(path: Path) -> None:
    """Whether what runs inside ends well or not, nothing is left running, and its own error comes out as it is."""
    file = PolicyFile(path)
    async with MemoryDeploymentRepository() as repository:
        service = DeploymentService(repository, policy=file.policy)
        before = asyncio.all_tasks()
        async with file.followed_by(service):
            assert len(asyncio.all_tasks()) == len(before) + 1
        assert asyncio.all_tasks() == before
        with pytest.raises(ZeroDivisionError):
            async with file.followed_by(service):
                raise ZeroDivisionError
        assert asyncio.all_tasks() == before


async def test_a_fifo_in_place_of_the_policy_is_refused_and_nothing_waits_for_its_writer(
    path: Path, reloads: Reloads, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither at a reload, where the old policy goes on, nor at the start."""
    file = PolicyFile(path, reloaded=reloads)
    async with MemoryDeploymentRepository() as repository:
        repository.cluster.create(WEB, 1)
        service = DeploymentService(repository, policy=file.policy)
        async with file.followed_by(service, POLL_S):
            replace(path, None)
            os.mkfifo(path)
            assert await reloads.next() is False
            assert may_read(service)
    assert "Not a regular file" in caplog.text or "Not a regular file" in caplog.records[-1].__dict__["reason"]
    with pytest.raises(PolicyError, match=r"cannot read the policy .*policy\.toml: Not a regular file"):
        PolicyFile(path)


async def test_a_policy_is_read_and_parsed_while_others_are_served(
    path: Path, reloads: Reloads, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The event loop turns while a policy is on its way, however long that takes: until the loop lets it go on."""
    file = PolicyFile(path, reloaded=reloads)
    gates = [threading.Event(), threading.Event()]
    entered = [threading.Event(), threading.Event()]
    for number, (module, name) in enumerate(((regular_file, "read"), (policy_file, "parse_policy"))):
        original = getattr(module, name)

        def held_up(*arguments: Any, number: int = number, original: Any = original) -> Any:
            entered[number].set()
            assert gates[number].wait(DEADLINE_S)
            return original(*arguments)

        monkeypatch.setattr(module, name, held_up)
    async with MemoryDeploymentRepository() as repository:
        repository.cluster.create(WEB, 1)
        service = DeploymentService(repository, policy=file.policy)
        replace(path, NOTHING)
        async with file.followed_by(service, POLL_S):
            for number in range(2):
                assert await asyncio.to_thread(entered[number].wait, DEADLINE_S)
                assert may_read(service), "served by the old policy meanwhile"
                gates[number].set()
            assert await reloads.next() is True
            assert not may_read(service)


async def test_a_large_policy_is_taken_into_use_between_requests(path: Path, reloads: Reloads) -> None:
    """The loop turns hundreds of times while 900 KB are parsed."""
    file = PolicyFile(path, reloaded=reloads)
    grant = READ.removeprefix("version = 1\n")
    turns = 0
    async with MemoryDeploymentRepository() as repository:
        service = DeploymentService(repository, policy=file.policy)
        replace(path, "version = 1\n" + grant * (900_000 // len(grant)))
        async with file.followed_by(service, POLL_S):
            reloaded = asyncio.create_task(reloads.next())
            while not reloaded.done():
                await asyncio.sleep(0.001)
                turns += 1
            assert await reloaded is True
    assert len(service.policy.grants) == 900_000 // len(grant)
    assert turns > 30
