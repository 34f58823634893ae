"""Who operates decides by hand: POST /promote and /rollback. What is decided and kept is the registry's business.

Both name the champion that the person saw, so that nobody decides over a model that they did not know of. The server
takes up a new champion as it does every other: app.py looks for one.
"""

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, Request
from pydantic import AfterValidator, BeforeValidator, Field

from homeroom.serving.access import user_of
from homeroom.serving.errors import ApiError
from homeroom.serving.forms import Strict
from homeroom.serving.requests import plain_text, unicode_text
from homeroom.workspace import (
    AlreadyChampion,
    ChampionChanged,
    Decision,
    MissingArtifact,
    NothingToRollBack,
    Workspace,
    WorkspaceError,
    by_hand,
)

LOCAL = "local"  # who sits at this machine, where nobody has an account
Reason = Annotated[str, BeforeValidator(plain_text), AfterValidator(unicode_text), Field(max_length=500)]
ArtifactId = Annotated[str, Field(min_length=1, max_length=100)]


class RollbackRequest(Strict):
    champion: ArtifactId | None = Field(None, description="refused with 409 if it is another by now")
    reason: Reason = ""


class PromoteRequest(RollbackRequest):
    model: ArtifactId


def router(workspace: Workspace) -> APIRouter:
    # The pages' own, as signing out is, so not in the description of the API; an operator's key does as well.
    routes = APIRouter(include_in_schema=False)

    @routes.post("/promote")
    async def promote(body: PromoteRequest, request: Request) -> dict[str, Any]:
        by = user_of(request.scope["state"], LOCAL)
        return await _decided(workspace.promote_by_hand, body.model, by, body.reason, over=body.champion)

    @routes.post("/rollback")
    async def rollback(body: RollbackRequest, request: Request) -> dict[str, Any]:
        verdict = by_hand(user_of(request.scope["state"], LOCAL), body.reason)
        return await _decided(workspace.registry.rollback, verdict, of=body.champion)

    return routes


async def _decided(decide: Any, *given: Any, **named: Any) -> dict[str, Any]:
    try:
        made: Decision = await asyncio.to_thread(decide, *given, **named)
    except MissingArtifact as error:
        raise ApiError(404, str(error), param="model", code="model_not_found") from error
    except (ChampionChanged, AlreadyChampion, NothingToRollBack) as error:
        raise ApiError(409, str(error), code="champion_changed") from error
    except WorkspaceError as error:
        raise ApiError(400, str(error), param="model", code="not_servable") from error
    return {
        "object": "decision",
        "kind": made.kind,
        "champion": made.artifact_id,
        "previous": made.previous_id,
        "at": made.at,
        "verdict": made.verdict,
    }
