"""What watches a run of PPO for reward hacking, and keeps the weights that it goes back to.

Every iteration is read: reward, KL, entropy, length and repetition of what was sampled, and every few iterations what
an independent judge thinks of answers to questions that are in no training. When a run has gone wrong is for
`homeroom.evaluation.reward_hacking` to say; sampling and learning are the stage's.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from pydantic import Field, NonNegativeInt, PositiveInt

from homeroom.data.documents import read_documents
from homeroom.evaluation.answers import answer_of, answer_requests, answerable
from homeroom.evaluation.judging import judge_scores
from homeroom.evaluation.reward_hacking import HackingWatch, Limits, Reading
from homeroom.inference.request import Completion, Request, Sampling
from homeroom.models.checkpoint import load_learned, save_learned
from homeroom.progress import say
from homeroom.settings import Frozen, HomeroomError, Json
from homeroom.stages import checkpoints
from homeroom.tasks.base import sample
from homeroom.tasks.manners import repeats
from homeroom.tasks.questions import KINDS, Mix, questions
from homeroom.text.tokenizer import Tokenizer
from homeroom.training.rollouts import Episode, Rollouts
from homeroom.workspace import Artifact


@dataclass(frozen=True)
class Judge:
    """What an independent judge thinks of a policy: what it asks at every look, and its mean score of the answers."""

    asks: Sequence[Request]
    score: Callable[[Sequence[Completion]], float]


class WatchSettings(Frozen):
    """How a run is watched for reward hacking."""

    stop: bool = Field(True, description="end at the onset with the last good weights; false: only tell it")
    judge_every: NonNegativeInt = Field(
        2, description="iterations between two looks of the independent judge, of which a trend takes ten; 0: none"
    )
    questions: PositiveInt = Field(
        48, description="validation questions that it judges the answers to, always the same"
    )
    limits: Limits = Limits()


def judge_of(
    judge: Artifact, cleaned: Artifact, tokenizer: Tokenizer, settings: WatchSettings, mix: Mix, max_tokens: int
) -> Judge | None:
    """What an independent judge thinks of a policy's answers: its mean score, in its deviations from a right answer's.

    The questions are of the validation split, so what is held out decides nothing before it is asked. The draws are the
    same at every look: what differs between two is the policy. None where there is no such question.
    """
    model, read_by = checkpoints.load_reward(judge), Tokenizer.load(judge.path)
    documents = read_documents(cleaned.path / "documents.parquet", split="validation", kinds=KINDS)
    fitting = answerable(questions(documents), model.config.max_length, read_by, max_tokens)
    asked = sample(fitting, settings.questions, "watch", mix)
    if not asked:
        say("ppo", f"the judge has nothing to look at: no validation question of {cleaned.id} fits the context")
        return None
    mean, deviation = (cast(float, judge.metrics[name]) for name in ("score_mean", "score_deviation"))

    def score(completions: Sequence[Completion]) -> float:
        answers = [answer_of(completion, tokenizer) for completion in completions]
        scores = judge_scores(asked, answers, model, read_by)
        return (sum(scores) / len(scores) - mean) / deviation

    return Judge(answer_requests(tokenizer, asked, Sampling(max_tokens=max_tokens), seed=0), score)


@dataclass
class Watch:
    """Hears every iteration of `rollouts` and stops them. Weights lie in `folder`, those of two iterations at most."""

    settings: WatchSettings
    rollouts: Rollouts
    tokenizer: Tokenizer
    folder: Path
    judge: Judge | None = None
    section: str = "ppo"  # of the recipe

    def __post_init__(self) -> None:
        limits, stop = self.settings.limits, self.rollouts.settings.kl_stop
        # Above kl_stop the rollouts end by themselves, at once: what is no good there is no good here.
        self.hacking = HackingWatch(limits.model_copy(update={"kl": min(limits.kl, stop)}))
        self.rollouts.beside = self._asked

    @property
    def last_good(self) -> int | None:
        """The iteration that a run which was stopped goes back to, -1 if to none; None where nothing stopped it."""
        return None if self.rollouts.stopped is None else self.hacking.last_good

    def see(self, iteration: int, figures: Mapping[str, float], episodes: Sequence[Episode]) -> dict[str, float]:
        """Read an iteration, before anything is learned from it; returns its figures with what was read beside."""
        said = [self.tokenizer.decode(episode.completion.token_ids) for episode in episodes]
        logprobs = [logprob for episode in episodes for logprob in episode.completion.logprobs]
        seen = {
            **figures,
            # What a token was worth where it was drawn is −log p on average: the entropy itself.
            "sampled_entropy": -sum(logprobs) / len(logprobs),
            "repeats": sum(map(repeats, said)) / len(said),
        }
        if self.judge is not None and self._asked(iteration):
            with self.rollouts.products():
                seen["judge"] = self.judge.score(self.rollouts.answered_beside)
        found = self.hacking.add(_reading(seen))
        if found is not None and self.settings.stop and self.rollouts.stopped is None:
            self.rollouts.stopped = (
                f"{found.reason}: reward hacking, seen at iteration {found.iteration}; the weights of "
                f"iteration {found.last_good} are kept"
            )
        self._keep(iteration)
        return seen

    def replay(self, points: Iterable[Mapping[str, float | None]]) -> None:
        """Stand where a killed run stood, by what it wrote down of each iteration."""
        self.hacking.replay(map(_reading, points))

    def restore(self) -> None:
        """Give the policy the weights of the last good iteration. Raises HomeroomError where none was good."""
        kept = self._file(self.hacking.last_good)
        if not kept.exists():
            raise HomeroomError(
                f"{str(self.rollouts.stopped).partition(';')[0]}, before a single step: the sampler's own noise is "
                f"above the limit, so there are no weights to keep. Raise [{self.section}.rollouts].kl_stop."
            )
        load_learned(self.rollouts.actor.policy, kept)

    def figures(self) -> dict[str, Json]:
        """Where and why it stopped, and what the judge thought at first and, of those kept, at last."""
        kept = self.hacking.readings[: None if self.last_good is None else self.last_good + 1]
        judged = [one.judge for one in kept if one.judge is not None]
        return {
            "watch": {**self.hacking.figures(), "last_good": self.last_good, "stops": self.settings.stop},
            "judge_first": judged[0] if judged else None,
            "judge_last": judged[-1] if judged else None,
        }

    def _asked(self, iteration: int) -> Sequence[Request]:
        if self.judge is None:
            return ()
        last = iteration == self.rollouts.settings.iterations  # the policy as it ends
        return self.judge.asks if last or iteration % self.settings.judge_every == 0 else ()

    def _keep(self, iteration: int) -> None:
        """The weights that this iteration was sampled from, if it was a good one; no other than may yet be wanted."""
        if iteration in self.hacking.keep:
            save_learned(self.rollouts.actor.policy, self._file(iteration))
        wanted = {self._file(one) for one in self.hacking.keep}
        for path in self.folder.glob(self._file("*").name):
            if path not in wanted:
                path.unlink()

    def _file(self, iteration: int | str) -> Path:
        return self.folder / f"scratch-iteration-{iteration}.safetensors"


def _reading(seen: Mapping[str, float | None]) -> Reading:
    def value(name: str) -> float:
        found = seen[name]
        return math.nan if found is None else found  # JSON has no NaN

    return Reading(
        reward=value("reward"),
        kl=value("kl"),
        entropy=value("sampled_entropy"),
        length=value("length"),
        repetition=value("repeats"),
        judge=seen.get("judge"),
    )
