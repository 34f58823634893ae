"""How likely a model finds text: bits per byte of documents, and which of several continuations it prefers.

Bits per byte compares models with different tokenizers, and with a file compressor: `xz_bits_per_byte` is
what `xz -9e` needs for the same text. Which documents are held out is decided by others.
Shapes: B batch, T time, D width.
"""

import lzma
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeVar

import torch

from homeroom.inference.engine import Engine
from homeroom.inference.prefixes import WORTH, shared
from homeroom.inference.request import Choice, Request, Sampling
from homeroom.models.compiled import CompiledGPT
from homeroom.models.gpt import GPT
from homeroom.models.logprobs import token_log_probs
from homeroom.models.padding import pad_rows
from homeroom.text.tokenizer import Tokenizer

BATCH_TOKENS = 8192
BATCH_NUMBERS = 2**21  # in the hidden states of what is read at once: 8,192 tokens of 256
Item = TypeVar("Item")


@dataclass(frozen=True)
class Score:
    """What one text cost: nats under the model, and its size in UTF-8 bytes."""

    nats: float
    bytes: int


@dataclass(frozen=True)
class _Window:
    text: int  # whose cost it adds to
    token_ids: list[int]
    first: int  # the first token that is scored; those before it are context


@torch.inference_mode()
def score_texts(
    model: GPT,
    tokenizer: Tokenizer,
    texts: Sequence[str],
    *,
    batch_tokens: int | None = None,
    on_texts: Callable[[int], None] | None = None,
) -> list[Score]:
    """The cost of each text as a document of its own, in windows where it is longer than the model's context.

    Every token is scored exactly once. A later window scores its last three quarters, so no token but a
    document's first ones is predicted from less than a quarter of the context.
    """
    nats = [0.0] * len(texts)
    windows = [
        window
        for index, token_ids in enumerate(tokenizer.encode_batch(texts))
        for window in _windows(index, [tokenizer.document_id, *token_ids], model.config.max_length)
    ]
    limit = batch_tokens or BATCH_NUMBERS // model.config.width
    for batch in batches(windows, lambda window: len(window.token_ids), limit):
        tokens_BT = pad_rows([window.token_ids for window in batch], tokenizer.pad_id)
        scored_BT = torch.zeros(tokens_BT.shape, dtype=torch.bool)
        for row, window in enumerate(batch):
            scored_BT[row, window.first - 1 : len(window.token_ids) - 1] = True
        hidden_BTD = model.hidden(tokens_BT)
        targets_N = tokens_BT.roll(-1, 1)[scored_BT]
        logprobs_N, _ = token_log_probs(hidden_BTD[scored_BT], model.head.weight, targets_N)
        per_window = torch.split(-logprobs_N.double(), [len(window.token_ids) - window.first for window in batch])
        for window, costs in zip(batch, per_window, strict=True):
            nats[window.text] += float(costs.sum())
        if on_texts is not None:
            on_texts(sum(window.first == 1 for window in batch))
    return [Score(cost, len(text.encode("utf-8", "replace"))) for cost, text in zip(nats, texts, strict=True)]


def bits_per_byte(scores: Sequence[Score]) -> float:
    """Of all texts as one: long texts weigh more than short ones."""
    size = sum(score.bytes for score in scores)
    if size == 0:
        raise ValueError("bits per byte need at least one byte of text")
    return sum(score.nats for score in scores) / math.log(2) / size


def bits_per_byte_by_language(scores: Sequence[Score], languages: Sequence[str]) -> dict[str, float]:
    """`all`, and each language on its own."""
    grouped: dict[str, list[Score]] = {"all": list(scores)}
    for score, language in zip(scores, languages, strict=True):
        grouped.setdefault(language, []).append(score)
    return {name: bits_per_byte(group) for name, group in grouped.items() if sum(score.bytes for score in group)}


def xz_bits_per_byte(texts: Sequence[str], primed_with: Sequence[str] = ()) -> float:
    """What `xz -9e` needs for the texts; primed: how much the archive of `primed_with` grows by them.

    The dictionary is widened to hold all of the priming text, otherwise xz would forget its beginning.
    """
    text, primer = _joined(texts), _joined(primed_with)
    if not text:
        raise ValueError("bits per byte need at least one byte of text")
    return 8 * (_xz_bytes(primer + text) - (_xz_bytes(primer) if primer else 0)) / len(text)


def choice_logprobs(
    model: GPT | CompiledGPT,
    prompts: Sequence[Sequence[int]],
    choices: Sequence[Sequence[Choice]],
    *,
    batch_tokens: int = BATCH_TOKENS,
    on_prompts: Callable[[int], None] | None = None,
) -> list[list[float]]:
    """log p(scored | prompt, given) for each prompt's choices, by the Engine.

    It reads a prompt once for all its choices, and what prompts begin with once for all of them. Raises ValueError for
    a prompt that overflows the context with one of its choices, and for one without a token.
    """
    requests = [
        Request(str(number), list(prompt), Sampling(max_tokens=0), choices=options)
        for number, (prompt, options) in enumerate(zip(prompts, choices, strict=True))
    ]
    alike = any(shared(one, other) >= WORTH for one, other in pairwise(sorted(map(list, prompts))))
    # A batch runs at once, so that its budget bounds what the cache takes.
    engine = Engine(model, end_id=(), slots=max(1, len(requests)), prefix_tokens=batch_tokens if alike else 0)
    scores: dict[str, list[float]] = {}
    for batch in batches(requests, lambda request: request.length, batch_tokens):
        scores |= {done.request_id: list(done.choices) for done in engine.generate(batch)}
        if on_prompts is not None:
            on_prompts(len(batch))
    return [scores[request.id] for request in requests]


def batches(items: Sequence[Item], length: Callable[[Item], int], budget: int) -> Iterator[list[Item]]:
    """Items of like length together, at most `budget` tokens with padding, longest first."""
    batch: list[Item] = []
    longest = 0
    for item in sorted(items, key=length, reverse=True):
        if batch and longest * (len(batch) + 1) > budget:
            yield batch
            batch = []
        if not batch:
            longest = length(item)
        batch.append(item)
    if batch:
        yield batch


def _windows(text: int, token_ids: list[int], context: int) -> Iterator[_Window]:
    """Consecutive pieces that overlap by a quarter; each scores what no piece before it did."""
    begin, scored = 0, 1
    while scored < len(token_ids):
        piece = token_ids[begin : begin + context]
        yield _Window(text, piece, scored - begin)
        scored = begin + len(piece)
        begin = scored - context // 4


def _joined(texts: Sequence[str]) -> bytes:
    return "\n".join(texts).encode("utf-8", "replace")


def _xz_bytes(data: bytes) -> int:
    widest = max(64 << 20, 1 << max(1, len(data) - 1).bit_length())
    filters = [{"id": lzma.FILTER_LZMA2, "preset": 9 | lzma.PRESET_EXTREME, "dict_size": min(widest, 1536 << 20)}]
    return len(lzma.compress(data, format=lzma.FORMAT_XZ, filters=filters))
