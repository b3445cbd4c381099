"""``kdm context``: which kdm to ask, and with which certificate."""

from __future__ import annotations

from pathlib import Path

import click

from kdm_cli import contexts, targets
from kdm_cli.commands import completing, options
from kdm_cli.commands.rich_help import Group
from kdm_cli.contexts import DEFAULT_NAMESPACE, Context, Contexts
from kdm_cli.exits import CommandError, Exit
from kdm_cli.output import formats
from kdm_cli.output.text import table

DEFAULT_SERVER = "https://localhost:8443"


@click.group(cls=Group)
def context() -> None:
    """Choose which kdm to ask, and as whom.

    Contexts are in contexts.toml in your folder for configuration, or in the file that $KDM_CONFIG names.
    """


@context.command("list")
@options.output("table", "json", "yaml", "name")
def list_(form: str) -> None:
    """List the contexts; a star marks the current one."""
    found = Contexts.of_user()
    if form == "name":
        for name in found.names:
            print(name)
        return
    entries = [found.get(name) for name in found.names]
    if form != "table":
        values = [
            {key: None if value is None else str(value) for key, value in each._asdict().items()} for each in entries
        ]
        print(formats.dumped({"file": str(found.path), "current": found.current, "contexts": values}, form))
        return
    if not entries:
        raise CommandError(f"{found.path}: no contexts yet; `kdm context add NAME --from DIR` makes one", Exit.USAGE)
    rows = [
        ["*" if each.name == found.current else "", each.name, each.server, str(each.cert), each.namespace]
        for each in entries
    ]
    print("\n".join(table(["", "NAME", "SERVER", "CERTIFICATE", "NAMESPACE"], rows)))


@context.command()
@click.argument("name", shell_complete=completing.context_names)
def use(name: str) -> None:
    """Make a context the current one."""
    Contexts.of_user().use(name)
    print(f"the current context is {name} now")


@context.command()
@click.argument("name", shell_complete=completing.context_names)
def remove(name: str) -> None:
    """Remove a context. Its certificate and key stay where they are."""
    found = Contexts.of_user()
    found.remove(name)
    print(f"removed {name}" + ("" if found.current else "; there is no current context now"))


@context.command()
@click.argument("name")
@click.option(
    "--from",
    "directory",
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="Take CA, certificate and key from what `kdm certs init` and `kdm certs issue` made.",
)
@click.option("--client", metavar="NAME", help="Which client of that directory. Default: the only one.")
@click.option("--server", metavar="URL", help=f"kdm's URL. Default with --from: {DEFAULT_SERVER}.")
@click.option(
    "--ca",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="The CA of the server's certificate. Default: those that the machine trusts.",
)
@click.option("--cert", metavar="FILE", type=click.Path(path_type=Path), help="The client certificate.")
@click.option("--key", metavar="FILE", type=click.Path(path_type=Path), help="The client certificate's key.")
@click.option("-n", "--namespace", metavar="NS", default="", help="Where a name without a namespace is.")
@click.option("--force", is_flag=True, help="Replace a context of this name.")
def add(
    name: str,
    directory: Path | None,
    client: str | None,
    server: str | None,
    ca: Path | None,
    cert: Path | None,
    key: Path | None,
    namespace: str,
    force: bool,
) -> None:
    """Write a context down. The first one becomes the current one.

    The files stay where they are: a certificate that is renewed in place is used from then on.
    """
    if directory is not None:
        if ca or cert or key:
            raise targets.usage("--from and --ca, --cert, --key exclude each other: the directory has them all")
        ca, cert, key = _files_of(directory, client)
        server = server or DEFAULT_SERVER
    elif client:
        raise targets.usage("--client goes with --from: which client of that directory")
    if not (server and cert and key):
        raise targets.usage("give --from DIR, or --server, --cert and --key, and --ca where a CA of your own is used")
    ca, cert, key = _existing(ca) if ca else None, _existing(cert), _existing(key)
    place = targets.namespace_of(namespace) if namespace else DEFAULT_NAMESPACE
    made = Context(name, contexts.server_url(server, "--server"), ca, cert, key, place)
    is_current = Contexts.of_user().add(made, replace=force)
    print(f"added {name}" + (", the current context" if is_current else f"; `kdm context use {name}` makes it current"))


def _existing(path: Path) -> Path:
    """Return the absolute path of a file."""
    found = contexts.expanded(path)
    if not found.is_file():
        raise targets.usage(f"{path}: no such file")
    try:
        str(found.absolute()).encode()
    except UnicodeEncodeError:
        raise targets.usage(f"{str(path)!r}: a file of contexts is UTF-8, and this path is not") from None
    return found.absolute()


def _files_of(directory: Path, client: str | None) -> tuple[Path, Path, Path]:
    """Return the CA, a client's certificate and its key, of a directory of ``kdm certs``."""
    ca = directory / "ca.pem"
    if not ca.is_file():
        raise targets.usage(f"{directory}: no ca.pem in it; expected what `kdm certs init` made")
    keys = {each.name.removesuffix("-key.pem") for each in directory.glob("*-key.pem")}
    clients = sorted(each for each in keys - {"ca", "server"} if (directory / f"{each}.pem").is_file())
    if client is None and len(clients) != 1:
        have = f"say which with --client: {', '.join(clients)}" if clients else "`kdm certs issue` makes one"
        raise targets.usage(f"{directory}: {len(clients) or 'no'} clients in it; {have}")
    chosen = client or clients[0]
    if chosen not in clients:
        raise targets.usage(f"{directory}: no client {chosen!r}; there are: {', '.join(clients) or 'none'}")
    return ca, directory / f"{chosen}.pem", directory / f"{chosen}-key.pem"
