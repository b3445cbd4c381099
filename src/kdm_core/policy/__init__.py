"""Who may do what, to which Deployments, within which bounds. Pure: no files, no clock.

Everything is denied that no grant allows; the order of grants has no meaning. The file format is described by
:func:`parse_policy`.
"""

from kdm_core.policy.decision import ALLOW_ALL, Explanation, Policy, Verdict
from kdm_core.policy.document import parse_policy
from kdm_core.policy.grant import Grant, ReplicaBounds, Subjects
from kdm_core.policy.patterns import Globs, SpiffePattern

__all__ = [
    "ALLOW_ALL",
    "Explanation",
    "Globs",
    "Grant",
    "Policy",
    "ReplicaBounds",
    "SpiffePattern",
    "Subjects",
    "Verdict",
    "parse_policy",
]
