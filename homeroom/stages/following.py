"""What training stages watch while they train: validation bits per byte, and samples a person can read.

Samples draw their random numbers from their own seeds, so watching a run does not change it.
"""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import cast

import torch

from homeroom.data.documents import Document
from homeroom.evaluation.likelihood import bits_per_byte, score_texts
from homeroom.files import write_atomically
from homeroom.inference.engine import Engine
from homeroom.inference.request import Request, Sampling
from homeroom.models.gpt import GPT
from homeroom.settings import Json
from homeroom.text.chat_template import render
from homeroom.text.tokenizer import Tokenizer
from homeroom.training.loop import Hook, RunState
from homeroom.workspace import Draft


def shown(state: RunState) -> dict[str, str]:
    """What the progress bar shows of a step."""
    return {"loss": f"{state.metrics['loss']:.3f}", "rate": f"{state.tokens_per_second:,.0f} tok/s"}


class SampleFile:
    """Samples of a run, a JSON line each, every one with the step that it was made after."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def write(self, samples: Iterable[dict[str, Json]]) -> None:
        with self.path.open("a", encoding="utf-8") as file:
            file.writelines(json.dumps(sample, ensure_ascii=False) + "\n" for sample in samples)

    def read(self) -> list[Json]:
        """All of them; a line that a kill cut off is left out."""
        if not self.path.exists():
            return []
        lines = self.path.read_bytes().splitlines(keepends=True)
        return [json.loads(line) for line in lines if line.endswith(b"\n")]

    def forget_after(self, step: int) -> None:
        """Keep the samples up to this step. The file is replaced whole, or not at all."""
        kept = [sample for sample in self.read() if cast(dict[str, int], sample)["step"] <= step]
        write_atomically(self.path, "".join(json.dumps(sample, ensure_ascii=False) + "\n" for sample in kept))


class Samples:
    """Continuations of a few prompts, written down along the way; chat prompts are put to the assistant."""

    def __init__(
        self, draft: Draft, tokenizer: Tokenizer, prompts: Sequence[str], *, chat: bool = False, max_tokens: int = 48
    ) -> None:
        self.draft, self.tokenizer, self.prompts = draft, tokenizer, prompts
        self.file = SampleFile(draft.path / "samples.jsonl")
        self.latest: dict[str, str] = {}
        self.bits_per_byte: float | None = None
        self.max_tokens = max_tokens
        self.rows = [
            render([{"role": "user", "content": prompt}], tokenizer, for_generation=True).token_ids
            if chat
            else [tokenizer.document_id, *tokenizer.encode(prompt)]
            for prompt in prompts
        ]

    def restart(self, step: int) -> None:
        """Forget curves and samples from after this step: they will be made again."""
        self.draft.truncate_log(step)
        self.file.forget_after(step)

    def write(self, state: RunState) -> None:
        """A hook: sample now."""
        model = language_model(state.model)
        engine = Engine(model, end_id=self.tokenizer.end_ids, slots=len(self.rows), max_length=128)
        requests = [
            Request(str(index), row, Sampling(temperature=0.8, top_p=0.95, max_tokens=self.max_tokens, seed=index))
            for index, row in enumerate(self.rows)
        ]
        self.file.write(
            {"step": state.step, "prompt": prompt, "text": self.tokenizer.decode(completion.token_ids)}
            for prompt, completion in zip(self.prompts, engine.generate(requests), strict=True)
        )

    def validation(self, documents: Sequence[Document]) -> Hook:
        """A hook that measures bits per byte on these documents."""

        def validate(state: RunState) -> None:
            with torch.no_grad():
                scores = score_texts(language_model(state.model), self.tokenizer, [d.text for d in documents])
            self.bits_per_byte = bits_per_byte(scores)
            self.latest = {"bits/byte": f"{self.bits_per_byte:.3f}"}
            self.draft.log(state.step, validation_bits_per_byte=self.bits_per_byte)

        return validate


def language_model(module: torch.nn.Module) -> GPT:
    """The GPT that is trained, alone or inside of a policy with a value head."""
    inner = getattr(module, "policy", module)
    assert isinstance(inner, GPT)
    return inner
