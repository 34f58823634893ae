"""harvest: all that people said of answers becomes lessons, weighed by how far they are trusted, split by question.

Where the circle has evaluated a model, its questions are left out and its judge decides; for a model that came from
elsewhere a share of the questions is set apart for a judge of its own. How votes become lessons is the business of
`homeroom.data.preferences`, what they weigh that of `homeroom.data.judgements`, over which an operator's word goes. Its
identity holds a digest of the votes and their weights, because the workspace keeps collecting them: new votes make a
new harvest, the same votes are not harvested again. Which rows it read is in sources.jsonl, so that who wants them
deleted can be told what they went into; which it did not learn from, and why, in set_aside.jsonl. Neither has names.
"""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated

from pydantic import Field, PositiveInt

from homeroom.data.documents import read_documents
from homeroom.data.judgements import weigh
from homeroom.data.preferences import PAIRS, THUMBS, harvest, save_lessons
from homeroom.data.trust import Changes, TrustSettings
from homeroom.progress import say
from homeroom.settings import Frozen, HomeroomError, Json
from homeroom.stages.lookup import came_from_elsewhere, deciding_evaluation, unchanged
from homeroom.stages.measuring import evaluation_questions
from homeroom.tasks.base import Question
from homeroom.tasks.questions import name_of
from homeroom.tasks.split import share
from homeroom.workspace import Artifact, Workspace
from homeroom.workspace.deletion import SOURCES
from homeroom.workspace.standings import SET_ASIDE

VERSION = 9


class Config(Frozen):
    """How votes become pairs, and whose."""

    heldout: Annotated[float, Field(gt=0, lt=1, description="share of questions kept from training")] = 0.2
    deciding: Annotated[float, Field(gt=0, lt=1)] = Field(
        0.2, description="share of questions that the gate asks, where the circle has evaluated nothing"
    )
    judge: Annotated[float, Field(ge=0, lt=1)] = Field(
        0.2, description="share of questions that a judge learns from, where the circle has made none"
    )
    pairs_per_question: PositiveInt = Field(4, description="of votes and better answers; rankings bring all of theirs")
    trust: TrustSettings = TrustSettings()


class Identity(Config):
    """The settings and which votes they were applied to."""

    votes: str


def run(config: Config, workspace: Workspace) -> Artifact:
    champion = workspace.champion()
    elsewhere = champion is not None and came_from_elsewhere(workspace, champion)
    inputs = [] if elsewhere else [deciding_evaluation(workspace)]
    votes, ranked, compared = workspace.feedback.votes(), workspace.feedback.ranked(), workspace.feedback.compared()
    restored, distrusted = workspace.standings.people("restored"), workspace.standings.people("distrusted")
    # Who may promote a model by hand need not be kept from teaching it: a small team's owner says most of what is said.
    trusted = restored | workspace.users.operators() - distrusted
    changes = {name: Changes(*counts) for name, counts in workspace.feedback.changed().items()}
    weighed = weigh(votes, ranked, compared, config.trust, trusted, distrusted, changes)
    settings = Identity(**config.model_dump(), votes=weighed.digest())
    if done := unchanged(workspace, "harvest", settings, inputs, VERSION):
        return done
    with workspace.publish("harvest", settings, inputs, version=VERSION) as out:
        sources = [{"message_id": one.message_id, "vote_id": one.vote_id, "edit_id": one.edit_id} for one in votes]
        sources += [{"message_id": one.question_id, "ranking_id": one.id} for one in ranked]
        sources += [{"message_id": one.question_id, "comparison_id": one.id} for one in compared]
        _write(sources, out.path / SOURCES)
        # From now on whoever deletes something hears of this harvest. What went before that, it must not hold.
        if not read_by(out.path) <= judgements(workspace):
            raise HomeroomError("judgements were deleted or taken back while they were read: harvest again")
        _write(weighed.aside, out.path / SET_ASIDE)
        asked = [question for evaluation in inputs for question in evaluation_questions(evaluation)]
        reaped = harvest(
            weighed.votes,
            [question.prompt for question in asked],
            config.deciding if elsewhere else config.heldout,
            lambda question: share(question, "harvest"),
            config.pairs_per_question,
            [name for evaluation in inputs for name in _names(workspace.artifacts.get(evaluation.inputs[0]), asked)],
            judge=config.judge if elsewhere else 0.0,
            weights=weighed.weights,
            choices=weighed.choices,
        )
        save_lessons(reaped.pairs, out.path / PAIRS)
        save_lessons(reaped.thumbs, out.path / THUMBS)
        up = sum(vote.value > 0 for vote in votes)
        out.metrics = {
            "answers": len(votes),
            "up": up,
            "down": len(votes) - up,
            "better_answers": sum(vote.better_answer is not None for vote in votes),
            "rankings": len(ranked),
            "comparisons": len(compared),
            "pairs": len(reaped.pairs),
            "thumbs": len(reaped.thumbs),
            "questions": dict(reaped.questions.items()),
            "lone": reaped.lone,
            "excluded": reaped.excluded,
            **weighed.figures(),
        }
    judged = f"{len(votes)} judged answers" + "".join(
        f", {len(some)} {name}" for name, some in (("rankings", ranked), ("comparisons", compared)) if some
    )
    say("harvest", f"{len(reaped.pairs)} pairs out of {judged} → {out.artifact.id}")
    if weighed.aside:
        reasons = Counter(str(row["reason"]) for row in weighed.aside)
        told = ", ".join(f"{count} {reason}" for reason, count in sorted(reasons.items()))
        say("harvest", f"set aside: {told}. `homeroom feedback set-aside` shows whose, and restores them")
    return out.artifact


def judgements(workspace: Workspace) -> set[str]:
    """All that may be learned from, by ids; a vote with a better answer is one, and with another answer another one."""
    said = workspace.feedback
    votes = {f"{one.vote_id} {one.edit_id}" for one in said.votes()}
    return votes | {one.id for one in said.ranked()} | {one.id for one in said.compared()}


def read_by(harvest: Path) -> set[str]:
    """The judgements that the harvest in this folder read, by the same ids."""
    path = harvest / SOURCES
    rows = map(json.loads, path.read_text(encoding="utf-8").splitlines() if path.is_file() else ())
    return {
        row.get("ranking_id") or row.get("comparison_id") or f"{row.get('vote_id')} {row.get('edit_id')}"
        for row in rows
    }


def _write(rows: Iterable[Mapping[str, Json]], path: Path) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def _names(cleaned: Artifact, asked: Sequence[Question]) -> list[str]:
    """The idioms and functions that questions are about."""
    about = {question.document_id for question in asked}
    documents = read_documents(cleaned.path / "documents.parquet", kinds=("idiom", "function"))
    return [name_of(document) for document in documents if document.id in about]
