"""pretrain: the base model learns to predict the next token of the cleaned text."""

import json
import math
from dataclasses import asdict
from typing import Literal, Self

import torch
from pydantic import Field, PositiveFloat, PositiveInt, ValidationError, model_validator

from homeroom import planner
from homeroom.data.batches import PackedTokens
from homeroom.data.documents import read_documents
from homeroom.data.shards import Shards
from homeroom.files import write_atomically
from homeroom.models import gpt, induction
from homeroom.models.precision import dtype_name, measure_peak
from homeroom.progress import progress, say
from homeroom.settings import Probability
from homeroom.stages import checkpoints
from homeroom.stages.following import Samples, shown
from homeroom.stages.lookup import unchanged
from homeroom.text.tokenizer import Tokenizer
from homeroom.training.loop import RunState, train
from homeroom.training.objectives.next_token import NextToken
from homeroom.training.settings import TrainingSettings
from homeroom.training.throughput import tokens_per_second
from homeroom.workspace import Artifact, Draft, Workspace

VERSION = 2
PROMPTS = ("成语：", "画蛇添足", "The function", "def ")


class Config(TrainingSettings):
    """The model's shape and how it is trained. What the size dial derives can be set here all the same."""

    style: Literal["llama", "gpt2"] = "llama"
    depth: PositiveInt = 4
    width: PositiveInt = 256
    heads: PositiveInt = 4
    kv_heads: PositiveInt | None = None
    hidden: PositiveInt | None = None
    tied: bool = False
    induction: bool = Field(True, description="begin with a head that copies, where the shape has room for one")
    max_length: PositiveInt = 256
    tokens: PositiveInt = Field(2_000_000, description="how many are read; more than there are means several epochs")
    minutes: PositiveFloat | None = Field(
        None,
        description="a limit: on a machine too slow for `tokens`, what it reads in this time, without validation",
    )
    batch_tokens: PositiveInt = Field(8192, description="tokens per optimizer step, in whole rows")
    micro_tokens: PositiveInt = Field(4096, description="tokens per forward: bounds memory, changes no result")
    warmup: Probability = 0.02
    decay: Probability = 0.5
    validate_every: PositiveInt = Field(40, description="steps between validations and samples")
    validation_documents: PositiveInt = 120

    @model_validator(mode="after")
    def _is_a_shape(self) -> Self:
        """Hours before the model would find out."""
        try:
            gpt.Config(**asdict(shape_of(self, vocab_size=1)))
        except ValidationError as error:
            raise ValueError(error.errors()[0]["msg"].removeprefix("Value error, ")) from None
        return self

    @property
    def rows(self) -> int:
        return max(1, self.batch_tokens // self.max_length)

    @property
    def step_tokens(self) -> int:
        """`batch_tokens` in whole rows: what a step reads."""
        return self.rows * self.max_length

    @property
    def micro_rows(self) -> int:
        return max(1, self.micro_tokens // self.max_length)


def run(config: Config, workspace: Workspace) -> Artifact:
    """Train from random weights, or go on where a killed run stood."""
    cleaned, tokenized = workspace.latest("clean"), workspace.latest("tokenize")
    if done := unchanged(workspace, "pretrain", config, [cleaned, tokenized], VERSION):
        return done
    tokenized.check()
    tokenizer = Tokenizer.load(tokenized.path)
    shards = Shards(tokenized.path, "train")
    shape = shape_of(config, tokenizer.vocab_size)
    with workspace.publish("pretrain", config, [cleaned, tokenized], VERSION) as draft:
        torch.manual_seed(config.seed)
        model = gpt.GPT(gpt.Config(**asdict(shape)))
        if config.induction and induction.has_room(model.config):
            induction.wire(model)
        source = PackedTokens(
            shards,
            length=config.max_length,
            rows=config.rows,
            micro_rows=config.micro_rows,
            seed=config.seed,
        )
        peak = measure_peak()
        steps = _planned_steps(config, model, draft)
        held = list(read_documents(cleaned.path / "documents.parquet", split="validation"))
        samples = Samples(draft, tokenizer, PROMPTS)
        with progress("pretrain", steps) as bar:
            follow = samples.validation(held[: config.validation_documents])

            def each_step(state: RunState) -> None:
                draft.log(
                    state.step,
                    loss=state.metrics["loss"],
                    learning_rate=state.metrics["learning_rate"] * config.learning_rate,
                    gradient_norm=state.metrics["gradient_norm"],
                    tokens_per_second=state.tokens_per_second,
                )
                bar.update(state.step, **shown(state), **samples.latest)

            state = train(
                model,
                NextToken(),
                source,
                config.loop_settings(steps),
                hooks=[(1, each_step), (config.validate_every, follow), (config.validate_every, samples.write)],
                checkpoint=draft.path / "scratch-run.safetensors",
                on_start=samples.restart,
            )
        checkpoints.save(model, tokenizer, draft.path)
        precision = state.precision
        rate = state.tokens / state.seconds
        flops = planner.flops_per_token(shape)
        draft.metrics |= {
            "parameters": sum(p.numel() for p in model.parameters()),
            "tokens": state.tokens,
            "epochs": round(source.shuffle.epoch, 3),
            "steps": state.step,
            "tokens_per_second": rate,
            "precision": dtype_name(precision),
            "matmul_peak_gflops": peak.of(precision) / 1e9,
            "mfu": rate * flops / peak.of(precision),
            "validation_bits_per_byte": samples.bits_per_byte,
            "loss": state.metrics["loss"],
            "samples": samples.file.read(),
        }
    bits = draft.artifact.metrics["validation_bits_per_byte"]
    say("pretrain", f"{state.tokens:,} tokens at {rate:,.0f}/s, {bits:.3f} bits per byte → {draft.artifact.path}")
    return draft.artifact


def shape_of(config: Config, vocab_size: int) -> planner.Shape:
    keys = config.model_dump()
    return planner.shape_of({**keys, "vocab_size": vocab_size}, keys)


def _planned_steps(config: Config, model: gpt.GPT, draft: Draft) -> int:
    """The run's length, settled once: a resumed run must not measure again and come to another one."""
    plan = draft.path / "scratch-plan.json"
    if plan.exists():
        return int(json.loads(plan.read_text())["steps"])
    tokens = config.tokens
    if config.minutes is not None:
        rate = tokens_per_second(
            model,
            config.loop_settings(10_000),
            length=config.max_length,
            rows=config.rows,
            micro_rows=config.micro_rows,
        )
        tokens = min(tokens, planner.tokens_for(config.minutes * 60, rate, config.step_tokens))
        if tokens < config.tokens:
            say(
                "pretrain", f"{rate:,.0f} tokens/s here: {tokens:,} of {config.tokens:,} fit {config.minutes:g} minutes"
            )
    steps = max(1, math.ceil(tokens / config.step_tokens))
    write_atomically(plan, json.dumps({"steps": steps}))
    return steps
