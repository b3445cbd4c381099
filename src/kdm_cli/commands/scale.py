"""``kdm scale``: set counts, or change them by a number."""

from __future__ import annotations

from typing import Any

import click

from kdm_cli import targets
from kdm_cli.client.api import Kdm
from kdm_cli.commands import completing, options, plans
from kdm_cli.commands.options import Place
from kdm_cli.commands.plans import Body, How
from kdm_cli.commands.writing import WriteCommand, write
from kdm_cli.output import formats
from kdm_cli.targets import Wish


@click.command(cls=WriteCommand)
@click.argument("wishes", metavar="[NAME=COUNT...]", nargs=-1, shell_complete=completing.wishes)
@options.selector
@click.option("--replicas", metavar="N", type=click.IntRange(0, targets.MAX_COUNT), help="With -l: set this count.")
@click.option("--delta", metavar="N", type=int, help="With -l: so many more; fewer with --delta=-1.")
@click.option("--factor", metavar="X", help="With -l: multiply the counts.")
@click.option(
    "--current-replicas",
    metavar="N",
    type=click.IntRange(0, targets.MAX_COUNT),
    help="Write only if this is the desired count before.",
)
@write()
def scale(
    wishes: tuple[str, ...],
    selector: str,
    replicas: int | None,
    delta: int | None,
    factor: str | None,
    current_replicas: int | None,
    how: How,
    body: Body,
    place: Place,
) -> int:
    """Set desired counts: web=5, shop/api=+2, worker=-1; or those of a selector.

    Several Deployments, a selector or zero are shown first, and done when you agree. Without arguments it prints what
    is, in the form that can be given back: `kdm scale -l tier=web > before`, later `kdm scale $(cat before)`.
    """
    many = _for_all(replicas, delta, factor)
    wanted = [targets.wish(each, place.context.namespace) for each in wishes]
    _check(place, wanted, selector, many, current_replicas)
    kdm = place.kdm()
    if not wanted and not many:
        return _print_counts(kdm, place, selector, how.form)
    if len(wanted) == 1:
        expected = {} if current_replicas is None else {"currentReplicas": current_replicas}
        return plans.one(kdm, _write_one(kdm, wanted[0], {**body, **expected}, how), how)
    items = [{**each.target._asdict(), "delta" if each.relative else "replicas": each.replicas} for each in wanted]
    return plans.in_bulk(kdm, {**plans.select_or_items(place, selector, items), **many, **body}, how)


def _for_all(replicas: int | None, delta: int | None, factor: str | None) -> dict[str, Any]:
    given: dict[str, Any] = {}
    if replicas is not None:
        given["replicas"] = replicas
    if delta is not None:
        given["delta"] = delta
    if factor is not None:
        given["factor"] = targets.factor(factor)
    if len(given) > 1:
        raise targets.usage(f"--{' and --'.join(given)} exclude each other: one says what to do")
    return given


def _check(place: Place, wanted: list[Wish], selector: str, many: dict[str, Any], current_replicas: int | None) -> None:
    if wanted and (selector or many or place.everywhere):
        raise targets.usage("NAME=COUNT and -l, -A or --replicas, --delta, --factor exclude each other")
    if many and not selector:
        raise targets.usage(f"--{next(iter(many))} goes with -l; for names: NAME=COUNT, such as web=5")
    if current_replicas is not None and len(wanted) != 1:
        raise targets.usage("--current-replicas goes with one NAME=COUNT")
    twice = [str(each.target) for each in wanted if [other.target for other in wanted].count(each.target) > 1]
    if twice:
        raise targets.usage(f"{twice[0]} is named twice")


def _write_one(kdm: Kdm, wish: Wish, body: dict[str, Any], how: How) -> dict[str, Any]:
    if not wish.relative:
        wanted = {"replicas": wish.replicas, **body}
        if wish.replicas == 0 and not how.yes and not how.dry_run:
            return _to_zero(kdm, wish, kdm.set(wish.target, wanted, dry_run=True), body, how)
        return kdm.set(wish.target, wanted, dry_run=how.dry_run)
    wanted = {"delta": wish.replicas, **body}
    if wish.replicas < 0 and not how.yes and not how.dry_run:
        dry = kdm.adjust(wish.target, wanted, dry_run=True)
        if dry["replicas"]["desired"] == 0:
            return _to_zero(kdm, wish, dry, body, how)
        wanted["min"] = 1  # nobody was asked about zero
    return kdm.adjust(wish.target, wanted, dry_run=how.dry_run)


def _to_zero(kdm: Kdm, wish: Wish, dry: dict[str, Any], body: dict[str, Any], how: How) -> dict[str, Any]:
    """Set a count to zero after asking: exactly from the count that was shown."""
    if dry["changed"]:
        plans.ask_for_one(kdm, dry, how)
    before = dry["replicas"]["previous"]
    expected = {} if before is None else {"currentReplicas": before}
    return kdm.set(wish.target, {"replicas": 0, "uid": dry["uid"], **body, **expected})


def _print_counts(kdm: Kdm, place: Place, selector: str, form: str) -> int:
    found = kdm.list(place.namespace, selector)
    if form in {"json", "yaml"}:
        print(formats.dumped(found, form))
    else:
        for item in found["items"]:
            print(formats.name(item) if form == "name" else f"{formats.name(item)}={item['replicas']['desired']}")
    return 0
