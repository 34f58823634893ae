"""How likely a model finds text: bits per byte of documents, and which of several continuations it prefers.

Bits per byte compares models with different tokenizers, and with a file compressor: `xz_bits_per_byte` is
what `xz -9e` needs for the same text. Which documents are held out is decided by others.
Shapes: B batch, T time, S slots, D width, V vocabulary.
"""

import lzma
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor

from homeroom.models.gpt import GPT
from homeroom.models.kv_cache import CacheView
from homeroom.models.logprobs import token_log_probs
from homeroom.models.padding import pad_rows
from homeroom.text.tokenizer import Tokenizer

BATCH_TOKENS = 8192
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
    batch_tokens: int = BATCH_TOKENS,
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
    for batch in batches(windows, lambda window: len(window.token_ids), batch_tokens):
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


@dataclass(frozen=True)
class Choice:
    """One way to go on: `scored` is what counts, after `given` (empty: the choice itself is what counts)."""

    scored: Sequence[int]
    given: Sequence[int] = ()

    @property
    def token_ids(self) -> list[int]:
        return [*self.given, *self.scored]


@torch.inference_mode()
def choice_logprobs(
    model: GPT,
    prompts: Sequence[Sequence[int]],
    choices: Sequence[Sequence[Choice]],
    *,
    batch_tokens: int = BATCH_TOKENS,
    on_prompts: Callable[[int], None] | None = None,
) -> list[list[float]]:
    """log p(scored | prompt, given) for each prompt's choices.

    What all prompts begin with is read once, and a prompt once for all its choices: each choice is written over
    the one before in the same slots of the cache, and no query looks beyond its own position.
    """
    if len(prompts) != len(choices):
        raise ValueError(f"{len(prompts)} prompts need as many lists of choices, given {len(choices)}")
    for prompt, options in zip(prompts, choices, strict=True):
        longest = len(prompt) + max(len(option.token_ids) for option in options)
        if not prompt or not all(option.scored for option in options):
            raise ValueError("a prompt and each of its choices need at least one token")
        if longest > model.config.max_length:
            raise ValueError(f"a prompt with its choice has {longest} tokens, the context {model.config.max_length}")
    shared = common_prefix(prompts)
    scores: list[list[float]] = [[] for _ in prompts]
    for batch in batches(range(len(prompts)), lambda i: len(prompts[i]), batch_tokens):
        rows = _score_choices(model, shared, [prompts[i] for i in batch], [choices[i] for i in batch])
        for index, row in zip(batch, rows, strict=True):
            scores[index] = row
        if on_prompts is not None:
            on_prompts(len(batch))
    return scores


def _score_choices(
    model: GPT, shared: int, prompts: Sequence[Sequence[int]], choices: Sequence[Sequence[Choice]]
) -> list[list[float]]:
    slots = len(prompts)
    longest = max(
        len(prompt) + max(len(option.token_ids) for option in options)
        for prompt, options in zip(prompts, choices, strict=True)
    )
    cache = model.new_cache(slots, longest)
    slots_S = torch.arange(slots)
    lengths_S = torch.tensor([len(prompt) for prompt in prompts])
    if shared:
        view = CacheView(cache, slots_S[:1], torch.arange(shared)[None], shared, first_slots=1)
        model.hidden(torch.tensor([list(prompts[0][:shared])]), cache=view)
        for table in (*cache.keys, *cache.values):
            table[1:, :, :shared] = table[:1, :, :shared]

    def read(rows: list[list[int]], starts_S: Tensor) -> Tensor:
        """Hidden states of `rows`, each from its own start; padding lands where no query that counts looks."""
        tokens_ST = pad_rows(rows)
        positions_ST = (starts_S[:, None] + torch.arange(tokens_ST.shape[1])).clamp(max=longest - 1)
        extent = int(positions_ST.max()) + 1
        return model.hidden(tokens_ST, cache=CacheView(cache, slots_S, positions_ST, extent, first_slots=slots))

    rest_STD = read([list(prompt[shared:]) for prompt in prompts], torch.full((slots,), shared))
    last_S1D = rest_STD[slots_S, lengths_S - shared - 1][:, None]
    scores: list[list[float]] = [[] for _ in prompts]
    for number in range(max(map(len, choices))):
        # A prompt with fewer choices repeats its last one, and the result is not used.
        chosen = [options[min(number, len(options) - 1)] for options in choices]
        # Each token is predicted from the one before it, the first from the prompt's last.
        hidden_STD = torch.cat((last_S1D, read([option.token_ids for option in chosen], lengths_S)), dim=1)
        scored_ST = torch.zeros(hidden_STD.shape[:2], dtype=torch.bool)
        for slot, option in enumerate(chosen):
            scored_ST[slot, len(option.given) : len(option.token_ids)] = True
        targets_N = torch.tensor([token for option in chosen for token in option.scored])
        logprobs_N, _ = token_log_probs(hidden_STD[scored_ST], model.head.weight, targets_N)
        per_slot = torch.split(logprobs_N.double(), [len(option.scored) for option in chosen])
        for row, options, costs in zip(scores, choices, per_slot, strict=True):
            if number < len(options):
                row.append(float(costs.sum()))
    return scores


def common_prefix(rows: Sequence[Sequence[int]]) -> int:
    """How many first tokens all rows share, short of the shortest row's last: something is left to read."""
    if not rows:
        return 0
    limit = min(map(len, rows)) - 1
    first = rows[0]
    for position in range(limit):
        if any(row[position] != first[position] for row in rows):
            return position
    return limit


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
