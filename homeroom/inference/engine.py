"""The engine: many answers at once from one model, with a KV cache and continuous batching.

Evaluation, PPO and serving all generate through it. It reads a module's weights at every step, so a policy that is
being trained is sampled as it stands; whoever changes weights does so while the engine is idle. It is not thread-safe:
one thread owns it. Text and templates belong to the caller.
Shapes: M requests that get a token in a step, N tokens read in it, T time, D width, V vocabulary.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import replace
from itertools import islice

import torch
from torch import Tensor

from homeroom.inference.decoder import decoder_of
from homeroom.inference.prefixes import WORTH, Prefixes, shared
from homeroom.inference.request import Completion, Event, FinishReason, Request, TokenScore
from homeroom.inference.sampling import penalize, sample, uniforms
from homeroom.inference.scheduler import Running, Scheduler
from homeroom.models.compiled import CompiledGPT
from homeroom.models.gpt import GPT
from homeroom.models.kv_cache import SHORTEST, Piece

SLOTS = 128  # where nobody waits: of 64, 128 and 256 what samples fastest on two cores
_SCORED_AT_ONCE = 64  # positions: (64, V) logits are enough to be fast and few enough to be small


class Engine:
    """Generation with `slots` answers running at once, in the number format of the products around `step`.

    `end_id`, or any of several, ends an answer. `max_length` bounds prompt plus answer; by default it is the model's
    context. At most `chunk` tokens of prompts are read in a step, so that a long prompt does not hold up others' next
    words; None reads every prompt at once. `prefix_tokens` of ended requests are kept, and prompts that begin like them
    or like a running one read on from there; 0 reads every prompt whole.
    """

    def __init__(
        self,
        model: GPT | CompiledGPT,
        *,
        end_id: int | Collection[int],
        slots: int = SLOTS,
        max_length: int | None = None,
        chunk: int | None = None,
        prefix_tokens: int = 0,
    ) -> None:
        self.decoder = decoder_of(model)
        self.end_ids = frozenset((end_id,) if isinstance(end_id, int) else end_id)
        self.max_length = min(max_length or model.config.max_length, model.config.max_length)
        self.scheduler = Scheduler(slots)
        self.prefixes = Prefixes(prefix_tokens)
        self.reused = 0  # tokens of prompts that were not read again
        self._chunk, self._admitted = chunk, 0
        self._cache = self.decoder.new_cache(1, min(SHORTEST, self.max_length))

    @property
    def idle(self) -> bool:
        return self.scheduler.idle

    def submit(self, request: Request) -> None:
        """Queue a request. Raises ValueError for an empty prompt, one that leaves no room, a token id outside the
        vocabulary, a position to score from that is not in the prompt, choices that are empty or that are not all that
        is asked for, or a request id in use."""
        length, wants = len(request.prompt_ids), request.sampling.max_tokens > 0
        if request.choices and (wants or not all(choice.scored for choice in request.choices)):
            raise ValueError(
                f"request {request.id!r}: each choice needs a token that is scored, and max_tokens must be 0"
            )
        if length == 0 or request.length > self.max_length - wants:
            what = "prompt with its longest choice" if length and request.choices else "prompt"
            raise ValueError(
                f"request {request.id!r}: the {what} has {length and request.length} tokens; "
                f"1 to {self.max_length - wants} fit a context of {self.max_length}"
            )
        # Here, because in step() it would end the answers of everybody else too.
        read = [*request.prompt_ids, *(token for choice in request.choices for token in choice.token_ids)]
        low, high = min(read), max(read)
        if low < 0 or high >= self.decoder.config.vocab_size:
            raise ValueError(
                f"request {request.id!r}: the {'request' if request.choices else 'prompt'} has token id "
                f"{low if low < 0 else high}; 0 to {self.decoder.config.vocab_size - 1} are in the vocabulary"
            )
        if request.score_from is not None and not 0 < request.score_from <= length:
            raise ValueError(f"request {request.id!r}: score_from is {request.score_from}; 1 to {length} can be scored")
        self.scheduler.submit(request)

    def cancel(self, request_id: str) -> Event | None:
        """End a request now; its slot is free for the next step. None when it is not here (any more)."""
        if self.scheduler.drop_waiting(request_id):
            return Event(request_id, None, 0.0, "cancelled")
        slot = self.scheduler.slot_of(request_id)
        if slot is None:
            return None
        self._release(slot)
        return Event(request_id, None, 0.0, "cancelled")

    @torch.inference_mode()
    def step(self, at_once: int = 1) -> list[Event]:
        """One token, or one choice, for every request whose prompt is read; waiting ones are let in first, so many
        `at_once`."""
        self._admit(at_once)
        if self.prefixes.room:
            self.prefixes.at_version(self.decoder.version)
        pieces = self._pieces()
        if not pieces:
            return []
        self._cache.reserve(len(self.scheduler.running), max(piece.end for piece in pieces))
        with self.decoder.quietly():
            return self._events(pieces, self.decoder.read(self._cache, pieces))

    def generate(
        self, requests: Sequence[Request], on_finish: Callable[[Completion], None] | None = None
    ) -> list[Completion]:
        """All answers, in the order of the requests; what `on_finish` cancels comes back as "cancelled".

        Raises RuntimeError when the engine is already at work. After any exception it is idle again.
        """
        if not self.idle:
            raise RuntimeError("generate() needs an idle engine; submit() joins a running one")
        made = {request.id: Completion(request.id, [], [], "cancelled") for request in requests}
        try:
            for request in requests:
                self.submit(request)
            # Nobody waits for a first word here, and one large prefill costs less than many small ones.
            at_once = max(1, self.scheduler.slots // 8)
            while not self.scheduler.idle:  # a step that reads a part of a prompt tells nothing
                for event in self.step(at_once):
                    so_far = made[event.request_id]
                    if event.token_id is not None:
                        so_far.token_ids.append(event.token_id)
                        so_far.logprobs.append(event.logprob)
                    if event.prompt or event.finish_reason is not None:
                        reason, prompt = event.finish_reason or so_far.finish_reason, event.prompt or so_far.prompt
                        made[event.request_id] = replace(
                            so_far, finish_reason=reason, prompt=prompt, choices=event.choices
                        )
                    if event.finish_reason is not None and on_finish is not None:
                        on_finish(made[event.request_id])
        except BaseException:
            for name in made:
                self.cancel(name)
            raise
        return list(made.values())

    def give_back(self) -> None:
        """Let go of the room for answers, until something is asked again. Raises RuntimeError when it is at work."""
        if not self.idle:
            raise RuntimeError("give_back() needs an idle engine: answers stand in what it would let go of")
        self._begin_cache()

    def _begin_cache(self) -> None:
        self._cache = self.decoder.new_cache(1, min(SHORTEST, self.max_length))
        self.prefixes.at_version(-1)

    def _admit(self, at_once: int) -> None:
        running = self.scheduler.running
        if not running and not self.decoder.fits(self._cache):
            self._begin_cache()
        for request in self.scheduler.admit(at_once):
            numbers = uniforms(request.sampling.seed, self._most_tokens(request)).tolist()
            running.append(Running(request, numbers, number=self._admitted))
            self._admitted += 1
        self._cache.reserve(len(running), 1)

    def _pieces(self) -> list[Piece]:
        """What is read in this step: each answer's last token, a choice, and prompts, the longest waiting first."""
        running = self.scheduler.running
        pieces = [Piece(slot, run.length, run.next_ids) for slot, run in enumerate(running) if run.next_ids]
        room = self._chunk or sum(len(run.request.prompt_ids) for run in running)
        reading: list[list[int]] = []
        new = sorted((run.number, slot) for slot, run in enumerate(running) if not run.next_ids)
        for _, slot in new:
            run = running[slot]
            prompt = run.request.prompt_ids
            if run.read == 0 and self.prefixes.room and not self._take_over(slot, reading):
                continue
            if room <= 0:
                break
            piece = Piece(slot, run.read, prompt[run.read : run.read + room])
            pieces.append(piece)
            reading.append(prompt[: piece.end])
            room -= len(piece.token_ids)
        return pieces

    def _take_over(self, slot: int, reading: Sequence[Sequence[int]]) -> bool:
        """What another request has read of the same beginning, into this slot. False: there will be more to take over
        in the next step, from one that is `reading`."""
        run = self.scheduler.running[slot]
        prompt = run.request.prompt_ids
        # The last token is read in any case: from it the next one follows. So is what stands before a scored one.
        wanted = prompt[: min(len(prompt), run.request.score_from or len(prompt)) - 1]
        best, held = self.prefixes.longest(wanted)
        source = None
        for other, candidate in enumerate(self.scheduler.running):
            common = shared(wanted, candidate.cached_ids) if other != slot else 0
            if common > best:
                best, source = common, other
        best = best if best >= WORTH else 0
        if any(shared(wanted, other) >= best + WORTH for other in reading):
            return False
        if not best:
            return True
        self._cache.reserve(len(self.scheduler.running), best)
        if source is not None:
            self._cache.move(source, slot, best)
        elif held is not None:
            self._cache.put(slot, held, best)
        run.read = best
        self.reused += best
        return True

    def _events(self, pieces: Sequence[Piece], hidden_ND: Tensor) -> list[Event]:
        """Scores of prompts and choices, and a token for every request that has read its prompt to the end."""
        slots, rows, first = [], [], 0
        chosen: list[tuple[Running, int, Tensor]] = []
        for piece in pieces:
            run = self.scheduler.running[piece.slot]
            last = first + len(piece.token_ids) - 1
            hidden_TD = hidden_ND[first : last + 1]
            if run.unread:
                chosen.append((run, run.unread.pop(0), torch.cat((run.last_1D, hidden_TD))))
            elif not run.token_ids:
                self._score_prompt(run, piece, hidden_TD)
                run.read = piece.end
                if run.read == len(run.request.prompt_ids):
                    chosen += self._begin_choices(run, hidden_TD[-1:])
            if run.read == len(run.request.prompt_ids) and not run.unread:
                slots.append(piece.slot)
                rows.append(last)
            first = last + 1
        self._score_choices(chosen)
        return self._pick(slots, hidden_ND[rows]) if slots else []

    def _begin_choices(self, run: Running, last_1D: Tensor) -> Iterator[tuple[Running, int, Tensor]]:
        """Those of one token need nothing but the prompt's last hidden state; the others are read, one in a step.

        Each is written over the one before in the same slot: no query looks beyond its own position.
        """
        run.last_1D = last_1D.clone()  # the rest of the step is not to be kept for it
        for number, choice in enumerate(run.request.choices):
            if len(choice.token_ids) > 1:
                run.unread.append(number)
            else:
                yield run, number, run.last_1D

    def _score_choices(self, chosen: Sequence[tuple[Running, int, Tensor]]) -> None:
        """What each is worth. The hidden states are those that its tokens follow."""
        choices = [run.request.choices[number] for run, number, _ in chosen]
        if not choices:
            return
        rows = [hidden_TD[len(choice.given) :] for choice, (_, _, hidden_TD) in zip(choices, chosen, strict=True)]
        scores = iter(self._scores(torch.cat(rows), [token for choice in choices for token in choice.scored]))
        for choice, (run, number, _) in zip(choices, chosen, strict=True):
            run.worth[number] = sum(score.logprob for score in islice(scores, len(choice.scored)))

    def _score_prompt(self, run: Running, piece: Piece, hidden_TD: Tensor) -> None:
        """Log-probabilities of the prompt's tokens that follow those of this piece."""
        if run.request.score_from is None:
            return
        begin = max(piece.start, run.request.score_from - 1)
        end = min(piece.end, len(run.request.prompt_ids) - 1)
        hidden_ND = hidden_TD[begin - piece.start : max(begin, end) - piece.start]
        run.scores += self._scores(hidden_ND, run.request.prompt_ids[begin + 1 : end + 1], run.request.top)

    def _scores(self, hidden_ND: Tensor, token_ids: Sequence[int], top: int = 0) -> Iterator[TokenScore]:
        for start in range(0, len(token_ids), _SCORED_AT_ONCE):
            rows = slice(start, start + _SCORED_AT_ONCE)
            yield from _scored(self.decoder.logits(hidden_ND[rows]), token_ids[rows], top)

    def _pick(self, slots: Sequence[int], hidden_MD: Tensor) -> list[Event]:
        runs = [self.scheduler.running[slot] for slot in slots]
        wanting = [row for row, run in enumerate(runs) if run.request.sampling.max_tokens > 0]
        scores = dict(zip(wanting, self._next([runs[row] for row in wanting], hidden_MD[wanting]), strict=True))
        events, ended = [], []
        for row, (slot, run) in enumerate(zip(slots, runs, strict=True)):
            prompt = tuple(run.scores) if not run.token_ids else ()
            if row in scores:
                run.token_ids.append(scores[row].token_id)
                reason = self._finish_reason(run)
                events.append(
                    Event(run.request.id, scores[row].token_id, scores[row].logprob, reason, scores[row].top, prompt)
                )
            else:
                reason = "length"
                choices = tuple(run.worth[number] for number in range(len(run.request.choices)))
                events.append(Event(run.request.id, None, 0.0, reason, prompt=prompt, choices=choices))
            if reason is not None:
                ended.append(slot)
        for slot in sorted(ended, reverse=True):  # from the back: a slot that moves is one that goes on
            self._release(slot)
        return events

    def _next(self, runs: Sequence[Running], hidden_MD: Tensor) -> list[TokenScore]:
        """The tokens that are picked, with what the model itself thinks of them."""
        if not runs:
            return []
        own_MV = self.decoder.logits(hidden_MD)
        logits_MV = own_MV
        settings = [run.request.sampling for run in runs]
        if any(s.repetition_penalty != 1.0 for s in settings) or any(run.request.constraint for run in runs):
            logits_MV = own_MV.clone()
            penalize(logits_MV, [run.request.prompt_ids + run.token_ids for run in runs], settings)
            for row, run in enumerate(runs):
                if run.request.constraint is not None:
                    logits_MV[row].masked_fill_(~run.request.constraint.allowed(), float("-inf"))
        # float64: in float32 a number just below 1 becomes 1, which picks a token of probability 0.
        drawn = [run.uniforms[len(run.token_ids)] for run in runs]
        uniform_M = torch.tensor(drawn, dtype=torch.float64, device=self.decoder.device)
        picked = sample(logits_MV, settings, uniform_M).tolist()
        for run, token_id in zip(runs, picked, strict=True):
            if run.request.constraint is not None:
                run.request.constraint.accept(token_id)
        scored = _scored(own_MV, picked, max(run.request.top for run in runs))
        # As many alternatives as each asked for, whatever its company did.
        return [replace(one, top=one.top[: run.request.top]) for one, run in zip(scored, runs, strict=True)]

    def _finish_reason(self, run: Running) -> FinishReason | None:
        if run.token_ids[-1] in self.end_ids:
            return "stop"
        return "length" if len(run.token_ids) >= self._most_tokens(run.request) else None

    def _most_tokens(self, request: Request) -> int:
        return min(request.sampling.max_tokens, self.max_length - len(request.prompt_ids))

    def _release(self, slot: int) -> None:
        run = self.scheduler.running[slot]
        if self.prefixes.room and WORTH <= run.length <= self.prefixes.room:
            self.prefixes.keep(run.cached_ids, self._cache.hold(slot, run.length))
        moved = self.scheduler.release(slot)
        if moved is not None:
            source, target = moved
            self._cache.move(source, target, self.scheduler.running[target].length)


def _scored(logits_NV: Tensor, token_ids: Sequence[int], top: int) -> list[TokenScore]:
    """Log-probabilities at temperature 1 and before any filter."""
    log_probs_NV = torch.log_softmax(logits_NV, dim=1)
    index_N1 = torch.tensor(token_ids, device=logits_NV.device)[:, None]
    logprobs = log_probs_NV.gather(1, index_N1)[:, 0].tolist()
    if not top:
        return [TokenScore(token, logprob) for token, logprob in zip(token_ids, logprobs, strict=True)]
    best_NK, order_NK = log_probs_NV.topk(min(top, log_probs_NV.shape[1]), dim=1)
    tops = (tuple(zip(ids, best, strict=True)) for ids, best in zip(order_NK.tolist(), best_NK.tolist(), strict=True))
    return [TokenScore(*each) for each in zip(token_ids, logprobs, tops, strict=True)]
