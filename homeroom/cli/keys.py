"""`homeroom keys`: the programs that may use the server."""

from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from homeroom.cli.common import WORKSPACE, Group, Place, err, open_workspace, out

keys_app = typer.Typer(
    cls=Group,
    no_args_is_help=True,
    help="""Keys for programs. Once one was made, the API answers only to keys; running servers see it at once.

Examples:

  homeroom keys create ann                 [dim]# prints her key, this once[/]
  homeroom keys create guest --expires 7   [dim]# for a week[/]
  homeroom keys create laptop --user bob   [dim]# acts as the user bob, with his role[/]
  homeroom keys list
  homeroom keys revoke guest
""",
)
KeyName = Annotated[
    str, typer.Argument(metavar="NAME", help="whose it is: the user of what is asked and voted with it")
]


@keys_app.command("create")
def create_key(
    name: KeyName,
    expires: Annotated[int | None, typer.Option(metavar="DAYS", min=1, max=36500, help="default: never")] = None,
    user: Annotated[
        str | None, typer.Option(metavar="USER", help="act as this user; default: as NAME, who may rank, not operate")
    ] = None,
    workspace: Place = WORKSPACE,
) -> None:
    """Make a key and print it, once: the workspace keeps only its hash.

    Example: homeroom keys create laptop --user ann --expires 90
    """
    with open_workspace(workspace) as opened:
        secret = opened.keys.create(name, expires, user)
    err.print(f"The key of {escape(name)}. It is not shown again; clients send it as OPENAI_API_KEY.")
    out.print(secret, markup=False)


@keys_app.command("list")
def list_keys(workspace: Place = WORKSPACE) -> None:
    """List every key that was ever made: whose it is, since when, until when. Example: homeroom keys list"""
    table = Table("name", "user", "role", "made", "expires", "state", box=None, pad_edge=False)
    with open_workspace(workspace) as opened:
        for key in opened.keys.all():
            table.add_row(
                escape(key.name),
                escape(key.user or ""),
                key.role,
                key.at[:16],
                (key.expires or "never")[:16],
                key.state,
            )
    out.print(table)


@keys_app.command("revoke")
def revoke_key(name: KeyName, workspace: Place = WORKSPACE) -> None:
    """End a key at once, at running servers as well. Example: homeroom keys revoke guest"""
    with open_workspace(workspace) as opened:
        key = opened.keys.revoke(name)
    out.print(f"{key.name} is revoked", markup=False)
