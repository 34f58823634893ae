"""A model that came from elsewhere learns from people, and is promoted if it got better by a judge of their own."""

import json
import random
import re
import shutil
from itertools import islice

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from homeroom import cli
from homeroom.data.batches import RunningText, TokensInMemory
from homeroom.data.preferences import Said, Thumb, load_pairs, load_thumbs
from homeroom.evaluation.gate import Bar
from homeroom.evaluation.heldout import library_prose, rehearsed
from homeroom.evaluation.reward_guard import RewardBar
from homeroom.inference.engine import Engine
from homeroom.inference.request import Request, Sampling
from homeroom.models.adapters import AdapterSettings
from homeroom.models.checkpoint import load_model
from homeroom.settings import HomeroomError, NothingToLearn
from homeroom.stages import compress, harvest, imported, lookup, ppo, teach
from homeroom.stages.adapting import RewardSettings
from homeroom.stages.ppo import NotQualified, PolicySettings
from homeroom.stages.seeds import _Runs
from homeroom.text.chat_template import prompt_ids
from homeroom.text.tokenizer import Tokenizer
from homeroom.training.loop import NotFinite
from homeroom.training.objectives.next_token import NextToken
from homeroom.training.rollouts import Rollouts, RolloutSettings
from homeroom.training.teaching import Lessons, Rehearsal, as_rows, course
from homeroom.workspace import Workspace, read_log

GOOD, BAD = "It is good.", "It is bad."
CONFIG = teach.Config(
    learning_rate=3e-3, epochs=4, answers_per_step=8, max_tokens=12, text_megabytes=0.001, precision="float32",
    gate=Bar(questions=10, bits_per_byte_worse=0.5, latency_worse=9), forget=0.5, temperature=1.0,
    judge=RewardSettings(learning_rate=3e-3, epochs=6),
    reward=RewardSettings(learning_rate=3e-3, epochs=6, bar=RewardBar(accuracy=0.5)),
    policy=PolicySettings(
        learning_rate=2e-3, rollouts=RolloutSettings(iterations=6, episodes=32, max_tokens=12, kl_coefficient=0.01)
    ),
)  # fmt: skip


def asked(number: int) -> str:
    draw = random.Random(number)
    return f"{''.join(draw.choices('abcdefghijklm', k=5))} {''.join(draw.choices('nopqrstuvwxyz', k=6))}?"


@pytest.fixture(scope="module")
def elsewhere(template, tmp_path_factory):
    """A workspace whose champion was imported; people have judged 300 of its answers and written some better ones."""
    folder = tmp_path_factory.mktemp("elsewhere")
    with Workspace.open(template) as raised:
        shutil.copytree(raised.latest("sft").path, folder / "model", ignore=shutil.ignore_patterns("manifest.json"))
    with Workspace.open(folder / "workspace") as workspace:
        made = imported.run(str(folder / "model"), workspace)
        compress.run(compress.Config(), workspace, made)
        workspace.registry.promote(made.id, {"reasons": ["a person imported it"]})
        tokenizer = Tokenizer.load(made.path)
        engine = Engine(load_model(made.path), end_id=tokenizer.end_ids)
        requests = [
            Request(str(number), prompt_ids(asked(number), tokenizer), Sampling(seed=number, max_tokens=12))
            for number in range(300)
        ]
        for number, done in enumerate(engine.generate(requests)):
            _, question_id = workspace.feedback.extend(None, "ann", [("user", asked(number))])
            said = tokenizer.decode(done.token_ids).strip()
            answer = workspace.feedback.add_message(
                workspace.feedback.message(question_id).conversation_id, "assistant", said, parent_id=question_id,
                model_id=made.id, token_ids=list(done.token_ids), finish_reason=done.finish_reason,
            )  # fmt: skip
            workspace.feedback.vote(answer.id, 1 if said == GOOD else -1, user="ann")
            if said != GOOD and number % 2:
                workspace.feedback.edit(answer.id, GOOD, user="ann")
    return folder / "workspace"


@pytest.fixture
def taught(elsewhere, tmp_path):
    shutil.copytree(elsewhere, tmp_path / "workspace")
    with Workspace.open(tmp_path / "workspace") as workspace:
        harvest.run(harvest.Config(), workspace)
        yield workspace


def share_of_good(folder):
    tokenizer = Tokenizer.load(folder)
    engine = Engine(load_model(folder), end_id=tokenizer.end_ids)
    fresh = [prompt_ids(asked(1000 + number), tokenizer) for number in range(60)]
    made = engine.generate([Request(str(n), ids, Sampling(seed=n, max_tokens=12)) for n, ids in enumerate(fresh)])
    return sum(tokenizer.decode(done.token_ids).strip() == GOOD for done in made) / len(made)


@pytest.mark.parametrize(("method", "whole"), [("kto", True), ("dpo", False), ("sft", False), ("ppo", True)])
def test_it_gets_better_and_is_promoted(taught, method, whole, tmp_path):
    before = taught.champion()
    rate = {"learning_rate": 3e-3, "epochs": 4}
    if not whole:  # one layer between a frozen table and a frozen head has to move far
        rate = {"learning_rate": 1e-2, "epochs": 16, "adapters": AdapterSettings(rank=16, alpha=128.0)}
    asked = tmp_path / "arc.jsonl"
    rows = [{"question": f"Is {word} good?", "choices": [GOOD, BAD], "answer": 0} for word in ("it", "that", "this")]
    asked.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    config = CONFIG.model_copy(update={"method": method, "whole": whole, "minimum_lessons": 15, **rate})
    config = config.model_copy(update={"tasks": (str(asked),)})
    made = teach.run(config, taught)
    assert made.metrics["promoted"], made.metrics["reasons"]
    assert made.metrics["method"] == method
    assert [line["rule"] for line in made.metrics["gate"]][4:] == [
        f"task: {asked}", "time to first token", "time per token",
    ]  # fmt: skip
    assert taught.champion().id == made.id
    assert share_of_good(made.path) > share_of_good(before.path) + (0.2 if whole else 0.1)
    assert taught.artifacts.made_of(made.id, "compress") is not None
    assert teach.run(config, taught).id == made.id


@pytest.mark.parametrize("method", ["dpo", "kto", "sft"])
def test_text_beside_lessons_counts_the_share_of_them_that_was_asked_for(taught, method):
    made, champion = taught.latest("harvest"), taught.champion()
    pairs, thumbs = load_pairs(made.path / "pairs.jsonl"), load_thumbs(made.path / "thumbs.jsonl")
    model, tokenizer = load_model(champion.path), Tokenizer.load(champion.path)
    rows = as_rows(method, Lessons.of(pairs, thumbs, "train"), model.requires_grad_(False), tokenizer)
    alone = course(method, CONFIG, rows, model, torch.float32, 0)
    text = TokensInMemory(np.arange(2000) % tokenizer.vocab_size)
    both = Rehearsal(rows=2, share=0.5).beside(alone, text, 32, 0)
    assert (both.steps, both.lessons) == (alone.steps, alone.lessons)
    weights, said = [], None
    for step in islice(both.source, 3 * both.steps):
        *lessons, said = step
        assert isinstance(said, RunningText)
        weights.append(sum(float(both.objective.weight(one)) for one in lessons))
    assert alone.weight == pytest.approx(sum(weights) / len(weights), rel=0.15)
    with torch.no_grad():
        outputs = model(**said.inputs())
        ours, plain = both.objective.loss(outputs, said), NextToken().loss(outputs, said)
    # A token of text weighs so much that all 64 of a step come to half of what its lessons weigh.
    assert float(ours.total / plain.total) * 64 == pytest.approx(0.5 * alone.weight)


def test_what_is_read_beside_lessons_measures_nothing():
    beside = {one.id for one in rehearsed(0.03, 0.015, 0.3)}
    assert len(beside) > 20
    assert not beside & {one.id for one in (*library_prose(0.03), *library_prose(0.015, validation=True))}


def test_no_question_is_on_two_sides(taught):
    made = taught.latest("harvest")
    lessons = [*load_pairs(made.path / "pairs.jsonl"), *load_thumbs(made.path / "thumbs.jsonl")]
    sides = {}
    for lesson in lessons:
        sides.setdefault(lesson.messages[-1]["content"], set()).add(lesson.split)
    assert all(len(found) == 1 for found in sides.values())
    assert {split for found in sides.values() for split in found} == {"train", "judge", "heldout"}


@pytest.mark.parametrize("method", ["dpo", "sft"])
def test_the_opposite_of_what_was_meant_is_refused(taught, method):
    before = taught.registry.champion()
    made = teach.run(CONFIG.model_copy(update={"method": method, "inverted": True, "minimum_lessons": 15}), taught)
    assert not made.metrics["promoted"]
    assert not made.metrics["accepted"]
    assert "inverted" in made.metrics["reasons"][0]
    assert taught.registry.champion() == before


class Killed(BaseException):
    pass


def killed(*_):
    raise Killed


def test_a_killed_round_goes_on_and_ends_the_same(taught, monkeypatch, tmp_path):
    shutil.copytree(taught.path, tmp_path / "other")
    config = CONFIG.model_copy(update={"seeds": 2})
    whole = teach.run(config, taught)
    losses = [one["validation_loss"] for one in whole.metrics["seeds"]]
    assert losses[0] != losses[1]
    assert whole.metrics["validation_loss"] == min(losses) == losses[whole.metrics["seed"]]
    with Workspace.open(tmp_path / "other") as other:
        with monkeypatch.context() as patched:
            patched.setattr(teach, "gate", killed)
            with pytest.raises(Killed):
                teach.run(config, other)
        made = teach.run(config, other)
        assert made.id == whole.id
        assert [one["validation_loss"] for one in made.metrics["seeds"]] == losses
        same_weights(whole, made)


def test_figures_of_seeds_stay_in_their_places_where_one_came_to_nothing(taught, monkeypatch):
    run = _Runs.run

    def first_is_not_finite(self, number, place):
        if number == 0:
            raise NotFinite("the gradient is not finite")
        return run(self, number, place)

    monkeypatch.setattr(_Runs, "run", first_is_not_finite)
    metrics = teach.run(CONFIG.model_copy(update={"seeds": 2}), taught).metrics
    assert (metrics["seeds"][0], metrics["seed"]) == (None, 1)
    assert metrics["seeds"][1]["validation_loss"] == metrics["validation_loss"]


@pytest.mark.parametrize("seeds", [1, 2])
def test_killed_in_ppo_after_sft_it_goes_on_and_ends_the_same(taught, monkeypatch, tmp_path, seeds):
    monkeypatch.setattr(ppo, "CHECKPOINT_SECONDS", 0.0)
    shutil.copytree(taught.path, tmp_path / "other")
    config = CONFIG.model_copy(
        update={"method": "ppo", "whole": True, "minimum_lessons": 15, "epochs": 1, "seeds": seeds}
    )
    whole = teach.run(config, taught)
    assert whole.metrics["begun_with"]["steps"] > 0
    if seeds > 1:
        judged = [one["judge_last"] for one in whole.metrics["seeds"]]
        assert judged[0] != judged[1]
        assert whole.metrics["judge_last"] == max(judged) == judged[whole.metrics["seed"]]
    measure, fourths = Rollouts.measure, []

    def killed_in_the_last(self, some):
        fourths.extend([4] * (self.iteration == 4))
        return killed() if len(fourths) == seeds else measure(self, some)

    with Workspace.open(tmp_path / "other") as other:
        with monkeypatch.context() as patched:
            patched.setattr(Rollouts, "measure", killed_in_the_last)
            with pytest.raises(Killed):
                teach.run(config, other)
        made = teach.run(config, other)
        for name in ("reward_first", "reward_last", "kl", "iterations", "samples"):
            assert made.metrics[name] == whole.metrics[name], name
        assert made.metrics.get("seeds") == whole.metrics.get("seeds")
        curve, other_curve = (
            [point["reward"] for point in read_log(one.path) if "reward" in point] for one in (made, whole)
        )
        assert curve == other_curve
        # Of the seed that is kept, and up to where it was stopped, if anything stopped it.
        last = made.metrics["watch"]["last_good"]
        assert curve[len(curve) - 1 if last is None else last] == made.metrics["reward_last"]
        assert made.metrics["watch"] == whole.metrics["watch"]
        assert len(made.metrics["watch"]["frontier"]) == len(curve) > 4
        same_weights(whole, made)


def same_weights(one, other):
    found = load_model(other.path).state_dict()
    for name, value in load_model(one.path).state_dict().items():
        assert torch.equal(value, found[name]), name


def test_too_little_is_said_in_numbers(taught):
    with pytest.raises(
        NothingToLearn,
        match=r"there are \d+ pairs \(0 of rankings\), \d+ thumbs \(\d+ up\), \d+ written answers, too few",
    ):
        teach.run(CONFIG.model_copy(update={"minimum_lessons": 1000}), taught)
    with pytest.raises(HomeroomError, match=r"tasks: there is no file nowhere.jsonl; name .jsonl files of"):
        teach.run(CONFIG.model_copy(update={"tasks": ("nowhere.jsonl",)}), taught)
    with pytest.raises(NothingToLearn, match=r"were set apart for a judge, which needs 500"):
        teach.run(CONFIG.model_copy(update={"judge": RewardSettings(minimum_pairs=500)}), taught)


def test_a_reward_model_that_knows_every_pair_ends_after_one_pass(taught, capsys):
    judge = CONFIG.judge.model_copy(update={"known": 1e9, "epochs": 7})
    teach.run(CONFIG.model_copy(update={"judge": judge}), taught)
    ended, steps = map(
        int, re.search(r"judge ended at step (\d+) of (\d+): nothing is", capsys.readouterr().err).groups()
    )
    assert 7 * (ended - 1) <= steps <= 7 * ended  # the first step that has seen all of it


def test_ppo_does_not_start_where_the_reward_model_is_no_better_than_a_coin(taught, monkeypatch):
    before = taught.registry.champion()
    strict = {"reward": CONFIG.reward.model_copy(update={"minimum_accuracy": 0.999}), "minimum_lessons": 15}
    said = r"does not qualify, so PPO did not start: no better than a coin: .* of held-out contests"
    with pytest.raises(NotQualified, match=said):
        teach.run(CONFIG.model_copy(update={"method": "ppo", **strict}), taught)
    bar = CONFIG.reward.model_copy(update={"bar": RewardBar(accuracy=0.5, length_bias=0, calibration_error=0)})
    with pytest.raises(NotQualified, match=r"PPO did not start: calibration error: .*, required: .* \(failed\)"):
        teach.run(CONFIG.model_copy(update={"method": "ppo", "reward": bar, "minimum_lessons": 15}), taught)
    assert taught.registry.champion() == before
    # Where the recipe left the choice, what is next best is done, and said.
    monkeypatch.setattr(Lessons, "ranked", property(lambda lessons: len(lessons.pairs)))
    made = teach.run(CONFIG.model_copy(update=strict), taught)
    assert made.metrics["method"] == "dpo"
    assert "PPO did not start" in made.metrics["why"]


def test_a_held_out_question_that_leaves_no_room_for_an_answer_is_not_asked(taught):
    made = taught.champion()
    prompts = ["what is this? " * 200, "what is that? " * 200, *map(asked, range(30))]
    said = [Thumb(({"role": "user", "content": one},), Said(GOOD, True), True, "heldout") for one in prompts]
    chosen = teach._asked(CONFIG.model_copy(update={"questions": 30}), made, said)
    assert {one.prompt for one in chosen} == set(prompts[2:])
    few = r"^9 questions .* held out and leave room for an answer of 12 tokens in a context of 160; the gate asks 10 "
    with pytest.raises(NothingToLearn, match=few):
        teach._asked(CONFIG, made, said[:11])
    with pytest.raises(ValueError, match=r"questions is 9, but gate\.questions 10: nothing could be promoted"):
        teach.Config(questions=9, gate=Bar(questions=10))


def test_what_could_not_be_promoted_is_not_begun(taught):
    """Not even as a run that failed."""
    with pytest.raises(NothingToLearn, match="so that nothing could be promoted"):
        teach.run(CONFIG.model_copy(update={"gate": Bar(questions=190), "seed": 5}), taught)
    assert "teach" not in {one.stage for one in taught.unfinished()}


def test_improve_is_the_word_for_it(elsewhere, tmp_path):
    shutil.copytree(elsewhere, tmp_path / "workspace")
    given = {
        "learning_rate": 3e-3, "epochs": 4, "answers_per_step": 8, "max_tokens": 12, "text_megabytes": 0.001,
        "gate.questions": 10, "gate.bits_per_byte_worse": 0.5, "forget": 0.5,
        "judge.learning_rate": 3e-3, "judge.epochs": 6,
        "temperature": 1.0, "precision": "float32",
    }  # fmt: skip
    sets = [part for key, value in given.items() for part in ("--set", f"teach.{key}={value}")]
    done = CliRunner().invoke(cli.app, ["improve", "-w", str(tmp_path / "workspace"), *sets])
    assert done.exit_code == 0, done.output
    assert "promoted" in done.output
    with Workspace.open(tmp_path / "workspace") as workspace:
        assert workspace.champion().stage == "teach"


def test_who_learns_is_said_by_the_harvest_whoever_is_champion_by_then(taught, tmp_path):
    with taught.publish("sft", CONFIG) as raised:
        pass
    taught.registry.promote(raised.artifact.id, {"reasons": ["by hand"]})
    assert lookup.learner(taught) == "teach"
    taught.registry.promote(taught.latest("imported").id, {"reasons": ["by hand"]})
    # The circle's own command knows it too.
    sets = ["--set", "teach.minimum_lessons=1000", "--from", "harvest", "--until", "improve"]
    done = CliRunner().invoke(cli.app, ["run", "recipes/starter.toml", "-w", str(tmp_path / "workspace"), *sets])
    assert done.exit_code == 0, done.output
    assert "written answers, too few" in " ".join(done.output.split())
