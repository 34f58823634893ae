"""The command line: read what was asked, pick a stage, print what came out. No logic beyond that.

Rooms that load torch are imported inside the commands that need them, so that help and status answer at once.
"""

import importlib
import json
import sys
import webbrowser
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from homeroom import __version__
from homeroom.cli import models
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
    run_stage,
)
from homeroom.cli.feedback import feedback_app
from homeroom.cli.keys import keys_app
from homeroom.cli.learning import improve
from homeroom.cli.trial import show, trial
from homeroom.cli.users import users_app
from homeroom.memory import keep_freed_memory
from homeroom.progress import say
from homeroom.settings import HomeroomError, NothingToLearn
from homeroom.stages import CIRCLE

if TYPE_CHECKING:
    from homeroom.recipe import Recipe
    from homeroom.workspace import Workspace

app = typer.Typer(
    cls=Group,
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="""Raise your own ChatGPT: raw text goes in, a served assistant comes out that learns from its votes.

Examples:

  homeroom run recipes/starter.toml                       [dim]# the whole circle[/]
  homeroom run recipes/starter.toml --until pretrain      [dim]# a part of it[/]
  homeroom run recipes/starter.toml --set pretrain.depth=6
  homeroom status                                         [dim]# what was made, and who is champion[/]
  homeroom serve                                          [dim]# chat page and OpenAI API[/]
""",
)

ASIDE = {
    "teach": "improve, for a champion that came from elsewhere",
    "watch": "when `homeroom improve --watch` starts a round",
    "serve": "how the champion is served",
}


def _version(wanted: bool) -> None:
    if wanted:
        out.print(f"homeroom {__version__}")
        raise typer.Exit


@app.callback()
def _top(version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True)] = False) -> None:
    keep_freed_memory()


@app.command(rich_help_panel="The circle")
def run(
    recipe: Annotated[Path, typer.Argument(metavar="RECIPE", help="a TOML file, as recipes/starter.toml")],
    workspace: Place = WORKSPACE,
    first: Annotated[str | None, typer.Option("--from", metavar="STAGE", help="begin at this stage")] = None,
    last: Annotated[str | None, typer.Option("--until", metavar="STAGE", help="end after this stage")] = None,
    set_: Sets = None,
) -> None:
    """Run the circle, or the part of it from one stage to another. What is unchanged is skipped.

    Example: homeroom run recipes/starter.toml --from sft --until ppo --set ppo.seed=2
    """
    from homeroom import recipe as recipes
    from homeroom.stages.lookup import learner

    stages = _between(first, last)
    read = recipes.load(recipe, set_ or ())
    with open_workspace(workspace, create=True) as opened:
        read.save(opened.path)
        _print_derived(read)
        for stage in stages:
            try:
                run_stage(learner(opened) if stage == "improve" else stage, read, opened)
            except NothingToLearn as reason:
                say(stage, f"nothing was learned: {reason}")
        _print_figures(opened)


def _stage_command(stage: str, does: str) -> Callable[..., None]:
    def command(recipe: RecipePath = None, workspace: Place = WORKSPACE, set_: Sets = None) -> None:
        read = recipe_of(recipe, workspace, set_ or ())
        with open_workspace(workspace, create=True) as opened:
            run_stage(stage, read, opened)

    example = f"Example: homeroom {stage} --workspace {WORKSPACE}. All its keys: homeroom explain {stage}"
    command.__doc__ = f"{does[0].upper()}{does[1:]}.\n\n{example}"
    return command


def evaluate(
    recipe: RecipePath = None,
    workspace: Place = WORKSPACE,
    set_: Sets = None,
    tasks: Annotated[Path | None, typer.Option(help="ask one model the questions of this .jsonl(.gz) file")] = None,
    shots: Annotated[
        list[int] | None, typer.Option(min=0, help="solved examples before each question, once or more; default: 0")
    ] = None,
    shots_from: Annotated[Path | None, typer.Option(help="draw them from this file; default: the tasks")] = None,
    model: Annotated[str | None, typer.Option(help="a stage, or an id of `homeroom status`; default: champion")] = None,
    compressed: Annotated[
        bool | None, typer.Option("--compressed", help="its int8 weights, with which it is served")
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="only the first so many questions")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="which examples are drawn; default: 0")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="machine-readable, with --tasks")] = False,
) -> None:
    """Measure every stage's model in the same way; with --tasks, one model on a file of multiple-choice questions.

    Example: homeroom evaluate --workspace workspace. All its keys: homeroom explain evaluate

    Example: homeroom evaluate --tasks arc_easy.jsonl --shots 0 --shots 5 --model sft

    A line of the file: {"question": "…", "choices": ["…", "…"], "answer": 0}. The answer is a choice's place, counted
    from 0, or as text its letter ("A") or the choice itself. A line may have "context", "category" and "id".
    """
    options = {"shots": shots, "examples_from": shots_from, "model": model, "limit": limit, "seed": seed}
    options["compressed"] = compressed
    given: dict[str, Any] = {name: value for name, value in options.items() if value is not None}
    if tasks is None:
        if given or as_json:
            raise HomeroomError(
                "--shots, --shots-from, --model, --compressed, --limit, --seed and --json go with --tasks FILE"
            )
        _stage_command("evaluate", CIRCLE["evaluate"])(recipe, workspace, set_)
        return
    if recipe or set_:
        raise HomeroomError("--recipe and --set are of the circle's evaluation: leave them out where there is --tasks")
    from homeroom.report import scores
    from homeroom.stages import score

    with open_workspace(workspace) as opened:
        made = score.run(tasks, opened, **given)
    if as_json:
        sys.stdout.write(json.dumps({"id": made.id, **made.metrics}, ensure_ascii=False, indent=1) + "\n")
    else:
        out.print(scores.text(made.metrics), markup=False)


WITH_OPTIONS: dict[str, Callable[..., None]] = {"evaluate": evaluate, "improve": improve}
for _stage, _does in CIRCLE.items():
    _command = WITH_OPTIONS.get(_stage) or _stage_command(_stage, _does)
    app.command(_stage, rich_help_panel="One stage of the circle")(_command)


@app.command(rich_help_panel="The circle")
def explain(stage: Annotated[str | None, typer.Argument(help="a stage, or serve; none: list them")] = None) -> None:
    """List every key of a stage: its default and what it is for. Without a stage, the stages.

    Example: homeroom explain pretrain
    """
    from homeroom.recipe import SECTIONS, keys_of, nearest

    if stage is None:
        stages = Table("stage", "what it does", box=None, pad_edge=False)
        for name in SECTIONS:
            stages.add_row(name, (CIRCLE | ASIDE)[name])
        out.print(stages)
        return
    if stage not in SECTIONS:
        meant = nearest(stage, SECTIONS)
        raise HomeroomError(
            f"stage '{stage}' is not one of {', '.join(SECTIONS)}." + (f" Did you mean '{meant}'?" if meant else "")
        )
    table = Table("key", "default", "what it is for", box=None, pad_edge=False)
    for name, default, description in keys_of(importlib.import_module(f"homeroom.stages.{stage}").Config):
        table.add_row(escape(name), escape(default), escape(description))
    out.print(table)


@app.command(rich_help_panel="The workspace")
def status(
    workspace: Place = WORKSPACE,
    as_json: Annotated[bool, typer.Option("--json", help="machine-readable; `figures` is a flat object")] = False,
) -> None:
    """List artifacts, their inputs and metrics, the champion and the figures.

    Example: homeroom status --json | python -m json.tool
    """
    from homeroom.report import overview

    with open_workspace(workspace) as opened:
        if as_json:
            sys.stdout.write(json.dumps(overview.as_json(opened), ensure_ascii=False, indent=1) + "\n")
            return
        champion, history = opened.registry.champion(), opened.registry.history()
        table = Table("artifact", "made of", "what it is", "seconds", box=None, pad_edge=False)
        for artifact in overview.in_circle_order(opened):
            crown = " [green]← champion[/]" if artifact.id == champion else ""
            made_of, told = "\n".join(artifact.inputs) or "–", escape(overview.headline(artifact, history))
            table.add_row(artifact.id + crown, made_of, told, f"{artifact.seconds:,.1f}")
        out.print(table)
        for decision in history:
            out.print(f"{decision.at}  {decision.kind.replace('_', ' ')}  {decision.artifact_id}")
        show(opened)
        _print_figures(opened)


@app.command(rich_help_panel="The workspace")
def report(
    workspace: Place = WORKSPACE,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="default: report.html in the workspace")] = None,
    show: Annotated[bool, typer.Option("--open/--no-open", help="open it in the browser")] = True,
) -> None:
    """Write report.html: one file with every figure, curve, sample and verdict, readable offline.

    Example: homeroom report --no-open
    """
    from homeroom.report.page import write_report

    with open_workspace(workspace) as opened:
        path = write_report(opened, output or opened.path / "report.html")
    out.print(f"report     {path}", markup=False)
    if show and sys.stdout.isatty():
        webbrowser.open(path.absolute().as_uri())


@app.command(rich_help_panel="The workspace")
def verify(
    workspace: Place = WORKSPACE,
    set_aside: Annotated[
        bool, typer.Option("--set-aside", help="move damaged artifacts away, so that their stages make them again")
    ] = False,
    tidy: Annotated[
        bool, typer.Option("--tidy", help="remove unfinished work that no process is at; it would begin anew")
    ] = False,
) -> None:
    """Hash every artifact again and name what is damaged.

    Example: homeroom verify --set-aside
    """
    with open_workspace(workspace) as opened:
        damages = opened.verify()
        count = len(opened.artifacts.all())
        moved = opened.artifacts.set_aside_all(damages) if set_aside else {}
        champion = opened.registry.champion()
        removed = opened.tidy() if tidy else []
    for damage in damages:
        where = f"{damage.artifact_id}/{damage.file}" if damage.artifact_id else damage.file
        out.print(f"{where}: expected {damage.expected}, found {damage.found}", markup=False)
    for name, path in moved.items():
        stage = name.rpartition("-")[0]
        again = f"Run `homeroom {'evaluate --tasks FILE' if stage == 'score' else stage}` to make it again."
        if name == champion:
            again = "It was the champion: `homeroom rollback` makes the one before it champion again."
        out.print(f"moved {name} to {path}. {again}", markup=False)
    for name in removed:
        out.print(f"removed work/{name}", markup=False)
    if left := [damage for damage in damages if damage.artifact_id not in moved]:
        advice = "" if set_aside else ". Artifacts: `homeroom verify --set-aside`, then run their stages again"
        raise HomeroomError(f"{len(left)} of the workspace's files are not as they were made{advice}")
    if not damages:
        out.print(f"all {count} artifacts are as they were made")


@app.command(rich_help_panel="The workspace")
def rollback(workspace: Place = WORKSPACE) -> None:
    """Make the previous champion the champion again. `homeroom champion MODEL` takes that back."""
    from homeroom.workspace import by_hand

    with open_workspace(workspace) as opened:
        decision = opened.registry.rollback(by_hand(COMMAND_LINE))
    out.print(f"champion is {decision.artifact_id} again, in place of {decision.previous_id}", markup=False)


@app.command(rich_help_panel="Talk to it")
def chat(recipe: RecipePath = None, workspace: Place = WORKSPACE, set_: Sets = None) -> None:
    """Talk to the champion in the terminal; /help lists what else can be said."""
    from homeroom.serving.settings import ServingSettings
    from homeroom.serving.terminal import talk

    settings = recipe_of(recipe, workspace, set_ or ()).configs["serve"]
    assert isinstance(settings, ServingSettings)
    with open_workspace(workspace) as opened:
        talk(opened, settings)


@app.command(rich_help_panel="Talk to it")
def serve(
    recipe: RecipePath = None,
    workspace: Place = WORKSPACE,
    port: Annotated[int | None, typer.Option(help="0 takes any free port")] = None,
    set_: Sets = None,
) -> None:
    """Serve the champion: chat page and OpenAI-compatible API.

    Examples: homeroom serve --port 8080

    homeroom users create me --role operate; homeroom serve --set serve.host=0.0.0.0 --set serve.allow_network=true
    """
    sets = [*(set_ or ()), *([f"serve.port={port}"] if port is not None else [])]
    read = recipe_of(recipe, workspace, sets)
    with open_workspace(workspace) as opened:
        importlib.import_module("homeroom.stages.serve").run(read.configs["serve"], opened)


models.add_to(app)
app.command("trial", rich_help_panel="Talk to it")(trial)
app.add_typer(users_app, name="users", rich_help_panel="Talk to it")
app.add_typer(keys_app, name="keys", rich_help_panel="Talk to it")
app.add_typer(feedback_app, name="feedback", rich_help_panel="Talk to it")


def _between(first: str | None, last: str | None) -> list[str]:
    order = list(CIRCLE)
    for option, stage in (("--from", first), ("--until", last)):
        if stage is not None and stage not in order:
            raise HomeroomError(f"{option} {stage}: not a stage. The circle is {' → '.join(order)}")
    begin, end = order.index(first or order[0]), order.index(last or order[-1])
    if begin > end:
        raise HomeroomError(f"--from {first} comes after --until {last}. The circle is {' → '.join(order)}")
    return order[begin : end + 1]


def _print_derived(recipe: "Recipe") -> None:
    table = Table(title="The size dial", title_justify="left", box=None, pad_edge=False, show_header=False)
    for choice in recipe.derived():
        value = f"{choice.value:,.4g}" if isinstance(choice.value, float) else f"{choice.value:,}"
        table.add_row(choice.name, value, f"[dim]{choice.why}[/]")
    err.print(table)


def _print_figures(workspace: "Workspace") -> None:
    from homeroom.report.figures import figures, shown

    table = Table("figure", "value", "bar", "", box=None, pad_edge=False)
    for figure in figures(workspace):
        bar = f"{figure.sense} {shown(figure, figure.bar)}" if figure.bar is not None else ""
        mark = {True: "[green]✓[/]", False: "[red]✗[/]", None: ""}[figure.passed]
        table.add_row(f"{figure.title} [dim]{figure.name}[/]", shown(figure), bar, mark)
    out.print(table)


def main() -> None:
    app()
