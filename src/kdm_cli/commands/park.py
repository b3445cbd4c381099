"""``kdm park`` and ``kdm restore``: to zero and back, with the count remembered by kdm."""

from __future__ import annotations

import click

from kdm_cli import targets
from kdm_cli.client.mirror import target_of
from kdm_cli.commands import completing, options, plans
from kdm_cli.commands.options import Place
from kdm_cli.commands.plans import How
from kdm_cli.commands.scale import WithOptionalWait, wait
from kdm_cli.exits import CommandError, Exit
from kdm_cli.output import formats
from kdm_cli.output.text import table

park_id = click.option(
    "--park-id", metavar="ID", shell_complete=completing.park_ids, help="The batch that a call of park made."
)


@click.command(cls=WithOptionalWait)
@options.names
@options.selector
@click.option("--park-id", metavar="ID", help="Give the batch this id, to restore exactly it later.")
@click.option("--list", "listing", is_flag=True, help="List what is parked, and change nothing.")
@wait
@options.wait_for
@options.reason
@options.override
@options.dry_run
@options.yes
@options.output("table", "json", "yaml", "name")
@options.place()
def park(
    names: tuple[str, ...],
    selector: str,
    park_id: str | None,
    listing: bool,
    wait: str | None,
    wait_for: str,
    reason: str,
    override: bool,
    dry_run: bool,
    yes: bool,
    form: str,
    place: Place,
) -> int:
    """Remember counts and go to zero, for the night for example. `kdm restore` brings them back."""
    if listing:
        return _list(place, park_id or "", selector, form)
    how = _how(form, wait, wait_for, yes=yes, dry_run=dry_run)
    wanted = _wanted(place, names, selector, None)
    body = plans.common(reason, override=override)
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


@click.command(cls=WithOptionalWait)
@options.names
@options.selector
@park_id
@click.option("--replicas", metavar="N", type=click.IntRange(1, targets.MAX_COUNT), help="Wake one with this count.")
@wait
@options.wait_for
@options.reason
@options.override
@options.dry_run
@options.yes
@options.output("table", "json", "yaml", "name")
@options.place()
def restore(
    names: tuple[str, ...],
    selector: str,
    park_id: str | None,
    replicas: int | None,
    wait: str | None,
    wait_for: str,
    reason: str,
    override: bool,
    dry_run: bool,
    yes: bool,
    form: str,
    place: Place,
) -> int:
    """Bring parked counts back: those of names, of a selector, or of one batch."""
    how = _how(form, wait, wait_for, yes=yes, dry_run=dry_run)
    wanted = _wanted(place, names, selector, park_id)
    body = plans.common(reason, override=override)
    kdm = place.kdm()
    kdm.need("parking", "parking")
    if len(wanted) == 1:
        given = {**body, **({"parkId": park_id} if park_id else {}), **({"replicas": replicas} if replicas else {})}
        return plans.one(kdm, kdm.park(wanted[0], given, restore=True, dry_run=how.dry_run), how)
    if replicas is not None:
        raise targets.usage("--replicas wakes one Deployment: name it")
    if not wanted:
        anywhere = place.everywhere or not (selector or place.given)  # a batch may be of several namespaces
        found = kdm.parked(None if anywhere else place.context.namespace, park_id or "", selector)
        wanted = [target_of(each) for each in found["items"]]
    if not wanted:
        raise CommandError("nothing is parked there: `kdm park --list -A` shows what is", Exit.NOT_FOUND)
    operation = {"restore": {"parkId": park_id} if park_id else True}
    return plans.in_bulk(kdm, {"items": [each._asdict() for each in wanted], **operation, **body}, how)


def _how(form: str, wait: str | None, wait_for: str, *, yes: bool, dry_run: bool) -> How:
    wait_s = targets.duration(wait, "--wait") if wait is not None else 0.0
    return How(form, yes, dry_run, wait_for if wait is not None else "", wait_s)


def _wanted(place: Place, names: tuple[str, ...], selector: str, park_id: str | None) -> list[targets.Target]:
    if names and (selector or place.everywhere):
        raise targets.usage("names and -l or -A exclude each other: a name says which Deployment it is")
    if not names and not selector and not park_id:
        raise targets.usage("say which: names, -l SELECTOR, or to restore --park-id ID")
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
