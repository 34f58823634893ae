"""From documents to a policy through the real stages, in miniature: resume, refusals, and who sees which questions."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from pydantic import ValidationError

from homeroom.data.documents import Document, dialogue, read_documents
from homeroom.data.rankings import as_rows, read_rankings
from homeroom.evaluation.answers import generate_answers
from homeroom.evaluation.reward_guard import RewardBar
from homeroom.inference.request import Sampling
from homeroom.models.checkpoint import load_model, load_reward_model
from homeroom.settings import HomeroomError
from homeroom.stages import checkpoints, judge, ppo, pretrain, rankings, reward, sft, tokenize
from homeroom.stages.lookup import made_from
from homeroom.stages.watching import WatchSettings
from homeroom.tasks.questions import questions
from homeroom.text.chat_template import prompt_ids
from homeroom.text.tokenizer import Tokenizer
from homeroom.training.loop import LoopSettings
from homeroom.training.rollouts import RolloutSettings
from homeroom.workspace import Damaged, Workspace, read_log

PRETRAIN = pretrain.Config(
    depth=1, width=32, heads=2, max_length=128, tokens=3000, batch_tokens=512, micro_tokens=256, learning_rate=1e-2,
    precision="float32", validate_every=3, validation_documents=4,
)  # fmt: skip
SFT = sft.Config(examples=60, rows=6, micro_rows=3, precision="float32", validate_every=2)
RANKINGS = rankings.Config(
    reward_questions=12,
    judge_questions=12,
    validation_questions=10,
    answers=4,
    own_answers=1,
    max_tokens=8,
    precision="float32",
)
OPEN = RewardBar(accuracy=0, calibration_error=1, length_bias=1, longer_is_worse=0)
REWARD = reward.Config(questions_per_step=4, micro_questions=2, precision="float32", bar=OPEN)
JUDGE = judge.Config(questions_per_step=4, precision="float32", bar=OPEN, seed=1)
ROLLOUTS = RolloutSettings(iterations=3, episodes=6, answers_per_question=2, max_tokens=8, micro_rows=3)
WATCH = WatchSettings(questions=4)
PPO = ppo.Config(rollouts=ROLLOUTS, questions=30, learning_rate=1e-3, watch=WATCH)


@pytest.fixture(scope="module")
def documents(idiom) -> list[Document]:
    made = [idiom(number, "validation" if number % 9 == 0 else "train") for number in range(280)]
    for number in range(20):
        said = dialogue("made-up", [
            {"role": "user", "content": f"Do you like the number {number}?"},
            {"role": "assistant", "content": f"I like {number} very much."},
        ])  # fmt: skip
        made.append(Document(said.source, said.kind, said.text, said.fields, "en", "train"))
    return made


@pytest.fixture(scope="module")
def template(tmp_path_factory, documents, publish_clean) -> Path:
    """A workspace with everything up to the two reward models."""
    folder = tmp_path_factory.mktemp("raised")
    with Workspace.open(folder) as opened:
        publish_clean(opened, documents)
        tokenize.run(tokenize.Config(vocab_size=400), opened)
        for stage, config in ((pretrain, PRETRAIN), (sft, SFT), (rankings, RANKINGS), (reward, REWARD), (judge, JUDGE)):
            stage.run(config, opened)
    return folder


def weights(artifact) -> bytes:
    return (artifact.path / "model.safetensors").read_bytes()


STAGES = {"pretrain": (pretrain, PRETRAIN), "sft": (sft, SFT), "reward": (reward, REWARD), "ppo": (ppo, PPO)}
MODEL = {"config.json", "model.safetensors", "progress.jsonl", "tokenizer.json", "tokenizer_config.json"}


@pytest.mark.parametrize("name", STAGES)
def test_stopped_at_any_point_it_ends_with_the_same_artifact(name, workspace, monkeypatch):
    """Thrice in the middle of training and once after its end; each time a half-written checkpoint lies about."""
    stage, config = STAGES[name]
    whole = stage.run(config, workspace)
    set_aside = workspace.path / "whole"
    shutil.copytree(whole.path, set_aside)
    workspace.artifacts.set_aside(whole.id)
    real_train, real_save = stage.train, checkpoints.save
    begun: list[int] = []

    def train(*given, hooks, on_start, **named):
        def stop(state):
            if state.step == begun[-1] + 2 and len(begun) <= 3 and state.step < state.total_steps:
                raise KeyboardInterrupt

        settings = given[3].model_copy(update={"checkpoint_seconds": 0.0})
        return real_train(
            *given[:3],
            settings,
            hooks=[*hooks, (1, stop)],
            on_start=lambda step: begun.append(step) or on_start(step),
            **named,
        )

    def save(*given):
        if not interrupted_at_the_end:
            interrupted_at_the_end.append(True)
            raise KeyboardInterrupt
        return real_save(*given)

    interrupted_at_the_end: list[bool] = []
    monkeypatch.setattr(stage, "train", train)
    monkeypatch.setattr(checkpoints, "save", save)
    for _ in range(9):
        try:
            resumed = stage.run(config, workspace)
            break
        except KeyboardInterrupt:
            (draft,) = [path for path in (workspace.path / "work").iterdir() if path.is_dir()]
            for checkpoint in list(draft.glob("scratch-run.safetensors")):
                half = checkpoint.read_bytes()[:100]
                checkpoint.with_name(f".{checkpoint.name}.1.aside").write_bytes(half)
    assert interrupted_at_the_end
    assert len(begun) > 2
    assert begun == sorted(begun)
    assert begun[-1] > 0
    assert resumed.id == whole.id
    assert weights(resumed) == (set_aside / "model.safetensors").read_bytes()
    assert set(resumed.files) - MODEL <= {"samples.jsonl"}
    assert set(resumed.files) == set(whole.files)
    for file in ("samples.jsonl", "tokenizer.json"):
        if file in whole.files:
            assert resumed.files[file] == whole.files[file]
    timed = {"tokens_per_second", "mfu", "matmul_peak_gflops"}
    timed |= {"episodes_per_second", "training_seconds"}
    assert {k: v for k, v in resumed.metrics.items() if k not in timed} == {
        k: v for k, v in whole.metrics.items() if k not in timed
    }
    assert curves(resumed.path) == curves(set_aside)


def curves(folder: Path):
    return [{k: v for k, v in point.items() if k != "tokens_per_second"} for point in read_log(folder)]


def test_what_is_made_says_how_it_was_made(workspace):
    base, tuned, ranked, rewarded = map(workspace.latest, ("pretrain", "sft", "rankings", "reward"))
    assert base.metrics["steps"] == 6
    assert base.metrics["tokens"] == 3072
    assert base.metrics["parameters"] == sum(p.numel() for p in load_model(base.path).parameters())
    steps = [point["step"] for point in read_log(base.path) if "loss" in point]
    assert steps == [1, 2, 3, 4, 5, 6]
    assert [p["step"] for p in read_log(base.path) if "validation_bits_per_byte" in p] == [3, 6]
    assert {sample["step"] for sample in base.metrics["samples"]} == {3, 6}
    assert sum(tuned.metrics["kinds"].values()) >= tuned.metrics["examples"] > 40
    assert tuned.metrics["validation_loss"] > 0
    assert ranked.metrics["parts"] == {"reward": 12, "judge": 12, "validation": 10}
    assert ranked.metrics["constructed"] is True
    assert rewarded.metrics["qualified"] is True
    assert rewarded.metrics["pairs"] > 0
    made = ppo.run(PPO, workspace)
    assert made.metrics["episodes"] == 18
    assert made.metrics["steps"] == 6
    assert made.metrics["stopped_early"] is None
    assert [one["judge"] is not None for one in made.metrics["watch"]["frontier"]] == [
        True,
        False,
        True,
        True,
    ]  # the policy as it ends, too
    figures = [point for point in read_log(made.path) if "kl" in point]
    assert [point["step"] for point in figures] == [1, 3, 5, 7]
    assert made.metrics["kl"] == figures[-1]["kl"]
    assert abs(figures[0]["kl"]) < 1e-3  # the policy begins as its own reference
    assert weights(made) != weights(tuned)


def test_a_rerun_skips_what_exists(workspace):
    before = {name: workspace.latest(name) for name in ("pretrain", "sft", "rankings", "reward")}
    for stage, config in ((pretrain, PRETRAIN), (sft, SFT), (rankings, RANKINGS), (reward, REWARD)):
        assert stage.run(config, workspace) in before.values()
    assert sft.run(SFT.model_copy(update={"learning_rate": 2e-3}), workspace) != before["sft"]


def test_no_two_stages_learn_from_one_document(workspace):
    """Demonstrations, rankings, the judge's rankings and rollouts, and what qualifies is of the validation split."""
    folder = workspace.latest("rankings").path
    of = {part: {r.question.document_id for r in read_rankings(folder, part)} for part in ("reward", "judge")}
    train = list(read_documents(workspace.latest("clean").path / "documents.parquet", split="train"))
    for part in ("reward", "judge"):
        allowed = {question.id for question in questions(train, part)}
        assert {ranking.question.id for ranking in read_rankings(folder, part)} <= allowed
    assert not of["reward"] & of["judge"]
    cleaned = workspace.latest("clean").path / "documents.parquet"
    validation = {document.id for document in read_documents(cleaned, split="validation")}
    assert {r.question.document_id for r in read_rankings(folder, "validation")} <= validation
    assert not validation & (of["reward"] | of["judge"])
    asked = [r.question.prompt for part in ("reward", "judge", "validation") for r in read_rankings(folder, part)]
    assert len(set(asked)) == len(asked)


def test_the_judge_is_another_model_on_other_questions(workspace):
    made = judge.run(JUDGE, workspace)
    assert made.stage == "judge"
    assert made.inputs == workspace.latest("reward").inputs
    assert weights(made) != weights(workspace.latest("reward"))
    assert load_reward_model(made.path).config == load_reward_model(workspace.latest("reward").path).config


def test_ppo_refuses_a_reward_model_below_its_bar(workspace, capsys):
    strict = RewardBar(accuracy=1, calibration_error=0, length_bias=1, longer_is_worse=0)
    made = reward.run(REWARD.model_copy(update={"bar": strict}), workspace)
    assert made.metrics["qualified"] is False
    assert [line["passed"] for line in made.metrics["bar"]][:3] == [False, False, True]
    assert "not qualified: accuracy on pairs of unseen questions: 0." in capsys.readouterr().err
    with pytest.raises(ppo.NotQualified) as refused:
        ppo.run(PPO, workspace)
    first, accuracy, calibration, last = str(refused.value).splitlines()
    assert first == f"reward model {made.id} is not qualified, so PPO did not start:"
    shown = int(made.metrics["accuracy"]["mean"] * 1000) / 1000  # never rounded up to the bar
    assert accuracy.startswith(f"  accuracy on pairs of unseen questions: {shown:.3f} [")
    assert accuracy.endswith("required: at least 1 (failed)")
    assert calibration.startswith("  calibration error: ")
    assert "loosen [reward.bar]; --set ppo.require_qualified=false" in last
    with pytest.raises(HomeroomError, match="homeroom ppo"):
        workspace.latest("ppo")
    made = ppo.run(PPO.model_copy(update={"require_qualified": False}), workspace)
    assert "is not qualified, and used all the same: accuracy" in capsys.readouterr().err
    assert made.metrics["episodes"] == 18


def test_ppo_refuses_a_reward_model_that_nobody_held_against_a_bar(workspace):
    old = workspace.latest("reward")
    with workspace.publish("reward", REWARD.model_copy(update={"seed": 9})) as draft:
        draft.metrics = {name: value for name, value in old.metrics.items() if name != "bar"}
    with pytest.raises(ppo.NotQualified, match="made before there was a bar: run `homeroom reward` again"):
        ppo.run(PPO, workspace)


@pytest.mark.parametrize("tied", [False, True])
def test_above_kl_stop_the_run_ends_and_the_last_good_weights_are_kept(tied, workspace):
    """At this rate the first iteration already leads too far: what is kept is the SFT model itself."""
    if tied:
        pretrain.run(PRETRAIN.model_copy(update={"tied": True, "learning_rate": 3e-3}), workspace)
        for stage, config in ((sft, SFT), (rankings, RANKINGS), (reward, REWARD)):
            stage.run(config, workspace)
    far = ROLLOUTS.model_copy(update={"kl_stop": 0.05, "iterations": 6, "answers_per_question": 1})
    made = ppo.run(PPO.model_copy(update={"rollouts": far, "learning_rate": 0.2}), workspace)
    assert made.metrics["stopped_early"].startswith("KL to the reference reached")
    assert "(limit 0.05) at iteration 1; the weights from before it are kept" in made.metrics["stopped_early"]
    assert abs(made.metrics["kl"]) < 1e-3
    assert weights(made) == weights(workspace.latest("sft"))
    assert [sample["step"] for sample in made.metrics["samples"]][-1] == 3  # what went wrong can be read


def test_without_questions_there_is_nothing_to_demonstrate(tmp_path, documents, publish_clean):
    with Workspace.open(tmp_path) as opened:
        publish_clean(opened, (Document("folder:x", "text", one.text, {}, "zh", one.split) for one in documents))
        tokenize.run(tokenize.Config(vocab_size=400), opened)
        pretrain.run(PRETRAIN.model_copy(update={"tokens": 512}), opened)
        with pytest.raises(HomeroomError, match=r"no question can be made of .*Collect idioms, functions or dialogues"):
            sft.run(SFT, opened)


@pytest.mark.parametrize(("stage", "config", "missing"), [
    (reward, REWARD, "reward"), (judge, JUDGE, "judge"), (judge, JUDGE, "validation"),
])  # fmt: skip
def test_without_rankings_there_is_no_order_to_learn(stage, config, missing, workspace):
    lines = (workspace.latest("rankings").path / "rankings.jsonl").read_text(encoding="utf-8").splitlines()
    with workspace.publish("rankings", RANKINGS.model_copy(update={"seed": 9})) as draft:
        kept = [line for line in lines if json.loads(line)["part"] != missing]
        (draft.path / "rankings.jsonl").write_text("\n".join(kept), encoding="utf-8")
    with pytest.raises(HomeroomError, match=rf"holds no rankings for {missing}.*Collect more .*\[rankings\]"):
        stage.run(config, workspace)


def test_without_questions_there_is_nothing_to_sample_answers_to(workspace):
    long = PPO.model_copy(update={"rollouts": ROLLOUTS.model_copy(update={"max_tokens": 127})})
    with pytest.raises(HomeroomError, match=r"answer of 127 tokens in a context of 128.*\[ppo\.rollouts\]\.max_tokens"):
        ppo.run(long, workspace)


@pytest.mark.parametrize(("stage", "config", "built_on"), [
    (sft, SFT, "pretrain"), (rankings, RANKINGS, "sft"), (reward, REWARD, "sft"), (ppo, PPO, "sft"),
    (ppo, PPO, "reward"), (pretrain, PRETRAIN, "tokenize"),
])  # fmt: skip
def test_nothing_is_learned_from_a_changed_byte(stage, config, built_on, workspace):
    name = "train-00000.bin" if built_on == "tokenize" else "model.safetensors"
    path = workspace.latest(built_on).path / name
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(Damaged, match=rf"{name} is not as it was published.*homeroom verify"):
        stage.run(config.model_copy(update={"seed": 99}), workspace)


@pytest.mark.parametrize("max_length", [96, 1024])
def test_as_many_tokens_are_read_as_were_asked_for(max_length, workspace):
    """Also where rows of the context's length do not fill batch_tokens, or are longer than it."""
    config = PRETRAIN.model_copy(update={"max_length": max_length, "validate_every": 100})
    assert 3000 <= pretrain.run(config, workspace).metrics["tokens"] < 3000 + config.step_tokens


def test_without_questions_there_is_nothing_to_rank(workspace):
    with pytest.raises(HomeroomError, match=r"an answer of 128 tokens in a context of 128.*\[rankings\]\.max_tokens"):
        rankings.run(RANKINGS.model_copy(update={"max_tokens": 128}), workspace)


def test_a_ranking_keeps_a_place_for_the_right_answer():
    with pytest.raises(ValidationError, match="own_answers is 5, but of 5 answers one is right: at most 4 are allowed"):
        rankings.Config(answers=5, own_answers=5)


def test_a_kl_stop_that_is_passed_before_the_first_step_is_refused(workspace):
    sft = workspace.latest("sft")
    tokenizer, policy, reference = Tokenizer.load(sft.path), load_model(sft.path), load_model(sft.path)
    with torch.no_grad():
        reference.trunk.blocks[0].feed_forward.down.weight.normal_(generator=torch.Generator().manual_seed(0))
    config = PPO.model_copy(update={"rollouts": ROLLOUTS.model_copy(update={"kl_stop": 1e-3})})
    asked = [prompt_ids("How are you?", tokenizer)] * 4

    def nothing(rows: list[list[int]]) -> torch.Tensor:
        return torch.zeros(len(rows))

    def run() -> None:
        with workspace.publish("ppo", config, [sft]) as draft:
            ppo.by_ppo(config, policy, reference, asked, nothing, tokenizer, draft, dtype=torch.float32)

    with pytest.raises(HomeroomError, match=r"before a single step.*Raise \[ppo\.rollouts\]\.kl_stop"):
        run()


def test_a_slow_machine_reads_as_many_tokens_as_fit_the_minutes(workspace, capsys):
    made = pretrain.run(PRETRAIN.model_copy(update={"tokens": 10**9, "minutes": 1e-5}), workspace)
    assert made.metrics["steps"] < 20
    assert "of 1,000,000,000 fit 1e-05 minutes" in capsys.readouterr().err


def test_the_loop_settings_are_the_recipes(workspace):
    config = PRETRAIN.model_copy(update={"weight_decay": 0.3, "embedding_rate": 0.5, "gradient_clip": 0.7, "seed": 4})
    read = config.loop_settings(12)
    assert isinstance(read, LoopSettings)
    assert (read.steps, read.gradient_clip, read.seed, read.decay) == (12, 0.7, 4, config.decay)
    optimizer = read.optimizer
    assert (optimizer.learning_rate, optimizer.embedding_rate, optimizer.weight_decay) == (1e-2, 0.5, 0.3)


def test_own_answers_are_ranked_in_the_very_tokens_that_ppo_scores(workspace):
    """Which a text alone would not give back: most of what a model samples is no tokenizer's way to write it."""
    sft = workspace.latest("sft")
    model, tokenizer = load_model(sft.path), Tokenizer.load(sft.path)
    encoded_alike = compared = 0
    for ranking in read_rankings(workspace.latest("rankings").path, "reward"):
        rows = as_rows(ranking, tokenizer, 128).rows
        for row, given in zip(rows, ranking.answers, strict=True):
            if given.kind != "own":
                continue
            prompt = prompt_ids(ranking.question.prompt, tokenizer)
            sampling = Sampling(max_tokens=RANKINGS.max_tokens, temperature=RANKINGS.temperature)
            (said,) = generate_answers(model, tokenizer, [ranking.question], sampling, RANKINGS.seed)
            assert row == [*prompt, *said.token_ids]
            compared += 1
            encoded_alike += tokenizer.encode(given.text) == list(said.token_ids)
    assert compared
    assert encoded_alike < compared


def test_a_model_leads_back_to_what_it_was_made_from(workspace):
    made = workspace.latest("reward")
    assert made_from(workspace, made, "sft") == workspace.latest("sft")
    assert made_from(workspace, made, "tokenize") == workspace.latest("tokenize")
    with pytest.raises(HomeroomError, match=rf"{made.id} was not made from any artifact of vote"):
        made_from(workspace, made, "vote")
