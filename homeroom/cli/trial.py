"""`homeroom trial`: a candidate is tried by the people who chat."""

from typing import TYPE_CHECKING, Annotated

import typer
from pydantic import ValidationError

from homeroom.cli.common import WORKSPACE, Place, open_workspace, out
from homeroom.settings import HomeroomError

if TYPE_CHECKING:
    from homeroom.workspace import Workspace


def trial(
    model: Annotated[
        str | None, typer.Argument(help="a stage, or an id of `homeroom status`; none: how the trial stands")
    ] = None,
    workspace: Place = WORKSPACE,
    stop: Annotated[bool, typer.Option("--stop", help="end the trial that runs; the champion stays")] = False,
    maximum: Annotated[int | None, typer.Option(min=1, help="votes that count at most; default: 400")] = None,
    alone: Annotated[
        bool, typer.Option("--alone", help="no limit on one person's votes, so that one may decide")
    ] = False,
    anyway: Annotated[
        bool, typer.Option("--anyway", help="even if the gate did not measure it, or refused it for more than wins")
    ] = False,
) -> None:
    """Try a model against the champion: people choose blind on the chat page, and their votes promote or refuse it.

    Example: homeroom trial improve && homeroom serve --set serve.pairs=0.3

    Example: homeroom trial --stop
    """
    from homeroom.evaluation.trial import TrialSettings
    from homeroom.stages import trial as trials

    given: dict[str, object] = {} if maximum is None else {"maximum": maximum}
    if alone:
        given["votes_per_person"] = None
    with open_workspace(workspace) as opened:
        if stop:
            if model is not None:
                raise HomeroomError("--stop ends the trial that runs: leave the model out")
            trials.stop(opened)
        elif model is not None:
            try:
                settings = TrialSettings.model_validate(given)
            except ValidationError as error:
                wrong = error.errors()[0]["msg"].removeprefix("Value error, ")
                raise HomeroomError(f"--maximum {maximum}: {wrong}") from None
            trials.begin(opened, model, settings, anyway=anyway)
            out.print("`homeroom serve` asks people; `homeroom trial` tells how it stands", markup=False)
        elif trials.decide(opened) is None and not show(opened):
            out.print("no model is on trial. `homeroom trial MODEL` begins one", markup=False)


def show(workspace: "Workspace") -> bool:
    """Tell how the trial that runs stands; whether there is one."""
    running = workspace.registry.trial()
    if running is None:
        return False
    from homeroom.stages.trial import standing

    counted = standing(workspace, running)
    out.print(
        f"on trial   {running.artifact_id} against {running.previous_id} since {running.at}: it wins "
        f"{counted.test.interval} of {counted.test.n} blind votes by {counted.people} people "
        f"(at most {counted.test.maximum}; {counted.repeated + counted.beyond} more set aside)",
        markup=False,
    )
    return True
