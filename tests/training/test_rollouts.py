"""Rollouts: what the sampler knew goes to training as it is, rewards are where they belong, and the KL is watched."""

import copy
import json
from collections import Counter
from dataclasses import replace

import pytest
import torch

from homeroom.inference.engine import Engine
from homeroom.inference.request import Request, Sampling
from homeroom.models.gpt import GPT
from homeroom.models.heads import ActorCritic
from homeroom.training.advantages import estimate_advantages, whiten
from homeroom.training.objectives.policy import PPO
from homeroom.training.rollouts import PREFIX_TOKENS, MissingLogProbability, Rollouts, RolloutSettings

END = 1
PROMPTS = [[2, 3, n] if n % 2 else [2, n] for n in range(4, 17)]
SETTINGS = RolloutSettings(
    iterations=3, episodes=8, max_tokens=6, epochs=2, minibatches=2, micro_rows=3, answers_per_question=1
)


def length(rows):
    """A reward that is easily checked: the conversation's length."""
    return torch.tensor([float(len(row)) for row in rows])


@pytest.fixture
def make(nano):
    reference = copy.deepcopy(nano)
    with torch.no_grad():
        reference.head.weight += 0.02 * torch.randn_like(reference.head.weight)

    def make(settings=SETTINGS, *, engine=Engine, score=length, **given) -> Rollouts:
        actor = ActorCritic(nano)
        torch.nn.init.constant_(actor.value_head.bias, 0.25)
        return Rollouts(
            actor,
            engine(actor.policy, end_id=END, slots=4),
            reference,
            PROMPTS,
            score,
            settings,
            seed=9,
            **given,
        )

    return make


def log_prob(model: GPT, ids: list[int], position: int) -> float:
    """log p of the token at `position` by a plain forward of this row alone."""
    with torch.no_grad():
        return float(model.logits(model.hidden(torch.tensor([ids[:position]])))[0, -1].log_softmax(-1)[ids[position]])


def test_experience_is_what_the_sampler_knew(make):
    rollouts = make(SETTINGS.model_copy(update={"trace": 0.5, "discount": 0.9, "kl_coefficient": 0.3}))
    episodes = rollouts.sample()
    experience, figures = rollouts.measure(episodes)
    episodes = sorted(episodes, key=lambda episode: len(episode.row.token_ids))
    gaps = []
    rewards = torch.zeros_like(experience.values_BT)
    for row, episode in enumerate(episodes):
        ids, asked = list(episode.row.token_ids), len(episode.prompt_ids)
        assert ids == [*episode.prompt_ids, *episode.completion.token_ids]
        learned = experience.learn_BT[row].nonzero()[:, 0].tolist()
        assert learned == list(range(asked - 1, len(ids) - 1))
        assert experience.next_token_BT[row][learned].tolist() == list(episode.completion.token_ids)
        assert experience.log_probs_BT[row][learned].tolist() == pytest.approx(list(episode.completion.logprobs))
        gap = 0.0
        for t in learned:
            assert float(experience.log_probs_BT[row, t]) == pytest.approx(
                log_prob(rollouts.actor.policy, ids, t + 1), abs=1e-4
            )
            difference = float(experience.log_probs_BT[row, t]) - log_prob(rollouts.reference, ids, t + 1)
            rewards[row, t] = -0.3 * difference
            gap += difference
        rewards[row, learned[-1]] += episode.score
        gaps.append(gap)
        with torch.no_grad():
            values = rollouts.actor(torch.tensor([ids[:-1]])).values_BT[0]
        torch.testing.assert_close(experience.values_BT[row][learned], values[learned], rtol=1e-4, atol=1e-5)
    assert figures["kl"] == pytest.approx(sum(gaps) / len(gaps), abs=1e-4)
    advantages, returns = estimate_advantages(
        rewards, experience.values_BT, experience.learn_BT, discount=0.9, trace=0.5
    )
    torch.testing.assert_close(experience.returns_BT, returns, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(experience.advantages_BT, whiten(advantages, experience.learn_BT), rtol=1e-3, atol=1e-3)


def test_before_the_first_step_no_ratio_has_moved(make):
    rollouts = make(SETTINGS.model_copy(update={"epochs": 1}))
    for batch in next(iter(rollouts)):
        metrics = PPO().loss(rollouts.actor(**batch.inputs()), batch).metrics
        assert float(metrics["clipped"]) == 0
        assert float(metrics["step_kl"]) == pytest.approx(0, abs=1e-5)


def test_scores_are_bounded_and_an_answer_that_does_not_end_pays(make):
    settings = SETTINGS.model_copy(update={"reward_bound": 7.0, "unended_penalty": 3.0, "episodes": 40})
    rollouts = make(settings)
    ends = Counter()
    for episode in rollouts.sample():
        ended = episode.completion.token_ids[-1] == END
        ends[ended] += 1
        assert episode.score == min(len(episode.row.token_ids), 7) - (0 if ended else 3)
    assert len(ends) == 2


def test_every_episode_is_used_once_a_pass(make):
    rollouts = make()
    experience, _ = rollouts.measure(rollouts.sample())
    steps = rollouts._steps(experience)
    assert len(steps) == 4
    rows = Counter(map(tuple, (experience.tokens_BT * experience.learn_BT).tolist()))
    for first in (0, 2):
        seen = Counter()
        for batch in [batch for step in steps[first : first + 2] for batch in step]:
            assert len(batch.tokens_BT) <= 3
            padded = torch.zeros(len(batch.tokens_BT), experience.tokens_BT.shape[1], dtype=torch.long)
            padded[:, : batch.tokens_BT.shape[1]] = batch.tokens_BT * batch.learn_BT
            seen.update(map(tuple, padded.tolist()))
        assert seen == rows


def test_it_samples_in_the_format_that_the_run_began_with(make):
    """The ratio compares the sampler's log-probabilities with the loop's: of one format, or it starts away from 1."""
    first = make(dtype=torch.bfloat16)
    rounded = first.measure(first.sample())[0]
    exact = make()
    assert not torch.equal(rounded.log_probs_BT, exact.measure(exact.sample())[0].log_probs_BT)
    resumed = make()  # where "auto" has measured float32 this time
    resumed.load_state_dict(json.loads(json.dumps(make(dtype=torch.bfloat16).state_dict())))
    same(resumed.measure(resumed.sample())[0], rounded)


def test_a_missing_log_probability_raises(make):
    class Forgetful(Engine):
        def generate(self, requests, on_finish=None):
            *most, last = super().generate(requests, on_finish)
            return [*most, replace(last, logprobs=last.logprobs[:-1])]

    with pytest.raises(MissingLogProbability, match=r"episode 7: (\d+) tokens but \d+ log-probabilities"):
        make(engine=Forgetful).sample()


def test_above_kl_stop_nothing_is_learned_any_more(make):
    heard = []
    rollouts = make(
        SETTINGS.model_copy(update={"kl_stop": 1e-6}), on_iteration=lambda n, figures, _: heard.append(figures["kl"])
    )
    assert list(rollouts) == []
    assert rollouts.stopped is not None
    assert rollouts.stopped.startswith(f"KL to the reference reached {heard[0]:.1f} nats per answer (limit 1e-06)")
    assert len(heard) == 1


def test_the_coefficient_follows_the_measured_kl(make):
    rollouts = make(SETTINGS.model_copy(update={"kl_target": 1e-6}))
    iterator = iter(rollouts)
    next(iterator)
    assert rollouts.kl.coefficient == pytest.approx(1.1 * SETTINGS.kl_coefficient)


def same(one, other):
    torch.testing.assert_close(vars(one), vars(other), rtol=0, atol=0)


def test_between_iterations_its_position_can_be_saved_and_restored(make):
    first = make()
    iterator = iter(first)
    resumable = []
    for _ in range(4):
        next(iterator)
        resumable.append(first.resumable)
    assert resumable == [False, False, False, True]
    assert first.iteration == 1
    second = make()
    second.load_state_dict(json.loads(json.dumps(first.state_dict())))
    for step, other in zip(list(iterator), list(second), strict=True):
        for batch, twin in zip(step, other, strict=True):
            same(batch, twin)
    assert first.state_dict() == second.state_dict()
    assert first.iteration == 3


def test_iterations_draw_other_questions_and_other_answers(make):
    rollouts = make(SETTINGS.model_copy(update={"episodes": 13}))
    first = {tuple(e.prompt_ids): e.completion.token_ids for e in rollouts.sample()}
    rollouts.iteration += 1
    second = {tuple(e.prompt_ids): e.completion.token_ids for e in rollouts.sample()}
    assert set(first) == set(second) == set(map(tuple, PROMPTS))
    assert first != second


def test_what_is_asked_beside_is_answered_by_the_same_weights_and_changes_nothing(make, nano):
    asked = [Request(f"look {seed}", PROMPTS[seed], Sampling(max_tokens=6, seed=seed)) for seed in range(3)]
    alone, due = make(), []
    rollouts = make(beside=lambda iteration: due.append(iteration) or (asked if iteration == 1 else ()))
    for iteration in range(2):
        alone.iteration = rollouts.iteration = iteration
        for one, other in zip(rollouts.sample(), alone.sample(), strict=True):
            assert one.prompt_ids == other.prompt_ids
            assert one.completion.token_ids == other.completion.token_ids
        assert len(rollouts.answered_beside) == 3 * iteration
    assert due == [0, 1]
    plain = Engine(nano, end_id=END, slots=4).generate(asked)
    assert [one.token_ids for one in rollouts.answered_beside] == [one.token_ids for one in plain]


def test_more_minibatches_than_episodes_are_refused():
    with pytest.raises(ValueError, match="minibatches is 9, but an iteration has 8 episodes"):
        RolloutSettings(episodes=8, minibatches=9)


def test_each_score_is_taken_relative_to_the_other_answers_to_its_question(make):
    rollouts = make(SETTINGS.model_copy(update={"answers_per_question": 4, "kl_coefficient": 0.0}))
    episodes = rollouts.sample()
    assert [episode.prompt_ids for episode in episodes[:4]] == [episodes[0].prompt_ids] * 4
    assert episodes[4].prompt_ids != episodes[0].prompt_ids
    assert len({tuple(episode.completion.token_ids) for episode in episodes}) > 2  # answers of their own
    for index, episode in enumerate(episodes):
        others = [other.score for n, other in enumerate(episodes) if n // 4 == index // 4 and n != index]
        assert episode.baseline == pytest.approx(sum(others) / 3)
    experience, figures = rollouts.measure(episodes)
    assert figures["reward"] == pytest.approx(sum(episode.score for episode in episodes) / 8)
    episodes.sort(key=lambda episode: len(episode.row.token_ids))
    # Without discount and with the values of a constant head, the return of the last token is its reward.
    for row, episode in enumerate(episodes):
        last = int(experience.learn_BT[row].nonzero()[-1])
        assert float(experience.returns_BT[row, last]) == pytest.approx(episode.score - episode.baseline, abs=1e-5)


def test_episodes_have_to_divide_into_questions():
    with pytest.raises(ValueError, match="10 episodes do not divide into questions with 4 answers each"):
        RolloutSettings(episodes=10, answers_per_question=4)


def test_answers_to_one_question_share_a_row_and_the_gradient_is_that_of_rows_of_their_own(make, gradient):
    """Each answer alone, by a plain forward, is the reference."""
    settings = SETTINGS.model_copy(
        update={"answers_per_question": 4, "minibatches": 1, "episodes": 16, "micro_rows": 8}
    )
    rollouts = make(settings)
    experience, _ = rollouts.measure(rollouts.sample())
    # As if the policy had moved: ratios and values away from where their gradients are simple.
    noise = torch.Generator().manual_seed(3)
    for table in (experience.log_probs_BT, experience.values_BT):
        table += 0.1 * torch.randn(table.shape, generator=noise) * experience.learn_BT
    step = rollouts._steps(experience)[0]
    assert any(batch.branch_BT is not None for batch in step)
    assert sum(len(batch.tokens_BT) for batch in step) < 16
    alone = [
        replace(experience, **{name: t[r : r + 1] for name, t in vars(experience).items() if t is not None})
        for r in range(16)
    ]
    assert sum(int(batch.learn_BT.sum()) for batch in step) == int(experience.learn_BT.sum())
    torch.testing.assert_close(
        gradient(rollouts.actor, PPO(), step), gradient(rollouts.actor, PPO(), alone), rtol=1e-4, atol=1e-5
    )


def test_a_question_is_sampled_to_as_if_each_of_its_answers_had_read_it(make, nano, monkeypatch):
    """Episodes of an engine that takes beginnings over are those of one that reads every prompt whole."""
    monkeypatch.setattr("homeroom.inference.engine.WORTH", 1)
    settings = SETTINGS.model_copy(update={"answers_per_question": 4, "episodes": 16})
    shares, reads = make(settings), make(settings)
    shares.engine = Engine(shares.actor.policy, end_id=END, slots=4, prefix_tokens=PREFIX_TOKENS)
    for one, other in zip(shares.sample(), reads.sample(), strict=True):
        assert one.completion.token_ids == other.completion.token_ids
        assert one.completion.logprobs == pytest.approx(other.completion.logprobs, abs=1e-5)
    assert shares.engine.reused > 0
    assert len(shares.engine.prefixes) == 0
