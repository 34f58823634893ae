"""Reinforcement learning as a Source: sample with the engine, score, subtract the KL, estimate advantages.

The sampler's token ids and log-probabilities are what training sees; nothing is tokenized twice. The engine reads the
live policy, so a new iteration samples from the weights that the loop has just stepped.
Shapes: B episodes, T time.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Self

import torch
from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt, model_validator
from torch import Tensor

from homeroom.data.batches import Conversation, Experience, Shuffle, State, shift
from homeroom.inference.engine import Engine
from homeroom.inference.request import Completion, Request, Sampling
from homeroom.memory import give_back_freed_memory
from homeroom.models.gpt import GPT, Outputs
from homeroom.models.heads import ActorCritic
from homeroom.models.logprobs import token_log_probs
from homeroom.models.precision import dtype_name, products_in
from homeroom.settings import Frozen, HomeroomError, Probability
from homeroom.training.advantages import AdaptiveKL, estimate_advantages, others_mean, whiten
from homeroom.training.layouts import layouts

# Of the engine that samples: an answer takes over what another, running beside it, has read of their question. Weights
# change between iterations, so nothing of ended requests is worth keeping.
PREFIX_TOKENS = 1


class MissingLogProbability(HomeroomError):
    """The sampler returned fewer log-probabilities than tokens: the ratio to the old policy would be made up."""


class RolloutSettings(Frozen):
    """How experience is gathered. KL is in nats per answer, summed over its tokens."""

    iterations: PositiveInt = 20
    episodes: PositiveInt = Field(64, description="answers sampled per iteration")
    max_tokens: PositiveInt = 64
    epochs: PositiveInt = Field(1, description="passes over an iteration's experience")
    minibatches: PositiveInt = Field(2, description="optimizer steps a pass")
    micro_rows: PositiveInt = 32
    discount: Probability = 1.0
    trace: Probability = Field(0.95, description="λ of generalized advantage estimation")
    kl_coefficient: NonNegativeFloat = Field(0.05, description="β: reward lost per nat that a token moves away")
    kl_target: PositiveFloat = Field(6.0, description="the coefficient adapts towards this KL")
    kl_stop: PositiveFloat = Field(25.0, description="above it the run stops and the last good weights are kept")
    unended_penalty: NonNegativeFloat = Field(2.0, description="reward lost by an answer that does not end by itself")
    reward_bound: PositiveFloat = 5.0
    answers_per_question: PositiveInt = Field(
        4, description="answers to one question in an iteration; each score is taken relative to the others' mean"
    )

    @property
    def steps_per_iteration(self) -> int:
        return self.epochs * self.minibatches

    @model_validator(mode="after")
    def _no_empty_step(self) -> Self:
        if self.minibatches > self.episodes:
            raise ValueError(f"minibatches is {self.minibatches}, but an iteration has {self.episodes} episodes")
        if self.episodes % self.answers_per_question:
            raise ValueError(
                f"{self.episodes} episodes do not divide into questions with {self.answers_per_question} answers each"
            )
        return self


@dataclass(frozen=True)
class Episode:
    """One question and the answer that was sampled to it, with its score."""

    prompt_ids: list[int]
    completion: Completion
    score: float
    baseline: float = 0.0  # what was to be expected of an answer to this question

    @property
    def row(self) -> Conversation:
        ids = [*self.prompt_ids, *self.completion.token_ids]
        return Conversation(ids, [index >= len(self.prompt_ids) for index in range(len(ids))])


@dataclass
class Rollouts:
    """Batches for PPO.

    `prompts` are token ids ending where the assistant speaks. `score` gives each whole conversation (token ids) a
    number. `on_iteration` hears each iteration's figures and episodes. `dtype` is the number format of products in
    sampling, scoring and reference: the one that the loop trains in. What `beside` asks at an iteration is answered by
    the same weights in the same steps of the engine, which cost little more for it: `answered_beside` are the answers,
    of which nothing is learned. Raises MissingLogProbability.
    """

    actor: ActorCritic
    engine: Engine
    reference: GPT
    prompts: Sequence[list[int]]
    score: Callable[[list[list[int]]], Tensor]
    settings: RolloutSettings
    seed: int = 0
    dtype: torch.dtype = torch.float32
    on_iteration: Callable[[int, dict[str, float], list[Episode]], None] | None = None
    beside: Callable[[int], Sequence[Request]] | None = None
    stopped: str | None = None
    iteration: int = field(default=0, init=False)
    answered_beside: list[Completion] = field(default_factory=list, init=False)

    def __post_init__(self) -> None:
        self.kl = AdaptiveKL(self.settings.kl_coefficient, self.settings.kl_target)
        self.shuffle = Shuffle(
            len(self.prompts), self.settings.episodes // self.settings.answers_per_question, self.seed
        )
        self.resumable = True

    def __iter__(self) -> Iterator[list[Experience]]:
        while self.iteration < self.settings.iterations:
            give_back_freed_memory()  # sampling and learning have no use for each other's blocks
            experience, figures = self.measure(self.sample())
            give_back_freed_memory()
            if self.stopped is not None:
                return
            self.kl.update(figures["kl"])
            steps = self._steps(experience)
            for number, step in enumerate(steps):
                # Half-used experience was sampled by weights that are gone: resume only after a whole iteration.
                self.resumable = number == len(steps) - 1
                self.iteration += self.resumable
                yield step

    def sample(self) -> list[Episode]:
        """One iteration's episodes from the policy as it stands."""
        chosen = [number for number in next(self.shuffle) for _ in range(self.settings.answers_per_question)]
        requests = [
            Request(
                f"episode {index}",
                self.prompts[number],
                Sampling(max_tokens=self.settings.max_tokens, seed=_mix(self.seed, self.iteration, index)),
            )
            for index, number in enumerate(chosen)
        ]
        # First in the queue: the last answers to begin are those that an engine ends with hardly any company.
        asked = [] if self.beside is None else list(self.beside(self.iteration))
        with self.products():
            made = self.engine.generate([*asked, *requests])
        self.engine.give_back()  # what learns next needs the memory
        self.answered_beside, completions = made[: len(asked)], made[len(asked) :]
        for completion in completions:
            if len(completion.logprobs) != len(completion.token_ids):
                raise MissingLogProbability(
                    f"{completion.request_id}: {len(completion.token_ids)} tokens but "
                    f"{len(completion.logprobs)} log-probabilities"
                )
        rows = [[*request.prompt_ids, *done.token_ids] for request, done in zip(requests, completions, strict=True)]
        with self.products():
            scores_B = self.score(rows)
        scores_B = scores_B.clamp(-self.settings.reward_bound, self.settings.reward_bound)
        cut_B = torch.tensor([done.finish_reason != "stop" for done in completions])
        scores_B = scores_B - self.settings.unended_penalty * cut_B
        baselines_B = others_mean(scores_B, self.settings.answers_per_question)
        return [
            Episode(request.prompt_ids, done, score, baseline)
            for request, done, score, baseline in zip(
                requests, completions, scores_B.tolist(), baselines_B.tolist(), strict=True
            )
        ]

    @torch.no_grad()
    def measure(self, episodes: list[Episode]) -> tuple[Experience, dict[str, float]]:
        """Experience of these episodes, shortest first, and their figures; tells `on_iteration`."""
        # By length, so that micro-batches carry little padding; which episodes share a step does not matter.
        episodes = sorted(episodes, key=lambda episode: len(episode.row.token_ids))
        with self.products():
            experience, kl_B = self._experience(episodes)
        count = len(episodes)
        figures = {
            "reward": sum(episode.score for episode in episodes) / count,
            "kl": float(kl_B.mean()),
            "kl_coefficient": self.kl.coefficient,
            "length": sum(len(episode.completion.token_ids) for episode in episodes) / count,
            "ends": sum(episode.completion.finish_reason == "stop" for episode in episodes) / count,
        }
        if figures["kl"] > self.settings.kl_stop:
            self.stopped = (
                f"KL to the reference reached {figures['kl']:.1f} nats per answer (limit {self.settings.kl_stop:g}) at "
                f"iteration {self.iteration}; the weights from before it are kept"
            )
        if self.on_iteration is not None:
            self.on_iteration(self.iteration, figures, episodes)
        return experience, figures

    def _steps(self, experience: Experience) -> list[list[Experience]]:
        """The iteration's optimizer steps."""
        rows = len(experience.tokens_BT)
        steps = []
        for epoch in range(self.settings.epochs):
            generator = torch.Generator().manual_seed(_mix(self.seed, self.iteration, epoch))
            order = torch.randperm(rows, generator=generator)
            for part in order.tensor_split(self.settings.minibatches):
                part = part.sort().values  # short rows together again
                steps.append(
                    [
                        layout.experience(experience)
                        for layout in layouts(experience.tokens_BT, experience.learn_BT, part, self.settings.micro_rows)
                    ]
                )
        return steps

    def _experience(self, episodes: list[Episode]) -> tuple[Experience, Tensor]:
        tokens_BT, next_token_BT, learn_BT = shift([episode.row for episode in episodes])
        log_probs_BT = torch.zeros(tokens_BT.shape)
        log_probs_BT[learn_BT] = torch.tensor([p for episode in episodes for p in episode.completion.logprobs])
        values_BT, reference_BT = torch.zeros_like(log_probs_BT), torch.zeros_like(log_probs_BT)
        for layout in layouts(tokens_BT, learn_BT, torch.arange(len(episodes)), self.settings.micro_rows):
            inputs = {"tokens_BT": layout.tokens_BT, "branch_BT": layout.branch_BT}
            values_BT[layout.learned] = layout.read(self.actor(**inputs).values_BT)
            reference_BT[layout.learned] = _log_probs(
                self.reference(**inputs), layout.place_N, next_token_BT[layout.learned]
            )
        gap_BT = log_probs_BT - reference_BT
        rewards_BT = -self.kl.coefficient * gap_BT
        last_B = tokens_BT.shape[1] - 1 - learn_BT.flip(1).int().argmax(dim=1)
        rewards_BT[torch.arange(len(episodes)), last_B] += torch.tensor(
            [episode.score - episode.baseline for episode in episodes]
        )
        advantages_BT, returns_BT = estimate_advantages(
            rewards_BT, values_BT, learn_BT, discount=self.settings.discount, trace=self.settings.trace
        )
        experience = Experience(
            tokens_BT, next_token_BT, learn_BT, log_probs_BT, values_BT, whiten(advantages_BT, learn_BT), returns_BT
        )
        return experience, gap_BT.sum(dim=1)

    def products(self) -> torch.autocast:
        return products_in(self.dtype, self.actor.value_head.weight.device.type)

    def state_dict(self) -> State:
        return {
            "iteration": self.iteration,
            "precision": dtype_name(self.dtype),
            "kl_coefficient": self.kl.coefficient,
            "prompts": self.shuffle.state_dict(),
        }

    def load_state_dict(self, state: State) -> None:
        self.iteration = int(state["iteration"])
        self.dtype = getattr(torch, state["precision"])  # "auto" may have measured another one today
        self.kl.coefficient = float(state["kl_coefficient"])
        self.shuffle.load_state_dict(state["prompts"])


def _log_probs(outputs: Outputs, place_N: Tensor, next_token_N: Tensor) -> Tensor:
    log_probs_N, _ = token_log_probs(outputs.hidden_BTD.flatten(0, 1)[place_N], outputs.head_VD, next_token_N)
    return log_probs_N


def _mix(*numbers: int) -> int:
    """One seed out of several numbers, well spread."""
    seed = 0
    for number in numbers:
        seed = (seed * 6364136223846793005 + number + 1442695040888963407) % 2**63
    return seed
