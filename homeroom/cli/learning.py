"""`homeroom improve`: the champion learns from what people said so far, once or whenever enough was said."""

from typing import Annotated

import typer

from homeroom.cli.common import WORKSPACE, Place, RecipePath, Sets, open_workspace, recipe_of, run_stage


def improve(
    recipe: RecipePath = None,
    workspace: Place = WORKSPACE,
    set_: Sets = None,
    watch: Annotated[
        bool, typer.Option("--watch", help="wait for votes, and begin a round whenever enough are new; until Ctrl-C")
    ] = False,
) -> None:
    """Learn from the votes, then promote or refuse through the gate; with --watch, again and again.

    Example: homeroom improve --workspace workspace. All its keys: homeroom explain improve

    Example: homeroom improve --watch --set watch.votes=100
    """
    from homeroom.stages.lookup import learner

    read = recipe_of(recipe, workspace, set_ or ())
    if not watch:
        with open_workspace(workspace, create=True) as opened:
            # A person who asks to learn from the votes means those cast so far, not those of the last harvest.
            run_stage("harvest", read, opened)
            run_stage(learner(opened), read, opened)
        return
    from homeroom.stages import watch as watching

    config = read.configs["watch"]
    assert isinstance(config, watching.Config)
    with open_workspace(workspace) as opened, opened.only_watcher():
        watching.run(
            config,
            opened,
            harvest=lambda: run_stage("harvest", read, opened),
            learn=lambda: run_stage(learner(opened), read, opened),
        )
