"""`homeroom feedback`: what people said, out as JSONL, in from JSONL, and gone when a person wants it gone."""

from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.markup import escape

from homeroom.cli.common import WORKSPACE, Group, Place, RecipePath, Sets, err, open_workspace, out, recipe_of
from homeroom.settings import HomeroomError

SHOWN = 20  # bad lines that are named one by one
feedback_app = typer.Typer(
    cls=Group,
    no_args_is_help=True,
    help="""What people said of answers: export it, import it, delete a person's.

Examples:

  homeroom feedback export pairs.jsonl --format pairs     [dim]# chosen above rejected, for DPO[/]
  homeroom feedback queue questions.jsonl                 [dim]# answered, to be ranked at /rank[/]
  homeroom feedback import others.jsonl                   [dim]# the format is recognised[/]
  homeroom feedback delete ann                            [dim]# her rows; names the models they went into[/]
""",
)


@feedback_app.command("export")
def export_feedback(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="the JSONL file to write")],
    format_: Annotated[
        Literal["pairs", "thumbs", "rankings"],
        typer.Option("--format", help="pairs: chosen and rejected; thumbs: messages and a label; rankings: tiers"),
    ] = "pairs",
    workspace: Place = WORKSPACE,
) -> None:
    """Write what people said as JSONL. Conversations without consent stay out, and so do names.

    Example: homeroom feedback export thumbs.jsonl --format thumbs
    """
    from homeroom.workspace import exchange

    with open_workspace(workspace) as opened:
        count = exchange.export(opened.feedback, file, format_)
    out.print(f"{count:,} {format_} in {file}", markup=False)


@feedback_app.command("queue")
def queue_feedback(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="JSONL: one question a line")],
    answers: Annotated[int, typer.Option(min=2, max=9, help="how many the champion gives to each question")] = 4,
    temperature: Annotated[float, typer.Option(min=0.0, max=2.0, help="how they are sampled")] = 1.0,
    recipe: RecipePath = None,
    workspace: Place = WORKSPACE,
    set_: Sets = None,
) -> None:
    """Ask the champion each question several times and queue its answers for the page Rank.

    Lines: {"prompt": "…"} or {"messages": […]}; with "answers": ["…", "…"] those are queued and nobody is asked.
    Questions that were answered four times in a chat come into the queue by themselves.

    Example: homeroom feedback queue questions.jsonl --answers 4
    """
    from homeroom.serving.queueing import queue_file
    from homeroom.serving.settings import ServingSettings

    settings = recipe_of(recipe, workspace, set_ or ()).configs["serve"]
    assert isinstance(settings, ServingSettings)
    with open_workspace(workspace) as opened:
        done = queue_file(opened, settings, file, answers=answers, temperature=temperature)
    _print_bad(done.bad)
    told = f"{done.added:,} questions wait to be ranked at /rank, {done.known:,} were there already"
    out.print(told + (f", {len(done.bad):,} lines left out" if done.bad else ""), markup=False)
    if done.bad and not done.added and not done.known:
        raise HomeroomError(f"{file} holds no question that could be queued")


@feedback_app.command("import")
def import_feedback(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="JSONL: pairs, thumbs or rankings")],
    user: Annotated[str, typer.Option(help="whose judgements these are")] = "import",
    workspace: Place = WORKSPACE,
) -> None:
    """Add judgements from JSONL; its format is recognised. Bad lines are named, and the same file adds nothing twice.

    Lines: {"prompt": "…", "chosen": "…", "rejected": "…"}, {"messages": […], "label": true} or
    {"messages": […], "answers": ["…"], "tiers": [[0], [1, 2]]}.

    Example: homeroom feedback import pairs.jsonl
    """
    with open_workspace(workspace, create=True) as opened:
        done = opened.import_feedback(file, user)
    _print_bad(done.bad)
    told = f"{done.added:,} {done.format or 'judgements'} added, {done.known:,} were there already"
    out.print(told + (f", {len(done.bad):,} bad lines left out" if done.bad else ""), markup=False)
    if done.bad and not done.added and not done.known:
        raise HomeroomError(f"{file} holds no line that could be imported")


@feedback_app.command("delete")
def delete_feedback(
    user: Annotated[str, typer.Argument(metavar="USER", help="as votes and conversations name the person")],
    yes: Annotated[bool, typer.Option("--yes", help="do not ask")] = False,
    workspace: Place = WORKSPACE,
) -> None:
    """Delete a person's conversations, votes, edits, rankings and comparisons, and name what they went into.

    What others said of the person's conversations goes too. Models are not changed.

    Example: homeroom feedback delete ann
    """
    with open_workspace(workspace) as opened:
        if not yes:
            typer.confirm(f"Delete all that '{user}' said, for good?", abort=True, err=True)
        done = opened.forget(user)
    if not done.rows:
        raise HomeroomError(f"there is nothing of a user '{user}' in {workspace}")
    out.print("deleted " + ", ".join(f"{count:,} {table}" for table, count in done.rows.items()), markup=False)
    for name in done.artifacts:
        out.print(f"{'model' if name in done.models else 'artifact'} {name} was made of it", markup=False)


def _print_bad(bad: dict[int, str]) -> None:
    for number, reason in list(bad.items())[:SHOWN]:
        err.print(f"line {number}: {escape(reason)}")
    if len(bad) > SHOWN:
        err.print(f"and {len(bad) - SHOWN:,} lines more")
