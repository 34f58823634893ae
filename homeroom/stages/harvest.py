"""harvest: all votes of the workspace become lessons, split by question.

Where the circle has evaluated a model, its questions are left out and its judge decides; for a model that came from
elsewhere a share of the questions is set apart for a judge of its own. How votes become lessons is the business of
`homeroom.data.preferences`. Its identity holds a digest of the votes, because the workspace keeps collecting them: new
votes make a new harvest, the same votes are not harvested again. Which rows it read is in sources.jsonl, so that who
wants them deleted can be told what they went into.
"""

import json
from collections.abc import Sequence
from typing import Annotated

from pydantic import Field, PositiveInt

from homeroom.data.documents import read_documents
from homeroom.data.preferences import digest, harvest, save_lessons
from homeroom.progress import say
from homeroom.settings import Frozen
from homeroom.stages.lookup import came_from_elsewhere, deciding_evaluation, unchanged
from homeroom.stages.measuring import evaluation_questions
from homeroom.tasks.base import Question
from homeroom.tasks.questions import name_of
from homeroom.tasks.split import share
from homeroom.workspace import Artifact, Workspace
from homeroom.workspace.deletion import SOURCES

VERSION = 5
PAIRS, THUMBS = "pairs.jsonl", "thumbs.jsonl"


class Config(Frozen):
    """How votes become pairs."""

    heldout: Annotated[float, Field(gt=0, lt=1, description="share of questions kept from training")] = 0.2
    judge: Annotated[float, Field(ge=0, lt=1)] = Field(
        0.2, description="share of questions that a judge learns from, where the circle has made none"
    )
    pairs_per_question: PositiveInt = 4


class Identity(Config):
    """The settings and which votes they were applied to."""

    votes: str


def run(config: Config, workspace: Workspace) -> Artifact:
    champion = workspace.champion()
    elsewhere = champion is not None and came_from_elsewhere(workspace, champion)
    inputs = [] if elsewhere else [deciding_evaluation(workspace)]
    votes = workspace.feedback.votes()
    settings = Identity(**config.model_dump(), votes=digest(votes))
    if done := unchanged(workspace, "harvest", settings, inputs, VERSION):
        return done
    with workspace.publish("harvest", settings, inputs, version=VERSION) as out:
        with (out.path / SOURCES).open("w", encoding="utf-8") as file:
            for vote in votes:
                row = {"message_id": vote.message_id, "vote_id": vote.vote_id, "edit_id": vote.edit_id}
                file.write(json.dumps(row) + "\n")
        asked = [question for evaluation in inputs for question in evaluation_questions(evaluation)]
        reaped = harvest(
            votes,
            [question.prompt for question in asked],
            config.heldout,
            lambda question: share(question, "harvest"),
            config.pairs_per_question,
            [name for evaluation in inputs for name in _names(workspace.artifacts.get(evaluation.inputs[0]), asked)],
            judge=config.judge if elsewhere else 0.0,
        )
        save_lessons(reaped.pairs, out.path / PAIRS)
        save_lessons(reaped.thumbs, out.path / THUMBS)
        up = sum(vote.value > 0 for vote in votes)
        out.metrics = {
            "answers": len(votes),
            "up": up,
            "down": len(votes) - up,
            "better_answers": sum(vote.better_answer is not None for vote in votes),
            "pairs": len(reaped.pairs),
            "thumbs": len(reaped.thumbs),
            "questions": dict(reaped.questions.items()),
            "lone": reaped.lone,
            "excluded": reaped.excluded,
        }
    say("harvest", f"{len(reaped.pairs)} pairs out of {len(votes)} judged answers → {out.artifact.id}")
    return out.artifact


def _names(cleaned: Artifact, asked: Sequence[Question]) -> list[str]:
    """The idioms and functions that questions are about."""
    about = {question.document_id for question in asked}
    documents = read_documents(cleaned.path / "documents.parquet", kinds=("idiom", "function"))
    return [name_of(document) for document in documents if document.id in about]
