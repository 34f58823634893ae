"""teach: a champion that came from elsewhere learns from what people said of its answers, and meets the gate.

One round is whole: a judge learns from questions set apart, the champion learns from the others, and both answer
questions that neither has seen. Large models learn low-rank adapters on frozen weights, which are folded in at the end;
small ones all of their weights. Models of the circle, which its evaluation knows, are `improve`'s business.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Annotated, Self, get_args

import numpy as np
from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt, model_validator

from homeroom.data.batches import TokensInMemory
from homeroom.data.preferences import PAIRS, THUMBS, Pair, Split, Thumb, load_pairs, load_thumbs
from homeroom.evaluation.answers import answerable
from homeroom.evaluation.asking import questions_asked
from homeroom.evaluation.gate import Bar, early, gate
from homeroom.evaluation.heldout import library_prose, rehearsed
from homeroom.evaluation.reward_guard import RewardBar
from homeroom.evaluation.reward_hacking import Limits
from homeroom.evaluation.suite import Early, Measured, Suite
from homeroom.inference.request import Sampling
from homeroom.memory import release
from homeroom.models.adapters import AdapterSettings
from homeroom.models.checkpoint import SETTINGS, read_settings
from homeroom.models.compiled import CompiledGPT
from homeroom.models.gpt import GPT
from homeroom.models.heads import RewardModel
from homeroom.progress import progress, say
from homeroom.settings import Json, NothingToLearn, Probability
from homeroom.stages import checkpoints, compress
from homeroom.stages.adapting import Base, Contests, Qualified, RewardSettings, qualified, reward_model
from homeroom.stages.decisions import enact, outcome, say_decisions
from homeroom.stages.lookup import champion, is_compressed, made_before
from homeroom.stages.measuring import answers_changed, measured_once, task_digests, task_items
from homeroom.stages.ppo import NotQualified, PolicySettings
from homeroom.stages.remembering import Memory
from homeroom.stages.rewarded import by_reward, look_of
from homeroom.stages.seeds import best_of_seeds
from homeroom.stages.watching import Judge, WatchSettings
from homeroom.tasks.base import Question
from homeroom.text.tokenizer import Tokenizer
from homeroom.training.optimizers import OptimizerKind
from homeroom.training.rollouts import RolloutSettings
from homeroom.training.settings import TextSettings
from homeroom.training.teaching import Course, Lessons, Method, Rehearsal, TeachingSettings, choose
from homeroom.workspace import Artifact, Draft, Workspace

VERSION = 9
REHEARSED = 0.3  # megabytes


class Config(TeachingSettings):
    """How a champion learns from people, and what the result must show."""

    optimizer: OptimizerKind = "adamw"
    learning_rate: PositiveFloat = 1e-3
    warmup: Probability = 0.1
    decay: Probability = 0.5
    adapters: AdapterSettings = AdapterSettings()
    whole: bool | None = Field(None, description="learn all weights; default: of models under 30 million parameters")
    judge: RewardSettings = RewardSettings()
    # Of what people like, three quarters are more than many a true taste comes to.
    reward: RewardSettings = RewardSettings(bar=RewardBar(accuracy=0.5))
    policy: PolicySettings = Field(
        PolicySettings(
            rollouts=RolloutSettings(iterations=8, episodes=32, max_tokens=100, micro_rows=4),
            # What people want may well be shorter answers. Of eight looks six in a row are a trend: by chance so many
            # fall one after the other once in 720 times.
            watch=WatchSettings(
                judge_every=1,
                questions=16,
                limits=Limits(length_share=5, windows=(6, 8), judge_by_chance=2e-3),
            ),
            learning_rate=2e-4,
            warmup=0.1,
            text=TextSettings(rows=2, weight=0.1),
        ),
        description="of ppo, which begins with what sft makes of the written answers where there are enough",
    )
    questions: PositiveInt = Field(200, description="at most so many held-out questions decide")
    temperature: Annotated[float, Field(ge=0, le=2)] = 0.7
    max_tokens: PositiveInt = 100
    rehearsal: Rehearsal = Field(
        Rehearsal(), description="prose of Python's own library beside dpo, kto and sft ([teach.policy.text]: ppo)"
    )
    text_megabytes: PositiveFloat = Field(0.03, description="held-out text, on which bits per byte are measured")
    forget: NonNegativeFloat = Field(
        0.015, description="so much worse may other text be predicted after learning; beyond it some is taken back"
    )
    gate: Bar = Bar(questions=30)
    tasks: tuple[str, ...] = Field((), description="files of multiple-choice questions that it must not get worse at")
    tasks_sha256: tuple[str, ...] = Field((), description="filled in: a name may come to mean other questions")
    inverted: bool = Field(False, description="a control: learn the opposite of what people meant; never promoted")
    shown: PositiveInt = 6

    @model_validator(mode="after")
    def _enough_are_asked(self) -> Self:
        if self.questions < self.gate.questions:
            raise ValueError(
                f"questions is {self.questions}, but gate.questions {self.gate.questions}: nothing could be promoted"
            )
        return self


def run(config: Config, workspace: Workspace) -> Artifact:
    """Teach the champion, and promote what comes of it or refuse it. Raises NothingToLearn."""
    config = config.model_copy(update={"tasks_sha256": task_digests(config.tasks)})
    harvest = workspace.latest("harvest")
    if done := made_before(workspace, "teach", config, harvest, VERSION):
        enact(done, workspace)
        return done
    before = champion(workspace)
    pairs, thumbs = load_pairs(harvest.path / PAIRS), load_thumbs(harvest.path / THUMBS)
    sides = {side: Lessons.of(pairs, thumbs, side) for side in get_args(Split)}
    _, why = choose(config, sides["train"])
    say("teach", why)
    asked = _asked(config, before, [*sides["heldout"].thumbs, *sides["heldout"].pairs])
    with workspace.publish("teach", config, [harvest, before], VERSION) as draft:
        draft.metrics |= _round(config, workspace, before, sides, asked, draft)
    release()  # what answers people is compressed yet, and there were three models
    say_decisions("teach", enact(draft.artifact, workspace))
    return draft.artifact


def _round(
    config: Config,
    workspace: Workspace,
    before: Artifact,
    sides: Mapping[Split, Lessons],
    asked: Sequence[Question],
    draft: Draft,
) -> dict[str, Json]:
    """Judge, learn, measure and decide: the weights lie in the draft then, and this is what it came to."""
    base = Base.of(before, config, config.whole, draft, compressed=is_compressed(workspace, before.id))
    heldout = base.contests(sides["heldout"], config.judge.seed)
    judge, judged = _judge(config, base, sides["judge"], heldout, draft)
    look = partial(look_of, judge, config.policy, base, sides["judge"])
    suite = replace(_suite(config, base, judge, asked, draft.id), tasks=task_items(config.tasks))
    measured_before = _measured(suite, base, before.id, "champion", draft, base.plain)
    lessons, apart = (sides[side].inverted() if config.inverted else sides[side] for side in ("train", "judge"))
    method, why = choose(config, sides["train"])
    try:
        learned, figures = _learn(config, base, method, lessons, apart, heldout, look, draft)
    except NotQualified as reason:
        if config.method != "auto":
            raise
        method, why = choose(config, sides["train"], without=method)
        why += f" ({reason})"
        say("teach", why)
        learned, figures = _learn(config, base, method, lessons, apart, heldout, look, draft)
    remembered = _memory(config, base).keep(learned)
    checkpoints.save(learned, base.tokenizer, draft.path)
    ends = early(measured_before, config.gate)
    after = _measured(suite, base, draft.id, "teach", draft, lambda: learned, ends)
    verdict = gate(after, measured_before, config.gate, compress.latency(learned, before, workspace, config.gate.doubt))
    objections = ["the lessons were inverted, as a control"] if config.inverted else []
    if not judged.passed:
        objections.append(f"the judge does not qualify: {judged.reason}")
    return {
        **outcome(draft.id, verdict, measured_before, after, objections, before.id),
        "method": method,
        "why": why,
        "judge": judged.figures(),
        **figures,
        "remembered": remembered,
        "evaluation_before": measured_before.answering_as(after).figures(),
        "answers": answers_changed(config.shown, suite, measured_before, after),
    }


def _judge(
    config: Config, base: Base, lessons: Lessons, heldout: Contests, draft: Draft
) -> tuple[RewardModel, Qualified]:
    """A reward model of what was said of the questions set apart for it, and how it does on the held-out ones."""
    contested = base.contests(lessons, config.judge.seed)
    if len(contested) < config.judge.minimum_pairs:
        raise NothingToLearn(
            f"{len(contested)} contests of two answers were set apart for a judge, which needs "
            f"{config.judge.minimum_pairs}: vote on more answers, or write better ones."
        )
    judge = reward_model(config.judge, config.adapters, base, contested, draft, "judge")
    return judge, qualified(judge, heldout, contested, config.judge, base)


def _learn(
    config: Config,
    base: Base,
    method: Method,
    lessons: Lessons,
    apart: Lessons,
    heldout: Contests,
    look: Callable[[], Judge | None],
    draft: Draft,
) -> tuple[GPT, dict[str, Json]]:
    """Raises NotQualified where there would have to be a reward model and is none."""
    text, context = _text(config, base), base.model.config.max_length

    def beside(course: Course) -> Course:
        return config.rehearsal.beside(course, text, context, config.seed)

    if method != "ppo":
        model, figures = best_of_seeds(config, config.adapters, base, method, lessons, apart, draft, beside=beside)
        return base.folded(model), figures
    model, begun = base.learner(config.adapters), None
    if len(lessons.written) >= config.minimum_lessons:
        # As in InstructGPT (Ouyang et al. 2022, §3.1): what the champion never says cannot be rewarded.
        model, begun = best_of_seeds(
            config, config.adapters, base, "sft", lessons, apart, draft, beside=beside, curves=False
        )
    learned, figures = by_reward(
        config.policy, config.reward, config.adapters, base, lessons, heldout, model, look(), draft, config.seeds, text
    )
    return base.folded(learned), {**figures, "begun_with": begun}


def _text(config: Config, base: Base) -> TokensInMemory:
    """What is read beside lessons: none of what is measured on, or decides how much of what was learned is kept."""
    documents = rehearsed(config.text_megabytes, config.text_megabytes / 2, REHEARSED)
    ids = base.tokenizer.encode_batch([document.text for document in documents])
    return TokensInMemory(np.concatenate([[base.tokenizer.document_id, *one] for one in ids]).astype(np.int64))


def _memory(config: Config, base: Base) -> Memory:
    text = [document.text for document in library_prose(config.text_megabytes / 2, validation=True)]
    return Memory(base.plain(), base.tokenizer, text, config.forget, base.dtype)


def _asked(config: Config, before: Artifact, heldout: Sequence[Thumb | Pair]) -> list[Question]:
    """What decides: first, for too little could promote nothing, whatever is learned. Raises NothingToLearn then."""
    context = read_settings(before.path / SETTINGS).max_length
    every = questions_asked(heldout, len(heldout))
    asked = answerable(every, context, Tokenizer.load(before.path), config.max_tokens)
    if len(asked) < config.gate.questions:
        raise NothingToLearn(
            f"{len(asked)} questions that people asked are held out and leave room for an answer of "
            f"{config.max_tokens} tokens in a context of {context}; the gate asks {config.gate.questions} "
            "([teach.gate].questions), so that nothing could be promoted. Vote on answers to more questions: of those "
            "that begin a conversation, without a system message before them, [harvest].deciding says what share is "
            "held out."
        )
    return asked[: config.questions]


def _suite(config: Config, base: Base, judge: RewardModel, asked: Sequence[Question], name: str) -> Suite:
    text = library_prose(config.text_megabytes)
    return Suite(
        name=name,
        judge=judge,
        tokenizer=base.tokenizer,
        texts=[document.text for document in text],
        languages=[document.language for document in text],
        questions=asked,
        cloze={},
        sampling=Sampling(temperature=config.temperature, max_tokens=config.max_tokens),
        dtype=base.dtype,
        seed=config.seed,
    )


def _measured(
    suite: Suite,
    base: Base,
    name: str,
    stage: str,
    draft: Draft,
    load: Callable[[], GPT],
    ends: Early | None = None,
) -> Measured:
    """With the answers of the form in which it is served."""

    def loaded() -> tuple[GPT, Tokenizer, CompiledGPT | None]:
        model = load()
        answering = compress.answering(model, base.compressed)
        return model, base.tokenizer, answering if isinstance(answering, CompiledGPT) else None

    with progress(f"teach (measuring {stage})", suite.work(stage)) as bar:
        return measured_once(suite, name, stage, draft.path, loaded, lambda what, n: bar.advance(n, now=what), ends)
