"""The contract every ``DeploymentRepository`` must keep, as test suites to subclass. Needs pytest and hypothesis.

``DeploymentRepositoryContract`` has the tests, ``RepositoryStateMachine`` drives random histories; both want a
``RepositoryHarness``.
"""

import pytest

# So that a failed assertion in them shows its values wherever they are subclassed. Before they are imported.
pytest.register_assert_rewrite(
    *(
        f"{__name__}.{module}"
        for module in (
            "annotating",
            "changing",
            "comparing",
            "contract",
            "following",
            "following_all",
            "observing",
            "owning",
            "parking",
            "parking_histories",
            "reading",
            "stateful",
            "syncing",
            "turns",
            "writing",
        )
    )
)

from kdm_core.testing.abilities import Ability  # noqa: E402
from kdm_core.testing.contract import DeploymentRepositoryContract, ScopedRepositoryContract  # noqa: E402
from kdm_core.testing.following import DEADLINE_S, Follower  # noqa: E402
from kdm_core.testing.harness import RepositoryHarness, ScopedRepositoryHarness  # noqa: E402
from kdm_core.testing.stateful import RepositoryStateMachine  # noqa: E402

__all__ = [
    "DEADLINE_S",
    "Ability",
    "DeploymentRepositoryContract",
    "Follower",
    "RepositoryHarness",
    "RepositoryStateMachine",
    "ScopedRepositoryContract",
    "ScopedRepositoryHarness",
]
