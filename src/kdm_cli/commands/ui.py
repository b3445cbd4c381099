"""``kdm ui``: the page on a port of this machine, for a browser that has no client certificate."""

from __future__ import annotations

import click

from kdm_cli.commands import options
from kdm_cli.commands.options import Place
from kdm_cli.commands.rich_help import Command
from kdm_cli.extras import needed_for


@click.command(cls=Command)
@click.option("--name", metavar="TEXT", help="What the page calls this kdm. Default: the context's name.")
@click.option("--port", metavar="N", type=click.IntRange(0, 65535), default=0, help="The port. Default: a free one.")
@options.place(everywhere=False)
def ui(name: str | None, port: int, place: Place) -> int:
    """Show kdm's page in a browser, with your client certificate.

    It is served on a port of this machine, and its calls are passed on. The printed address works once, in one browser.
    """
    with needed_for("ui", "server"):
        from kdm_adapters.remote.access import Access  # noqa: PLC0415
        from kdm_cli.ui import show  # noqa: PLC0415 - half a second, which other commands do not need
    context = place.context
    return show(Access(*context[1:5]), name=name or context.name, port=port)
