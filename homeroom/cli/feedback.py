"""`homeroom feedback`: what people said, out as JSONL, in from JSONL, gone when a person wants it gone; and what of it
was not learned from."""

import json
import sys
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.markup import escape
from rich.table import Table

from homeroom.cli.common import (
    COMMAND_LINE,
    WORKSPACE,
    Group,
    Place,
    RecipePath,
    Sets,
    err,
    open_workspace,
    out,
    recipe_of,
)
from homeroom.settings import HomeroomError

if TYPE_CHECKING:
    from homeroom.workspace.standings import Said

SHOWN = 20  # bad lines that are named one by one
feedback_app = typer.Typer(
    cls=Group,
    no_args_is_help=True,
    help="""What people said of answers: export it, import it, delete a person's, see what is not learned from.

Examples:

  homeroom feedback export pairs.jsonl --format pairs     [dim]# chosen above rejected, for DPO[/]
  homeroom feedback queue questions.jsonl                 [dim]# answered, to be ranked at /rank[/]
  homeroom feedback import others.jsonl                   [dim]# the format is recognised[/]
  homeroom feedback delete ann                            [dim]# her rows; names the models they went into[/]
  homeroom feedback set-aside                             [dim]# whose votes count for nothing, and why[/]
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


@feedback_app.command("set-aside")
def set_aside_feedback(
    restore: Annotated[list[str] | None, typer.Option(metavar="USER", help="all of this person's counts whole")] = None,
    distrust: Annotated[list[str] | None, typer.Option(metavar="USER", help="nothing of this person's counts")] = None,
    judge: Annotated[
        list[str] | None, typer.Option(metavar="USER", help="take back either: this person's counts as it is found")
    ] = None,
    all_: Annotated[bool, typer.Option("--all", help=f"every judgement, not the first {SHOWN}")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="machine-readable")] = False,
    workspace: Place = WORKSPACE,
) -> None:
    """List whose judgements the last harvest did not learn from, and why; say what the next one is to do.

    Reasons: brigade (accounts that came together against the rest), contradictory (turns round on the same answers),
    cap (more than one person may teach), disagreement (says no more of good and bad than chance), replaced (the same
    person judged the same answer later), distrusted (by you).

    Example: homeroom feedback set-aside --restore ann --distrust bob
    """
    from homeroom.workspace.standings import Word

    said: list[tuple[str, Word]] = [(user, "restored") for user in restore or ()]
    said += [(user, "distrusted") for user in distrust or ()]
    said += [(user, "judged") for user in judge or ()]
    with open_workspace(workspace) as opened:
        opened.standings.say_all(said, by=COMMAND_LINE)
        words = opened.standings.said()
        harvests = [one for one in opened.artifacts.all() if one.stage == "harvest"]
        aside = opened.standings.set_aside(harvests[-1].path) if harvests else []
    if as_json:
        found: dict[str, object] = {"harvest": harvests[-1].id if harvests else None}
        found |= {"words": {user: one.word for user, one in words.items()}}
        found |= {"said_by": {user: one.by for user, one in words.items()}}
        sys.stdout.write(json.dumps({**found, "set_aside": [asdict(one) for one in aside]}, ensure_ascii=False) + "\n")
        return
    people = Counter((one.user, one.reason) for one in aside)
    table = Table("person", "set aside", "why", "an operator says", box=None, pad_edge=False)
    for (user, reason), count in sorted(people.items()):
        table.add_row(escape(user), f"{count:,}", reason, _told(words.get(user)))
    for user in sorted(words.keys() - {user for user, _ in people}):
        table.add_row(escape(user), "–", "", _told(words[user]))
    out.print(table)
    for one in aside if all_ else aside[:SHOWN]:
        part = "" if one.share == 1 else f" ({one.share:.0%} of it)"
        text = " ".join(one.text.split())
        out.print(f"{one.at[:16]}  {one.user}  {one.kind}{part}: {one.reason}  {text[:80]}", markup=False)
    if not all_ and len(aside) > SHOWN:
        out.print(f"and {len(aside) - SHOWN:,} more: --all")
    if not harvests:
        out.print("nothing was harvested yet: `homeroom harvest` decides what counts")
    if said:
        out.print("The next harvest obeys: `homeroom harvest`, or `homeroom improve`, which begins with one.")


def _told(said: "Said | None") -> str:
    if said is None:
        return ""
    return said.word if said.by is None else f"{said.word} ({escape(said.by)})"


def _print_bad(bad: dict[int, str]) -> None:
    for number, reason in list(bad.items())[:SHOWN]:
        err.print(f"line {number}: {escape(reason)}")
    if len(bad) > SHOWN:
        err.print(f"and {len(bad) - SHOWN:,} lines more")
