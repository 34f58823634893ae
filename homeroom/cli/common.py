"""What all commands share: where they print, how their errors end, which workspace and recipe they work on."""

import importlib
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from typer.core import TyperGroup

from homeroom.settings import HomeroomError

if TYPE_CHECKING:
    from homeroom.recipe import Recipe
    from homeroom.workspace import Workspace

DEFAULT_RECIPE = Path("recipes/starter.toml")
out = Console(highlight=False, soft_wrap=True)
err = Console(stderr=True, highlight=False, soft_wrap=True)
Place = Annotated[
    Path,
    typer.Option("--workspace", "-w", envvar="HOMEROOM_WORKSPACE", help="the folder that holds all that is made"),
]
Sets = Annotated[
    list[str] | None, typer.Option("--set", "-s", metavar="STAGE.KEY=VALUE", help="lay a value over the recipe")
]
RecipePath = Annotated[
    Path | None,
    typer.Option("--recipe", "-r", help="default: the recipe last run in this workspace, else recipes/starter.toml"),
]
WORKSPACE = Path("workspace")
COMMAND_LINE = "the command line"  # who decided by hand, where nobody signed in


class Group(TyperGroup):
    """Where every command's errors end: one message without a traceback, or what Ctrl-C means."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except HomeroomError as error:
            err.print(f"[bold red]error[/] {escape(str(error))}")
            raise typer.Exit(1) from None
        except KeyboardInterrupt:
            err.print("\nstopped; the same command goes on where it stood")
            raise typer.Exit(130) from None


def open_workspace(path: Path, create: bool = False) -> "Workspace":
    from homeroom.workspace import Workspace

    if not create and not path.is_dir():
        raise HomeroomError(
            f"workspace {path}: not there. Run `homeroom import smollm2 --workspace {path}` or "
            f"`homeroom run {DEFAULT_RECIPE} --workspace {path}` first"
        )
    return Workspace.open(path)


def recipe_of(path: Path | None, workspace: Path, sets: Iterable[str]) -> "Recipe":
    from homeroom import recipe as recipes

    stored = workspace / recipes.STORED
    if path is None and not stored.is_file() and not DEFAULT_RECIPE.is_file():
        # A workspace of imported models alone, outside of a checkout.
        return recipes.resolve({}, "of defaults", recipes.stage_configs(), sets)
    return recipes.load(path or (stored if stored.is_file() else DEFAULT_RECIPE), sets)


def run_stage(stage: str, recipe: "Recipe", workspace: "Workspace") -> None:
    importlib.import_module(f"homeroom.stages.{stage}").run(recipe.configs[stage], workspace)
