"""Models come in, become small and fast, answer, and go out: `homeroom import`, `compress`, `champion`, `export`."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from homeroom.cli.common import COMMAND_LINE, WORKSPACE, Place, open_workspace, out


def add_to(app: typer.Typer) -> None:
    app.command("champion", rich_help_panel="The workspace")(champion)
    app.command("import", rich_help_panel="Open models")(import_model)
    app.command("compress", rich_help_panel="Open models")(compress)
    app.command("export", rich_help_panel="Open models")(export)


def import_model(
    source: Annotated[
        str,
        typer.Argument(metavar="MODEL", help="smollm2, a Hugging Face folder, a .gguf file, or a hub's owner/model"),
    ],
    workspace: Place = WORKSPACE,
    small: Annotated[bool, typer.Option("--compress/--no-compress", help="make its int8 weights as well")] = True,
    promote: Annotated[bool, typer.Option("--promote", help="serve it even if there is a champion already")] = False,
) -> None:
    """Register an open model: Llama, Mistral, Qwen 2 to 3, SmolLM2 or GPT-2. The first model becomes champion.

    Example: homeroom import smollm2 && homeroom serve

    Example: homeroom import ./Qwen3-0.6B --workspace qwen
    """
    from homeroom.stages import compress as compressing
    from homeroom.stages import imported

    with open_workspace(workspace, create=True) as opened:
        made = imported.run(source, opened)
        if small:
            compressing.run(compressing.Config(), opened, made)
        champion = opened.registry.champion()
        if champion is None or (promote and champion != made.id):
            opened.registry.promote(made.id, {"promoted": True, "reasons": ["a person imported it"]})
            champion = made.id
        chat = bool(made.metrics["chat"])
    if champion != made.id:
        out.print(f"champion stays {champion}; `homeroom import {source} --promote` serves this one", markup=False)
    elif not chat:
        out.print("it has no chat template, so it completes text (/v1/completions) and does not chat", markup=False)
    else:
        out.print(
            f"champion is {made.id}. `homeroom serve` for the chat page, `homeroom chat` for the terminal", markup=False
        )


def champion(
    model: Annotated[
        str | None, typer.Argument(help="a stage, or an id of `homeroom status`; none: say who it is")
    ] = None,
    reason: Annotated[str, typer.Option(help="why, for the record")] = "",
    workspace: Place = WORKSPACE,
) -> None:
    """Say who is champion, or make a model champion by hand: no gate is asked, and the record says so.

    This takes back a `homeroom rollback`, too. A server that runs answers with the new champion within seconds.

    Example: homeroom champion teach-0f3a --reason "the rollback was a mistake"
    """
    from homeroom.stages.lookup import find_model

    with open_workspace(workspace) as opened:
        if model is None:
            out.print(opened.registry.champion() or "no model was promoted yet", markup=False)
            return
        made = opened.promote_by_hand(find_model(opened, model).id, COMMAND_LINE, reason)
        slow = opened.artifacts.made_of(made.artifact_id, "compress") is None
    instead = f", in place of {made.previous_id}" if made.previous_id else ""
    out.print(f"champion is {made.artifact_id}{instead}. `homeroom rollback` undoes it", markup=False)
    if slow:
        out.print("it has no int8 weights: `homeroom compress` makes them, and answers come faster", markup=False)


def compress(
    model: Annotated[str, typer.Argument(help="champion, a stage, or an id of `homeroom status`")] = "champion",
    workspace: Place = WORKSPACE,
) -> None:
    """Make a model's int8 weights and measure what they cost. The server then answers with them.

    Example: homeroom compress sft
    """
    from homeroom.stages import compress as compressing
    from homeroom.stages.lookup import find_model

    with open_workspace(workspace) as opened:
        compressing.run(compressing.Config(), opened, find_model(opened, model))


def export(
    to: Annotated[Path, typer.Option(help="a folder that is not there yet")],
    model: Annotated[str, typer.Argument(help="champion, a stage, or an id of `homeroom status`")] = "champion",
    format_: Annotated[Literal["hf", "gguf"], typer.Option("--format", help="hf: a Hugging Face folder")] = "hf",
    type_: Annotated[
        Literal["F32", "F16", "Q8_0"] | None, typer.Option("--type", help="default: F32; of a GGUF file F16")
    ] = None,
    proof: Annotated[bool, typer.Option("--proof/--no-proof", help="that it answers the same in transformers")] = True,
    workspace: Place = WORKSPACE,
) -> None:
    """Write a model for other programs, and prove that it answers there as it answers here.

    Example: homeroom export --to my-model

    Example: homeroom export sft --to my-model --format gguf --type Q8_0
    """
    from homeroom.report import exports
    from homeroom.stages import export as exporting

    with open_workspace(workspace) as opened:
        made = exporting.run(opened, to, model=model, format=format_, type=type_, proof=proof)
    out.print(exports.text(made), markup=False)
