"""Hypothesis strategies for policies and questions to them, small enough that they often meet."""

from __future__ import annotations

from hypothesis import strategies as st

from kdm_core import DeploymentRef, Identity, Verb
from kdm_core.policy import Globs, Grant, Policy, ReplicaBounds, SpiffePattern, Subjects

USERS = ("alice", "bob", "spiffe://td/ns/a/sa/x", "spiffe://td/ns/b")
GROUPS = ("g1", "g2", "g3")
NAMES = ("a", "ab", "a-b", "a.b", "b")
LABELS = {"tier": ("web", "db"), "app.kubernetes.io/name": ("x", "")}

labels = st.fixed_dictionaries({}, optional={key: st.sampled_from(values) for key, values in LABELS.items()})
verbs = st.sampled_from((Verb.READ, Verb.SCALE))
actors = st.builds(
    Identity, st.sampled_from(USERS), st.frozensets(st.sampled_from(GROUPS), max_size=2), st.sampled_from(("", "ab"))
)
names = st.sampled_from(NAMES)
namespaces = st.sampled_from(("a", "ab", "a-b", "b"))
refs = st.builds(DeploymentRef, namespaces, names)
replicas = st.none() | st.integers(0, 6)

globs = st.lists(st.sampled_from((*NAMES, "*", "a*", "*b", "?", "a?b", "**")), min_size=1, max_size=3).map(
    lambda patterns: Globs(tuple(patterns))
)
_spiffe = st.sampled_from(("spiffe://td/**", "spiffe://td/ns/*", "spiffe://td/ns/a/sa/x", "spiffe://other/**"))
_named = st.tuples(
    st.frozensets(st.sampled_from(USERS[:2]), max_size=2),
    st.frozensets(st.sampled_from(GROUPS), max_size=2),
    st.frozensets(_spiffe.map(SpiffePattern), max_size=2),
).filter(any)
subjects = st.just(Subjects(anyone=True)) | _named.map(lambda named: Subjects(*named))
bounds = st.builds(
    lambda low, more, zero: ReplicaBounds(low, low + more, zero), st.integers(1, 5), st.integers(0, 3), st.booleans()
)
namespace_globs = globs.filter(lambda globs: "a.b" not in globs.patterns)
grants = st.builds(
    Grant,
    subjects,
    st.frozensets(verbs, min_size=1),
    namespace_globs,
    globs,
    labels,
    bounds,
    require_reason=st.booleans(),
)
policies = st.lists(grants, max_size=5).map(lambda each: Policy(tuple(each)))
