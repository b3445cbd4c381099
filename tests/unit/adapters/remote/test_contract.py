"""The remote repository, on a kdm over mutual TLS, keeps the contract that every repository keeps."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from kdm_core.testing.abilities import Ability
from kdm_core.testing.contract import DeploymentRepositoryContract, ScopedRepositoryContract
from unit.adapters.remote.harness import Gated, RemoteHarness, remote_harness


class TestRemoteOfAllNamespaces(DeploymentRepositoryContract):
    lacks = frozenset({Ability.ANNOTATE})  # the kdm that it reads from shows what is known there

    @pytest.fixture
    async def harness(self, kdm: Gated) -> AsyncIterator[RemoteHarness]:
        async with remote_harness(kdm) as harness:
            yield harness


class TestRemoteOfSomeNamespaces(ScopedRepositoryContract):
    lacks = frozenset({Ability.ANNOTATE})

    @pytest.fixture
    async def harness(self, kdm: Gated) -> AsyncIterator[RemoteHarness]:
        async with remote_harness(kdm, scoped=True) as harness:
            yield harness
