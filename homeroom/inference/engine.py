"""The engine: many answers at once from one model, with a KV cache and continuous batching.

Evaluation, PPO and serving all generate through it. It reads a module's weights at every step, so a policy that is
being trained is sampled as it stands; whoever changes weights does so while the engine is idle. It is not thread-safe:
one thread owns it. Text and templates belong to the caller.
Shapes: M requests that get a token in a step, N tokens read in it, T time, D width, V vocabulary.
"""

from collections.abc import Callable, Collection, Sequence

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
_SCORED_AT_ONCE = 64  # positions of a prompt: (64, V) logits are enough to be fast and few enough to be small


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
        vocabulary, a position to score from that is not in the prompt, or a request id in use."""
        length, wants = len(request.prompt_ids), request.sampling.max_tokens > 0
        if not 0 < length < self.max_length + (not wants):
            raise ValueError(
                f"request {request.id!r}: the prompt has {length} tokens; 1 to {self.max_length - wants} fit a context "
                f"of {self.max_length}"
            )
        # Here, because in step() it would end the answers of everybody else too.
        low, high = min(request.prompt_ids), max(request.prompt_ids)
        if low < 0 or high >= self.decoder.config.vocab_size:
            raise ValueError(
                f"request {request.id!r}: the prompt has token id {low if low < 0 else high}; "
                f"0 to {self.decoder.config.vocab_size - 1} are in the vocabulary"
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
        """One token for every request whose prompt is read, waiting ones being let in first, so many `at_once`."""
        self._admit(at_once)
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
                        done = Completion(so_far.request_id, so_far.token_ids, so_far.logprobs, reason, prompt)
                        made[event.request_id] = done
                    if event.finish_reason is not None and on_finish is not None:
                        on_finish(made[event.request_id])
        except BaseException:
            for name in made:
                self.cancel(name)
            raise
        return list(made.values())

    def _admit(self, at_once: int) -> None:
        running = self.scheduler.running
        if not running and not self.decoder.fits(self._cache):
            self._cache = self.decoder.new_cache(1, min(SHORTEST, self.max_length))
            self.prefixes.at_version(-1)
        for request in self.scheduler.admit(at_once):
            numbers = uniforms(request.sampling.seed, self._most_tokens(request)).tolist()
            running.append(Running(request, numbers, number=self._admitted))
            self._admitted += 1
        self._cache.reserve(len(running), 1)

    def _pieces(self) -> list[Piece]:
        """What is read in this step: every answer's last token, and prompts, the longest waiting first."""
        running = self.scheduler.running
        pieces = [Piece(slot, run.length, run.token_ids[-1:]) for slot, run in enumerate(running) if run.token_ids]
        room = self._chunk or sum(len(run.request.prompt_ids) for run in running)
        reading: list[list[int]] = []
        unread = sorted((run.number, slot) for slot, run in enumerate(running) if not run.token_ids)
        for _, slot in unread:
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
        # Single tokens first, as decoders expect them.
        return sorted(pieces, key=lambda piece: len(piece.token_ids) > 1)

    def _take_over(self, slot: int, reading: Sequence[Sequence[int]]) -> bool:
        """What another request has read of the same beginning, into this slot. False: there will be more to take over
        in the next step, from one that is `reading`."""
        run = self.scheduler.running[slot]
        prompt = run.request.prompt_ids
        # The last token is read in any case: from it the next one follows. So is what stands before a scored one.
        wanted = prompt[: min(len(prompt), run.request.score_from or len(prompt)) - 1]
        self.prefixes.at_version(self.decoder.version)
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
        """Scores of prompts, and a token for every request that has read its prompt to the end."""
        slots, rows, first = [], [], 0
        for piece in pieces:
            run = self.scheduler.running[piece.slot]
            last = first + len(piece.token_ids) - 1
            if not run.token_ids:
                self._score_prompt(run, piece, hidden_ND[first : last + 1])
                run.read = piece.end
            if run.read == len(run.request.prompt_ids):
                slots.append(piece.slot)
                rows.append(last)
            first = last + 1
        return self._pick(slots, hidden_ND[rows]) if slots else []

    def _score_prompt(self, run: Running, piece: Piece, hidden_TD: Tensor) -> None:
        """Log-probabilities of the prompt's tokens that follow those of this piece."""
        if run.request.score_from is None:
            return
        begin = max(piece.start, run.request.score_from - 1)
        end = min(piece.end, len(run.request.prompt_ids) - 1)
        for start in range(begin, end, _SCORED_AT_ONCE):
            stop = min(start + _SCORED_AT_ONCE, end)
            logits_NV = self.decoder.logits(hidden_TD[start - piece.start : stop - piece.start])
            run.scores += _scored(logits_NV, run.request.prompt_ids[start + 1 : stop + 1], run.request.top)

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
                events.append(Event(run.request.id, None, 0.0, reason, prompt=prompt))
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
        return _scored(own_MV, picked, max(run.request.top for run in runs))

    def _finish_reason(self, run: Running) -> FinishReason | None:
        if run.token_ids[-1] in self.end_ids:
            return "stop"
        return "length" if len(run.token_ids) >= self._most_tokens(run.request) else None

    def _most_tokens(self, request: Request) -> int:
        return min(request.sampling.max_tokens, self.max_length - len(request.prompt_ids))

    def _release(self, slot: int) -> None:
        run = self.scheduler.running[slot]
        if self.prefixes.room and WORTH <= run.length <= self.prefixes.room:
            self.prefixes.at_version(self.decoder.version)
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
