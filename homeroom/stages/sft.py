"""sft: the base model learns to answer from demonstrations, packed so that none sees its neighbours."""

import random
from collections.abc import Sequence

from pydantic import Field, PositiveFloat, PositiveInt

from homeroom.data.batches import Conversation, PackedConversations
from homeroom.data.documents import read_documents
from homeroom.progress import progress, say
from homeroom.settings import HomeroomError, Probability
from homeroom.stages import checkpoints
from homeroom.stages.following import Samples, shown
from homeroom.stages.lookup import unchanged
from homeroom.tasks.base import Question, sample
from homeroom.tasks.questions import MIX, Mix, questions
from homeroom.text.chat_template import answers_in, render
from homeroom.text.tokenizer import Tokenizer
from homeroom.training.loop import RunState, mean_loss, train
from homeroom.training.objectives.next_token import NextToken
from homeroom.training.settings import TrainingSettings
from homeroom.workspace import Artifact, Workspace

VERSION = 3
PROMPTS = (
    "画蛇添足是什么意思？",
    "How is the idiom 守株待兔 pronounced?",
    "What does the Python function json.dumps do?",
    "你好",
    "Who are you?",
)


class Config(TrainingSettings):
    """How many demonstrations are learned from, and how."""

    examples: PositiveInt = Field(12_000, description="demonstrations, spread over the kinds of question by `mix`")
    mix: Mix = MIX
    turns: PositiveInt = Field(
        3, description="most questions in a conversation; half of them ask one, or the second would be answered badly"
    )
    epochs: PositiveFloat = 1.0
    rows: PositiveInt = Field(4, description="packed rows per optimizer step")
    micro_rows: PositiveInt = 8
    learning_rate: PositiveFloat = 3e-3
    warmup: Probability = 0.03
    validate_every: PositiveInt = 40


def run(config: Config, workspace: Workspace) -> Artifact:
    """Fine-tune the base model on the demonstrations of the documents set apart for it."""
    cleaned, base = workspace.latest("clean"), workspace.latest("pretrain")
    if done := unchanged(workspace, "sft", config, [cleaned, base], VERSION):
        return done
    tokenizer = Tokenizer.load(base.path)
    with workspace.publish("sft", config, [cleaned, base], VERSION) as draft:
        model = checkpoints.load(base)
        documents = cleaned.path / "documents.parquet"
        chosen = sample(questions(read_documents(documents, split="train"), "sft"), config.examples, "sft", config.mix)
        length = model.config.max_length
        demonstrations = conversations(chosen, tokenizer, length, config.turns, config.seed)
        held = conversations(
            sample(questions(read_documents(documents, split="validation")), 200, "sft", config.mix), tokenizer, length
        )
        if not demonstrations or not held:
            raise HomeroomError(
                f"no question can be made of the {'validation' if demonstrations else 'training'} documents of "
                f"{cleaned.id}, so there is nothing to learn answering from. Collect idioms, functions or dialogues "
                "(rows with messages), or raise [clean].validation."
            )
        answers = sum(answers_in(row.learn) for row in demonstrations)
        source = PackedConversations(
            demonstrations, length=length, rows=config.rows, micro_rows=config.micro_rows, seed=config.seed
        )
        steps = max(1, round(config.epochs * len(source.bins) / config.rows))
        check = next(iter(PackedConversations(held, length=length, rows=24, micro_rows=24)))[0]
        samples = Samples(draft, tokenizer, PROMPTS, chat=True)
        losses: list[float] = []
        with progress("sft", steps) as bar:

            def each_step(state: RunState) -> None:
                draft.log(
                    state.step,
                    loss=state.metrics["loss"],
                    learning_rate=state.metrics["learning_rate"] * config.learning_rate,
                )
                bar.update(state.step, **shown(state))

            def validate(state: RunState) -> None:
                losses.append(mean_loss(model, NextToken(), [check]))
                draft.log(state.step, validation_loss=losses[-1])

            state = train(
                model,
                NextToken(),
                source,
                config.loop_settings(steps),
                hooks=[(1, each_step), (config.validate_every, validate), (config.validate_every, samples.write)],
                checkpoint=draft.path / "scratch-run.safetensors",
                on_start=samples.restart,
            )
        checkpoints.save(model, tokenizer, draft.path)
        draft.metrics |= {
            "examples": answers,
            "conversations": len(demonstrations),
            "steps": state.step,
            "epochs": round(source.shuffle.epoch, 3),
            "learned_tokens": sum(sum(row.learn) for row in demonstrations),
            "kinds": {kind: sum(question.kind == kind for question in chosen) for kind in sorted(config.mix)},
            "loss": state.metrics["loss"],
            "validation_loss": losses[-1],
            "samples": samples.file.read(),
        }
    say("sft", f"{answers:,} demonstrations, validation loss {losses[-1]:.3f} → {draft.artifact.path}")
    return draft.artifact


def conversations(
    chosen: Sequence[Question], tokenizer: Tokenizer, length: int, turns: int = 1, seed: int = 0
) -> list[Conversation]:
    """Demonstrations as token ids, without those that do not fit the context.

    Half of the conversations have one question, the others 2 … `turns` that have nothing to do with each other, or as
    many of them as fit. Every answer is learned.
    """
    rng = random.Random(seed)
    made: list[Conversation] = []
    said: list[dict[str, str]] = []  # in the newest conversation
    wanted = 0  # questions that it still waits for
    for question in chosen:
        exchange = [{"role": "user", "content": question.prompt}, {"role": "assistant", "content": question.reference}]
        row = render(exchange, tokenizer)
        if len(row.token_ids) > length:
            continue
        longer = render([*said, *exchange], tokenizer) if wanted else None
        if longer and len(longer.token_ids) <= length:
            said += exchange
            made[-1] = Conversation(longer.token_ids, longer.learn)
            wanted -= 1
        else:
            said = exchange
            made.append(Conversation(row.token_ids, row.learn))
            wanted = rng.randint(1, turns - 1) if turns > 1 and rng.random() < 0.5 else 0
    return made
