"""`homeroom users`: the people who may use the server, and what each may do."""

import sys
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from homeroom.cli.common import WORKSPACE, Group, Place, open_workspace, out
from homeroom.settings import HomeroomError

users_app = typer.Typer(
    cls=Group,
    no_args_is_help=True,
    help="""The people who sign in by name and password. Roles: talk (chat and vote), annotate (rank answers as well),
operate (all of it: data, lessons, promotion). Running servers see every change at once.

Examples:

  homeroom users create me --role operate      [dim]# asks for a password twice[/]
  homeroom users create ann --role annotate
  homeroom users role ann operate
  homeroom users password ann                  [dim]# ends her sessions[/]
  homeroom users disable ann                   [dim]# ends her sessions and keys; enable lets her in again[/]
  homeroom keys create laptop --user ann       [dim]# for her programs[/]
""",
)
UserName = Annotated[str, typer.Argument(metavar="NAME", help="what is asked and voted is recorded under it")]
RoleName = Annotated[str, typer.Argument(metavar="ROLE", help="talk, annotate or operate")]
FromInput = Annotated[
    bool, typer.Option("--password-stdin", help="read the password from the input's first line, instead of asking")
]


@users_app.command("create")
def create_user(
    name: UserName,
    role: Annotated[str, typer.Option(metavar="ROLE", help="talk, annotate or operate")] = "talk",
    password_stdin: FromInput = False,
    workspace: Place = WORKSPACE,
) -> None:
    """Make a user. From the first one on, the pages ask who comes, on this machine too.

    Example: homeroom users create me --role operate
    """
    with open_workspace(workspace) as opened:
        user = opened.users.create(name, role, _password(name, password_stdin))
    out.print(f"{user.name} may {user.role}", markup=False)


@users_app.command("list")
def list_users(workspace: Place = WORKSPACE) -> None:
    """List every user: role, since when, when last seen. Example: homeroom users list"""
    table = Table("name", "role", "made", "last seen", "state", box=None, pad_edge=False)
    with open_workspace(workspace) as opened:
        seen = opened.sessions.last_used()
        for user in opened.users.all():
            table.add_row(escape(user.name), user.role, user.at[:16], seen.get(user.number, "")[:16], user.state)
    out.print(table)


@users_app.command("role")
def set_role(name: UserName, role: RoleName, workspace: Place = WORKSPACE) -> None:
    """Change what a user may do. Example: homeroom users role ann operate"""
    with open_workspace(workspace) as opened:
        user = opened.users.set_role(name, role)
    out.print(f"{user.name} may {user.role}", markup=False)


@users_app.command("password")
def set_password(name: UserName, password_stdin: FromInput = False, workspace: Place = WORKSPACE) -> None:
    """Give a user another password, and end the sessions of the old one. Example: homeroom users password ann"""
    with open_workspace(workspace) as opened:
        opened.users.get(name)  # who is not there is not asked for twice
        user = opened.users.set_password(name, _password(name, password_stdin))
    out.print(f"{user.name} has a new password; all sessions of {user.name} have ended", markup=False)


@users_app.command("disable")
def disable_user(name: UserName, workspace: Place = WORKSPACE) -> None:
    """End a user's sessions and keys at once; what was voted stays. Example: homeroom users disable ann"""
    with open_workspace(workspace) as opened:
        user = opened.users.disable(name)
        left = any(other.role == "operate" for other in opened.users.active())
    out.print(f"{user.name} is disabled", markup=False)
    if not left:
        out.print("Nobody is left who operates. `homeroom users create NAME --role operate` makes one.", markup=False)


@users_app.command("enable")
def enable_user(name: UserName, workspace: Place = WORKSPACE) -> None:
    """Let a disabled user in again, with the same password. Example: homeroom users enable ann"""
    with open_workspace(workspace) as opened:
        user = opened.users.enable(name)
    out.print(f"{user.name} may {user.role} again", markup=False)


def _password(name: str, from_input: bool) -> str:
    if from_input:
        return sys.stdin.readline().rstrip("\r\n")
    if not sys.stdin.isatty():
        raise HomeroomError(
            "the password is asked for at a terminal, and this is none. Pipe it in with --password-stdin."
        )
    return str(typer.prompt(f"Password of {name}", hide_input=True, confirmation_prompt="The same again"))
