"""The contract every ``DeploymentRepository`` must keep, as test suites to subclass. Needs pytest and hypothesis.

``contract`` has the tests, ``stateful`` a state machine; both want a harness as ``harness`` describes it.
"""

import pytest

# So that a failed assertion in them shows its values wherever they are subclassed.
pytest.register_assert_rewrite(
    *(
        f"{__name__}.{module}"
        for module in ("changing", "contract", "following", "reading", "stateful", "syncing", "writing")
    )
)
