"""Whether a seed gives the same answer whatever else is in the batch: answers alone against answers in company.

An int8 model holds that to the bit. In a live module's floats the order of additions depends on the batch, so that a
choice between two all but equal tokens may tip. Such a difference is told from a mistake by the float noise, measured
with nobody else there: a mistake that company makes, however small, is no part of its own excuse.
Shapes: T tokens of an answer, V vocabulary.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from homeroom.inference.decoder import Decoder, decoder_of
from homeroom.inference.engine import SLOTS, Engine
from homeroom.inference.request import Request
from homeroom.inference.sampling import penalize, sample, uniforms
from homeroom.models.compiled import CompiledGPT
from homeroom.models.gpt import GPT
from homeroom.models.kv_cache import Piece

_ARRIVALS = 3  # requests that come in one step, at most


@dataclass(frozen=True)
class Company:
    """`tokens` were compared: each answer's, up to the first that differs. Of the `different` answers `explained` are
    those whose pick float noise may tip.

    `noise` is the largest difference of a logit between ways of reading the answers alone, `apart` between alone
    and in company.
    """

    requests: int
    tokens: int
    different: int
    explained: int
    noise: float
    apart: float


@dataclass(frozen=True)
class _Answer:
    """What was said alone, and the logits that each token was picked from, before penalties."""

    token_ids: list[int]
    logits_TV: Tensor


@dataclass(frozen=True)
class _Difference:
    place: int
    token_id: int  # picked in company
    logits_V: Tensor
    apart: float


@torch.inference_mode()
def in_company(
    model: GPT | CompiledGPT,
    requests: Sequence[Request],
    *,
    end_id: int | Sequence[int] = (),
    slots: int = SLOTS,
    chunk: int | None = None,
    prefix_tokens: int = 0,
    seed: int = 0,
) -> Company:
    """Answer each request alone, then all in one engine with the settings given, into which they come in random order
    at random times. All logits said alone are kept: 4 bytes for each token and each word of the vocabulary.

    Raises ValueError for a request whose answer does not depend on its seed alone, and for one that asks for none.
    """
    for request in requests:
        sampling = request.sampling
        seeded = sampling.seed is not None or sampling.temperature == 0
        if not seeded or sampling.max_tokens == 0 or request.constraint is not None:
            raise ValueError(
                f"request {request.id!r}: to be asked twice it needs a seed (or temperature 0) and max_tokens above 0, "
                "and no constraint, which remembers what was said"
            )
    alone = {request.id: _alone(model, request, end_id) for request in requests}
    noise = max((_noise(model, request, alone[request.id]) for request in requests), default=0.0)

    asked = {request.id: request for request in requests}
    said = dict.fromkeys(asked, 0)
    found: dict[str, _Difference] = {}
    apart, tokens = 0.0, 0
    engine = Engine(model, end_id=end_id, slots=slots, chunk=chunk, prefix_tokens=prefix_tokens)
    for name, token_id, logits_V in _picks(engine, requests, np.random.default_rng(seed)):
        if name in found:  # what follows was said behind other words
            continue
        place, answer = said[name], alone[name]
        said[name] += 1
        tokens += 1
        here = _largest(logits_V - answer.logits_TV[place])
        apart = max(apart, here)
        if token_id != answer.token_ids[place]:
            found[name] = _Difference(place, token_id, logits_V.clone(), here)
    for name, answer in alone.items():
        # An answer ends with what was said, so that equal ones are equally long.
        assert name in found or said[name] == len(answer.token_ids)
    explained = sum(_explained(asked[name], alone[name], difference, noise) for name, difference in found.items())
    return Company(len(requests), tokens, len(found), explained, noise, apart)


def _alone(model: GPT | CompiledGPT, request: Request, end_id: int | Sequence[int]) -> _Answer:
    _, token_ids, logits_TV = zip(*_picks(Engine(model, end_id=end_id, slots=1), [request]), strict=True)
    return _Answer(list(token_ids), torch.stack(logits_TV))


def _noise(model: GPT | CompiledGPT, request: Request, answer: _Answer) -> float:
    """How far the logits go apart when the same words are read in one piece, or in two, instead of one by one."""
    decoder = decoder_of(model)
    read, largest = [*request.prompt_ids, *answer.token_ids[:-1]], 0.0
    for middle in {0, len(read) // 2}:
        cache = decoder.new_cache(1, len(read))
        parts = [Piece(0, start, read[start:end]) for start, end in ((0, middle), (middle, len(read))) if start < end]
        hidden_ND = torch.cat([decoder.read(cache, [part]) for part in parts])
        logits_TV = decoder.logits(hidden_ND[len(request.prompt_ids) - 1 :])
        largest = max(largest, _largest(logits_TV - answer.logits_TV))
    return largest


def _explained(request: Request, answer: _Answer, difference: _Difference, noise: float) -> bool:
    """Whether noise alone made the pick in company.

    The logits of both readings must be within twice the noise of each other, because either may be as far from the
    exact ones, and those in company, with the request's own random number and nobody else's, must give that pick. Then
    the number stands no farther from the boundary between the two tokens than noise moves it, whatever was filtered.
    Of two greedy picks the logits themselves must be nearer than the noise.
    """
    sampling, place = request.sampling, difference.place
    both_2V = torch.stack((answer.logits_TV[place], difference.logits_V))
    seen = request.prompt_ids + answer.token_ids[:place]
    penalize(both_2V, [seen, seen], [sampling, sampling])
    number = torch.from_numpy(uniforms(sampling.seed, place + 1)[-1:])
    if int(sample(both_2V[1:], [sampling], number)) != difference.token_id or difference.apart > 2 * noise:
        return False
    if sampling.temperature > 0:
        return True
    return _largest(both_2V[:, answer.token_ids[place]] - both_2V[:, difference.token_id]) < noise


def _picks(
    engine: Engine, requests: Sequence[Request], random: np.random.Generator | None = None
) -> Iterator[tuple[str, int, Tensor]]:
    """Every request's tokens, each with the logits (V,) that the model gave for it. Without `random` all come at once
    and in order."""
    overheard = _Overheard(engine.decoder)
    engine.decoder = cast(Decoder, overheard)
    waiting = list(requests) if random is None else [requests[number] for number in random.permutation(len(requests))]
    for step in count():
        # A third at first, so that there is company from the beginning.
        first = len(requests) // 3 if step == 0 else 0
        coming = len(waiting) if random is None else first + int(random.integers(_ARRIVALS + 1))
        for request in waiting[:coming]:
            engine.submit(request)
        del waiting[:coming]
        events = [event for event in engine.step() if event.token_id is not None]
        if events:
            for event, logits_V in zip(events, overheard.last_NV, strict=True):
                assert event.token_id is not None
                yield event.request_id, event.token_id, logits_V
        if not waiting and engine.idle:
            return


class _Overheard:
    """A decoder, and the last logits that were asked of it: a step ends with those that its tokens are picked from."""

    def __init__(self, decoder: Decoder) -> None:
        self._decoder = decoder
        self.last_NV = torch.empty(0)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._decoder, name)

    def logits(self, hidden_ND: Tensor) -> Tensor:
        self.last_NV = self._decoder.logits(hidden_ND)
        return self.last_NV


def _largest(values: Tensor) -> float:
    return float(values.abs().max())
