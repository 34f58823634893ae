"""The engine: many answers at once from one live module, with a KV cache and continuous batching.

Evaluation, PPO and serving all generate through it. It reads the module's weights at every step, so a policy that is
being trained is sampled as it stands; whoever changes weights does so while the engine is idle. It is not thread-safe:
one thread owns it. Text and templates belong to the caller.
Shapes: N running requests, B newly admitted ones, T time, D width, V vocabulary.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from homeroom.inference.request import Completion, Event, FinishReason, Request
from homeroom.inference.sampling import penalize, sample, uniforms
from homeroom.inference.scheduler import Running, Scheduler
from homeroom.models.gpt import GPT
from homeroom.models.kv_cache import CacheView
from homeroom.models.padding import pad_rows
from homeroom.models.precision import products_dtype

SLOTS = 128  # where nobody waits: of 64, 128 and 256 what samples fastest on two cores


class Engine:
    """Generation with `slots` answers running at once, in the number format of the products around `step`.

    `end_id` ends an answer. `max_length` bounds prompt plus answer; by default it is the model's context.
    """

    def __init__(self, model: GPT, *, end_id: int, slots: int = SLOTS, max_length: int | None = None) -> None:
        self.model, self.end_id = model, end_id
        self.max_length = min(max_length or model.config.max_length, model.config.max_length)
        self.scheduler = Scheduler(slots)
        self._device = model.embedding.weight.device
        self._cache = model.new_cache(slots, self.max_length)

    @property
    def idle(self) -> bool:
        return self.scheduler.idle

    def submit(self, request: Request) -> None:
        """Queue a request. Raises ValueError for an empty prompt, one that leaves no room, a token id outside the
        vocabulary, or a request id in use."""
        length = len(request.prompt_ids)
        if not 0 < length < self.max_length:
            raise ValueError(
                f"request {request.id!r}: the prompt has {length} tokens; 1 to {self.max_length - 1} fit a context "
                f"of {self.max_length}"
            )
        # Here, because in step() it would end the answers of everybody else too.
        low, high = min(request.prompt_ids), max(request.prompt_ids)
        if low < 0 or high >= self.model.config.vocab_size:
            raise ValueError(
                f"request {request.id!r}: the prompt has token id {low if low < 0 else high}; "
                f"0 to {self.model.config.vocab_size - 1} are in the vocabulary"
            )
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
        """One token for every request that has a slot, waiting ones being let in first, so many `at_once`."""
        was_training = self.model.training
        self.model.eval()
        try:
            running = len(self.scheduler.running)
            if not running:
                self._fit_cache()
            hidden = [self._decode()] if running else []
            admitted = self.scheduler.admit(at_once)
            if admitted:
                hidden.append(self._prefill(admitted))
            return self._pick(torch.cat(hidden)) if hidden else []
        finally:
            self.model.train(was_training)

    def generate(
        self, requests: Sequence[Request], on_finish: Callable[[Completion], None] | None = None
    ) -> list[Completion]:
        """All answers, in the order of the requests; what `on_finish` cancels comes back as "cancelled".

        Raises RuntimeError when the engine is already at work. After any exception it is idle again.
        """
        if not self.idle:
            raise RuntimeError("generate() needs an idle engine; submit() joins a running one")
        tokens: dict[str, list[int]] = {request.id: [] for request in requests}
        logprobs: dict[str, list[float]] = {request.id: [] for request in requests}
        done: dict[str, Completion] = {}
        try:
            for request in requests:
                self.submit(request)
            # Nobody waits for a first word here, and one large prefill costs less than many small ones.
            at_once = max(1, self.scheduler.slots // 8)
            while events := self.step(at_once):
                for event in events:
                    name = event.request_id
                    if event.token_id is not None:
                        tokens[name].append(event.token_id)
                        logprobs[name].append(event.logprob)
                    if event.finish_reason is not None:
                        done[name] = Completion(name, tokens[name], logprobs[name], event.finish_reason)
                        if on_finish is not None:
                            on_finish(done[name])
        except BaseException:
            for name in tokens:
                self.cancel(name)
            raise
        return [done.get(name) or Completion(name, tokens[name], logprobs[name], "cancelled") for name in tokens]

    def _fit_cache(self) -> None:
        """A cache in the format in which it will be read. Only between answers: what stands in it is lost."""
        if self._cache.dtype != products_dtype(self.model.embedding.weight):
            # Not as tensors of inference mode: cancel() moves what stands in it, and is called from outside.
            with torch.inference_mode(False):
                self._cache = self.model.new_cache(self.scheduler.slots, self.max_length)

    def _prefill(self, requests: list[Request]) -> Tensor:
        """Read whole prompts into their slots; the hidden state of each one's last token (B, D).

        Prompts are padded on the right: causal attention keeps padding out of every real position, and what it leaves
        in the cache lies beyond the slot's length, where the mask hides it until a real token overwrites it.
        """
        first = len(self.scheduler.running)
        self.scheduler.running += [
            Running(request, uniforms(request.sampling.seed, self._most_tokens(request)).tolist())
            for request in requests
        ]
        tokens_BT = pad_rows([request.prompt_ids for request in requests])
        last_B = torch.tensor([len(request.prompt_ids) - 1 for request in requests])
        rows, length = tokens_BT.shape
        slots_B = torch.arange(first, first + rows, device=self._device)
        positions_BT = torch.arange(length, device=self._device).expand(rows, length)
        view = CacheView(self._cache, slots_B, positions_BT, extent=length)
        hidden_BTD = self.model.hidden(tokens_BT.to(self._device), cache=view)
        return hidden_BTD[torch.arange(rows), last_B]

    def _decode(self) -> Tensor:
        """One step of all running requests: the hidden states of their last tokens (N, D)."""
        running = self.scheduler.running
        tokens_N1 = torch.tensor([[run.token_ids[-1]] for run in running], device=self._device)
        positions_N1 = torch.tensor([[run.length] for run in running], device=self._device)
        count = len(running)
        extent = max(run.length for run in running) + 1
        slots_N = torch.arange(count, device=self._device)
        view = CacheView(self._cache, slots_N, positions_N1, extent=extent, first_slots=count)
        return self.model.hidden(tokens_N1, cache=view)[:, 0]

    def _pick(self, hidden_ND: Tensor) -> list[Event]:
        running = list(self.scheduler.running)
        logits_NV = self.model.logits(hidden_ND)
        log_probs_NV = torch.log_softmax(logits_NV, dim=1)
        settings = [run.request.sampling for run in running]
        if any(s.repetition_penalty != 1.0 for s in settings):
            penalize(logits_NV, [run.request.prompt_ids + run.token_ids for run in running], settings)
        # float64: in float32 a number just below 1 becomes 1, which picks a token of probability 0.
        drawn = [run.uniforms[len(run.token_ids)] for run in running]
        uniform_N = torch.tensor(drawn, dtype=torch.float64, device=self._device)
        picked_N = sample(logits_NV, settings, uniform_N)
        picked = picked_N.tolist()
        logprobs = log_probs_NV.gather(1, picked_N[:, None])[:, 0].tolist()
        events, ended = [], []
        for slot, (run, token_id, logprob) in enumerate(zip(running, picked, logprobs, strict=True)):
            run.token_ids.append(token_id)
            reason = self._finish_reason(run)
            events.append(Event(run.request.id, token_id, logprob, reason))
            if reason is not None:
                ended.append(slot)
        for slot in reversed(ended):  # from the back: a slot that moves is one that goes on
            self._release(slot)
        return events

    def _finish_reason(self, run: Running) -> FinishReason | None:
        if run.token_ids[-1] == self.end_id:
            return "stop"
        return "length" if len(run.token_ids) >= self._most_tokens(run.request) else None

    def _most_tokens(self, request: Request) -> int:
        return min(request.sampling.max_tokens, self.max_length - len(request.prompt_ids))

    def _release(self, slot: int) -> None:
        moved = self.scheduler.release(slot)
        if moved is not None:
            source, target = moved
            self._cache.move(source, target, self.scheduler.running[target].length)
