"""How a replica count is changed: the change, what is expected before it, and what came of it."""

from __future__ import annotations

import enum
import unicodedata
from decimal import ROUND_HALF_UP, Context, Decimal
from typing import Final

from attrs import frozen

from kdm_core.errors import InvalidChange, OutOfBounds
from kdm_core.model import Deployment, DeploymentRef
from kdm_core.names import MAX_REPLICAS, check_replicas
from kdm_core.owners import Judgement
from kdm_core.rollout import Target


class OnBound(enum.StrEnum):
    """What becomes of a relative change that would lead out of its bounds."""

    REJECT = "reject"
    """Nothing changes: ``OutOfBounds``."""
    CLAMP = "clamp"
    """The count becomes the bound. Where that would be a step that was not asked for, it stays as it is."""


@frozen
class SetTo:
    """Make the count this number.

    Attributes:
        replicas: How many.
    """

    replicas: int

    def check(self, maximum: int) -> None:
        """Check that the change could be right.

        Raises:
            InvalidReplicas: The count is no integer from 0 to ``maximum``.
        """
        check_replicas(self.replicas, maximum=maximum)

    def result(self, ref: DeploymentRef, current: int | None, maximum: int) -> int:  # noqa: ARG002 - as ScaleBy's
        """Return the count after the change."""
        return self.replicas


@frozen
class ScaleBy:
    """Make the count greater or smaller by a number. Judged by its result, in the policy and in the bounds.

    Attributes:
        delta: How many more; fewer where it is negative.
        min: The smallest result.
        max: The largest result; None for the service's own maximum, which holds in any case.
        on_bound: What becomes of a change that would lead out of the bounds.
    """

    delta: int
    min: int = 0
    max: int | None = None
    on_bound: OnBound = OnBound.REJECT

    def check(self, maximum: int) -> None:
        """Check that the change could be right.

        Raises:
            InvalidChange: The delta or the bounds are none.
        """
        if type(self.delta) is not int or abs(self.delta) > MAX_REPLICAS:
            raise InvalidChange(f"delta: must be an integer from -{MAX_REPLICAS} to {MAX_REPLICAS}")
        _check_bounds(self.min, self.max, maximum)

    def result(self, ref: DeploymentRef, current: int | None, maximum: int) -> int:
        """Return the count after the change.

        Args:
            ref: Of which Deployment.
            current: Its count before.
            maximum: The largest count that the service allows.

        Raises:
            OutOfBounds: It lies outside the bounds, and ``on_bound`` is ``REJECT``.
        """
        before = current or 0
        return _within(ref, before, before + self.delta, self.min, _top(self.max, maximum), self.on_bound)


MAX_FACTOR: Final = 1000
"""The largest factor: nobody means more, and the result must be a count."""

MAX_FACTOR_DIGITS: Final = 6
"""How many decimal places a factor may have."""

_EXACT: Final = Context(prec=28)
"""Enough for the product of the largest count and the longest factor, which so is exact."""


@frozen
class ScaleTimes:
    """Multiply the count. Judged by its result, in the policy and in the bounds.

    The product is exact, and rounded to the nearest integer, half up: 5 times 0.5 is 3. Nothing is stopped by rounding:
    a count above zero stays at least 1, unless ``min`` is 0. Zero times anything is zero.

    Attributes:
        factor: By what, greater than zero: an exact decimal.
        min: The smallest result; None for 1 where the count is not zero. A result that only rounding would make zero
            becomes 1, and is not out of these bounds.
        max: The largest result; None for the service's own maximum, which holds in any case.
        on_bound: What becomes of a change that would lead out of the bounds.
    """

    factor: Decimal
    min: int | None = None
    max: int | None = None
    on_bound: OnBound = OnBound.REJECT

    def check(self, maximum: int) -> None:
        """Check that the change could be right.

        Raises:
            InvalidChange: The factor or the bounds are none.
        """
        factor = self.factor
        if not isinstance(factor, Decimal):
            raise InvalidChange(f"factor: must be a Decimal, which is exact, not {factor!r:.40}")
        exponent = factor.as_tuple().exponent
        if not isinstance(exponent, int) or not 0 < factor <= MAX_FACTOR or -exponent > MAX_FACTOR_DIGITS:
            hint = "; to stop all of them say replicas 0" if factor.is_zero() else ""
            raise InvalidChange(
                f"factor: must be a number greater than 0, at most {MAX_FACTOR}, with at most {MAX_FACTOR_DIGITS} "
                f"decimal places{hint}"
            )
        _check_bounds(self.min or 0, self.max, maximum)

    def result(self, ref: DeploymentRef, current: int | None, maximum: int) -> int:
        """Return the count after the change.

        Args:
            ref: Of which Deployment.
            current: Its count before.
            maximum: The largest count that the service allows.

        Raises:
            OutOfBounds: It lies outside the bounds, and ``on_bound`` is ``REJECT``.
        """
        before = current or 0
        product = _EXACT.multiply(self.factor, Decimal(before))
        wanted = int(product.to_integral_value(ROUND_HALF_UP))
        if self.min is None and before:
            wanted = max(wanted, 1)
        return _within(ref, before, wanted, self.min or 0, _top(self.max, maximum), self.on_bound)


def _check_bounds(low: int, high: int | None, maximum: int) -> None:
    for name, value in (("min", low), ("max", high)):
        if value is not None and (type(value) is not int or not 0 <= value <= MAX_REPLICAS):
            raise InvalidChange(f"{name}: must be an integer from 0 to {MAX_REPLICAS}")
    if low > (top := _top(high, maximum)):
        raise InvalidChange(f"min: {low} is greater than the largest count, which is {top}")


def _top(high: int | None, maximum: int) -> int:
    return maximum if high is None else min(high, maximum)


def _within(ref: DeploymentRef, before: int, wanted: int, low: int, top: int, on_bound: OnBound) -> int:
    """Return the count that a relative change leads to, within bounds."""
    if low <= wanted <= top:
        return wanted
    if on_bound is OnBound.REJECT:
        raise OutOfBounds(ref, before, wanted, low, top)
    bounded = min(max(wanted, low), top)
    return before if (bounded - before) * (wanted - before) <= 0 else bounded


Change = SetTo | ScaleBy | ScaleTimes


@frozen
class Expect:
    """What a Deployment must be like for a write to happen. The cluster judges it, in one step with the write.

    Attributes:
        resource_version: The version it must still be at; None for any. Every change of the object is a new version,
            those of its Pods' status included.
        replicas: The count it must have before the write; None for any.
        uid: The object it must be: one deleted and created again has another; None for any.
        override: Whether the count is written although an owner will change it back. A cluster stores it either way;
            another kdm judges owners itself, and asks its own policy.

    Raises:
        InvalidReplicas: ``replicas`` is no count.
    """

    resource_version: str | None = None
    replicas: int | None = None
    uid: str | None = None
    override: bool = False

    def __attrs_post_init__(self) -> None:
        if self.replicas is not None:
            check_replicas(self.replicas)

    def unmet(self, found: Deployment) -> str:
        """Return how a Deployment differs from what is expected, as a clause; "" where it does not."""
        if self.uid is not None and found.uid != self.uid:
            return f"it is another object, with the uid {found.uid}"
        if self.replicas is not None and found.replicas.desired != self.replicas:
            return f"it has {found.replicas.desired} replicas, not {self.replicas}"
        if self.resource_version is not None and found.resource_version != self.resource_version:
            return f"it is at resourceVersion {found.resource_version}, not {self.resource_version}"
        return ""


MAX_REASON_LENGTH: Final = 256
"""Longest reason that a caller may give, in characters."""

_UNPRINTED: Final = frozenset({"Cc", "Cs", "Zl", "Zp"})
"""Control characters, lone surrogates, and what some take for the end of a line (Unicode's general categories)."""

_REORDERING: Final = frozenset({"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"})
"""Characters that show those around them in another order (Unicode's bidirectional classes, UAX #9): a line of the
trail would look as if it said something else. Right-to-left scripts do not need them."""


def check_reason(reason: str) -> str:
    """Check the reason that a caller gives for a change. Returns it without white space around it; "" is none.

    Raises:
        InvalidChange: It is too long, or has control characters, or such that reorder those around them.
    """
    stripped = reason.strip()
    if len(stripped) > MAX_REASON_LENGTH:
        raise InvalidChange(f"reason: must have at most {MAX_REASON_LENGTH} characters, it has {len(stripped)}")
    if any(
        unicodedata.category(each) in _UNPRINTED or unicodedata.bidirectional(each) in _REORDERING for each in stripped
    ):
        raise InvalidChange("reason: must be one line of text, without control characters")
    return stripped


ANY: Final = Expect()
"""Nothing is expected."""


def stored_instead(asked: int, stored: int, *, dry_run: bool = False) -> tuple[str, ...]:
    """Return what to say where the cluster has stored another count than was asked for, as admission may; () else.

    Args:
        asked: The count that was sent.
        stored: The count that the cluster answered with.
        dry_run: Whether nothing was stored.
    """
    if asked == stored:
        return ()
    return (f"the cluster {'would store' if dry_run else 'stored'} {stored} replicas, where {asked} were asked for",)


@frozen
class Scaled:
    """What came of a write.

    Attributes:
        deployment: The Deployment as written; in a dry run, as it would be.
        previous: Its count before. After a relative change, and where a count was expected, it is the count that the
            write replaced; else it is what was last known, or None where nothing was.
        dry_run: Whether nothing was stored.
        owners: What the Deployment's owners do to the count; () where nobody looks for them.
        asked: The count that was sent; None where that is not known. Admission may have stored another one.
    """

    deployment: Deployment
    previous: int | None = None
    dry_run: bool = False
    owners: tuple[Judgement, ...] = ()
    asked: int | None = None

    @property
    def replicas(self) -> int:
        """The count that is desired now."""
        return self.deployment.replicas.desired

    @property
    def changed(self) -> bool:
        """Whether that is another count than before, as far as that is known."""
        return self.previous != self.replicas

    @property
    def warnings(self) -> tuple[str, ...]:
        """What did not come out as asked, and what the owners do to the count, for a person."""
        instead = () if self.asked is None else stored_instead(self.asked, self.replicas, dry_run=self.dry_run)
        return (*instead, *(each.message for each in self.owners))

    @property
    def written(self) -> bool:
        """Whether it was stored."""
        return not self.dry_run

    @property
    def uid(self) -> str:
        """Which object was written."""
        return self.deployment.uid

    @property
    def resource_version(self) -> str:
        """The version of the write; in a dry run, the version that it was tried on."""
        return self.deployment.resource_version

    @property
    def target(self) -> Target:
        """What to wait for: that the Pods have followed."""
        return Target.of(self.deployment)
