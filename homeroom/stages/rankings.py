"""rankings: constructed orders of K answers to a question, for the reward model, for the judge, and to check both.

The starter data has no human rankings; `homeroom.tasks.rankings` says by which rules these are built.
"""

import random
from collections import Counter
from typing import Annotated, Self, cast

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveInt, model_validator

from homeroom.data.documents import read_documents
from homeroom.data.rankings import Part, save_rankings
from homeroom.evaluation.answers import answerable, generate_answers
from homeroom.inference.request import Sampling
from homeroom.models.precision import Precision, products_for
from homeroom.progress import progress, say
from homeroom.settings import Frozen, HomeroomError, Json
from homeroom.stages import checkpoints
from homeroom.stages.lookup import unchanged
from homeroom.tasks.base import Question, sample, unseen
from homeroom.tasks.questions import MIX, Mix, questions
from homeroom.tasks.rankings import MOST_OWN, OtherAnswers, OwnAnswer, Ranking, build_ranking
from homeroom.text.tokenizer import Tokenizer
from homeroom.workspace import Artifact, Workspace

VERSION = 6


class Config(Frozen):
    """How many questions are ranked for each use, and how many answers each has."""

    reward_questions: PositiveInt = 1200
    judge_questions: PositiveInt = 1200
    validation_questions: PositiveInt = Field(300, description="unseen by every model; they qualify reward and judge")
    answers: Annotated[int, Field(ge=4)] = Field(5, description="K, answers per question")
    own_answers: Annotated[int, Field(ge=0, le=MOST_OWN)] = Field(2, description="of them sampled from the model")
    temperature: NonNegativeFloat = 1.0
    max_tokens: PositiveInt = 64
    precision: Precision = "auto"
    mix: Mix = MIX
    seed: NonNegativeInt = 0

    @model_validator(mode="after")
    def _leave_room_for_the_right_answer(self) -> Self:
        if self.own_answers >= self.answers:
            raise ValueError(
                f"own_answers is {self.own_answers}, but of {self.answers} answers one is right: "
                f"at most {self.answers - 1} are allowed"
            )
        return self


def run(config: Config, workspace: Workspace) -> Artifact:
    """Build and keep them; the model's own answers are sampled from the SFT model."""
    cleaned, sft = workspace.latest("clean"), workspace.latest("sft")
    if done := unchanged(workspace, "rankings", config, [cleaned, sft], VERSION):
        return done
    with workspace.publish("rankings", config, [cleaned, sft], VERSION) as draft:
        model, tokenizer = checkpoints.load(sft), Tokenizer.load(sft.path)
        documents = cleaned.path / "documents.parquet"
        train_documents = list(read_documents(documents, split="train"))
        pools: dict[Part, list[Question]] = {
            "reward": questions(train_documents, "reward"),
            "judge": questions(train_documents, "judge"),
            "validation": questions(read_documents(documents, split="validation")),
        }
        pools["validation"] = unseen(pools["validation"], [*pools["reward"], *pools["judge"]])
        counts = (config.reward_questions, config.judge_questions, config.validation_questions)
        rankings: dict[Part, list[Ranking]] = {}
        with (
            products_for(config.precision, model),
            progress("rankings", sum(counts) * config.own_answers) as bar,
        ):
            for (part, pool), count in zip(pools.items(), counts, strict=True):
                pool = answerable(pool, model.config.max_length, tokenizer, config.max_tokens)
                chosen = sample(pool, count, f"rankings {config.seed}", config.mix)
                own: dict[str, list[OwnAnswer]] = {question.id: [] for question in chosen}
                sampling = Sampling(temperature=config.temperature, max_tokens=config.max_tokens)
                for number in range(config.own_answers):
                    for said in generate_answers(
                        model, tokenizer, chosen, sampling, config.seed + number, on_answer=lambda _: bar.advance()
                    ):
                        own[said.question_id].append(OwnAnswer(said.text, said.ended, list(said.token_ids)))
                others, rng = OtherAnswers(pool), random.Random(f"{config.seed} {part}")
                rankings[part] = [
                    build_ranking(question, others, own[question.id], rng, config.answers) for question in chosen
                ]
        everything = [ranking for made in rankings.values() for ranking in made]
        if not everything:
            raise HomeroomError(
                f"no question that serves rankings can be made of the documents of {cleaned.id} and leaves room for "
                f"an answer of {config.max_tokens} tokens in a context of {model.config.max_length}, so there is "
                "nothing to rank. Collect more idioms, functions or dialogues (rows with messages), lower "
                "[rankings].max_tokens, or give weight to more kinds in [rankings].mix."
            )
        save_rankings(rankings, draft.path)
        kinds = Counter(answer.kind for ranking in everything for answer in ranking.answers)
        draft.metrics |= {
            "questions": len(everything),
            "parts": {part: len(made) for part, made in rankings.items()},
            "answers": sum(kinds.values()),
            "pairs": sum(len(ranking.pairs()) for ranking in everything),
            "kinds": dict(kinds),
            "constructed": True,
            "examples": cast(Json, [_example(ranking) for ranking in rankings["validation"][:3]]),
        }
    made = draft.artifact.metrics
    say("rankings", f"{made['questions']:,} questions, {made['pairs']:,} pairs, constructed → {draft.artifact.path}")
    return draft.artifact


def _example(ranking: Ranking) -> dict[str, object]:
    places = {tier: place for place, tier in enumerate(sorted({answer.tier for answer in ranking.answers}), start=1)}
    return {
        "question": ranking.question.prompt,
        "answers": [{"text": a.text, "tier": places[a.tier], "kind": a.kind} for a in ranking.answers],
    }
