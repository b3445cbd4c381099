"""``kdm park`` and ``kdm restore``: to zero and back, with the count remembered by kdm."""

from __future__ import annotations

import click

from kdm_cli import targets
from kdm_cli.client.mirror import target_of
from kdm_cli.commands import completing, options, plans
from kdm_cli.commands.options import Place
from kdm_cli.commands.plans import Body, How
from kdm_cli.commands.writing import WriteCommand, unattended, write
from kdm_cli.output import formats
from kdm_cli.output.text import table

park_id = click.option(
    "--park-id", metavar="ID", shell_complete=completing.park_ids, help="The batch that a call of park made."
)


every = click.option("--all", "every", is_flag=True, help="All of the namespace; with -A all there are.")


@click.command(cls=WriteCommand)
@options.names
@options.selector
@every
@click.option("--park-id", metavar="ID", help="Give the batch this id, to restore exactly it later.")
@click.option("--list", "listing", is_flag=True, help="List what is parked, and change nothing.")
@write()
@unattended
def park(
    names: tuple[str, ...],
    selector: str,
    every: bool,
    park_id: str | None,
    listing: bool,
    how: How,
    body: Body,
    place: Place,
) -> int:
    """Remember counts and go to zero, for the night for example. `kdm restore` brings them back."""
    if listing:
        return _list(place, park_id or "", selector, how.form)
    wanted = _wanted(place, names, selector, every=every)
    kdm = place.kdm()
    kdm.need("parking", "parking")
    if len(wanted) == 1 and (how.yes or how.dry_run):  # asked about, it goes by a plan: what is shown is what is done
        given = {**body, "parkId": park_id} if park_id else body
        written = kdm.park(wanted[0], given, restore=False, dry_run=how.dry_run)
        parked = written.get("parked") or {}
        note = f" (park id {parked['parkId']})" if parked.get("parkId") else ""
        return plans.one(kdm, written, how, note)
    operation = {"park": {"parkId": park_id} if park_id else True}
    items = [each._asdict() for each in wanted]
    return plans.in_bulk(kdm, {**plans.select_or_items(place, selector, items), **operation, **body}, how)


@click.command(cls=WriteCommand)
@options.names
@options.selector
@every
@park_id
@click.option("--replicas", metavar="N", type=click.IntRange(1, targets.MAX_COUNT), help="Wake one with this count.")
@write()
@unattended
def restore(
    names: tuple[str, ...],
    selector: str,
    every: bool,
    park_id: str | None,
    replicas: int | None,
    how: How,
    body: Body,
    place: Place,
) -> int:
    """Bring parked counts back: those of names, of a selector, or of one batch."""
    wanted = _wanted(place, names, selector, park_id, every=every)
    kdm = place.kdm()
    kdm.need("parking", "parking")
    if len(wanted) == 1:
        given = {**body, **({"parkId": park_id} if park_id else {}), **({"replicas": replicas} if replicas else {})}
        return plans.one(kdm, kdm.park(wanted[0], given, restore=True, dry_run=how.dry_run), how)
    if replicas is not None:
        raise targets.usage("--replicas wakes one Deployment: name it")
    if not wanted:
        anywhere = place.everywhere or not (selector or every or place.given)  # a batch may be of several namespaces
        found = kdm.parked(None if anywhere else place.context.namespace, park_id or "", selector)
        wanted = [target_of(each) for each in found["items"]]
    if not wanted:
        return plans.none_found("nothing is parked there: `kdm park --list -A` shows what is", how)
    operation = {"restore": {"parkId": park_id} if park_id else True}
    return plans.in_bulk(kdm, {"items": [each._asdict() for each in wanted], **operation, **body}, how)


def _wanted(
    place: Place, names: tuple[str, ...], selector: str, park_id: str | None = None, *, every: bool
) -> list[targets.Target]:
    if names and (selector or every or place.everywhere):
        raise targets.usage("names and -l, --all or -A exclude each other: a name says which Deployment it is")
    if selector and every:
        raise targets.usage("-l and --all exclude each other: those with such labels, or all")
    if park_id == "":  # what an unset variable leaves: it would be every batch
        raise targets.usage("--park-id is empty; leave it out for every batch")
    if not (names or selector or every or park_id):
        raise targets.usage("say which: names, -l SELECTOR, --all, or to restore --park-id ID")
    return list(dict.fromkeys(place.target(each) for each in names))


def _list(place: Place, park_id: str, selector: str, form: str) -> int:
    found = place.kdm().parked(place.namespace, park_id, selector)
    if form in {"json", "yaml"}:
        print(formats.dumped(found, form))
    elif form == "name":
        for item in found["items"]:
            print(formats.name(item))
    else:
        rows = [
            [
                formats.name(item),
                str(item["replicas"]),
                formats.ago(item["at"]),
                item["by"],
                item["parkId"],
                item["reason"],
            ]
            for item in found["items"]
        ]
        print("\n".join(table(["NAME", "REPLICAS", "PARKED", "BY", "PARK ID", "REASON"], rows)))
    return 0
