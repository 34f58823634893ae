"""A reward that pays for the wrong word: the run ends at the onset, with the weights from before it, also when killed.

Rigged in the weights: the reward model is the judge with its sign turned, so that it pays for answers that say "bad"
where the judge prefers "good". Before PPO the model says the one as often as the other.
"""

import shutil

import pytest
from safetensors.torch import load_file, save_file

from homeroom.data.documents import DocumentWriter
from homeroom.evaluation.reward_hacking import Limits
from homeroom.inference.engine import Engine
from homeroom.inference.request import Request, Sampling
from homeroom.models.checkpoint import load_model
from homeroom.settings import Frozen, HomeroomError
from homeroom.stages import ppo, tokenize
from homeroom.stages.watching import WatchSettings
from homeroom.tasks.questions import questions
from homeroom.text.chat_template import prompt_ids
from homeroom.text.tokenizer import Tokenizer
from homeroom.training.rollouts import RolloutSettings
from homeroom.workspace import Workspace, read_log

ITERATIONS = 14
# Only the judge may end it: of two answers, entropy falls however the model chooses between them.
JUDGED = Limits(windows=(7, 10), judge_by_chance=2e-3, reward_by_chance=0.1, entropy_share=0)
CONFIG = ppo.Config(
    rollouts=RolloutSettings(
        iterations=ITERATIONS, episodes=32, max_tokens=12, kl_coefficient=0, kl_target=1e6, kl_stop=1e6
    ),
    questions=60, learning_rate=4e-4, precision="float32",
    watch=WatchSettings(judge_every=1, questions=40, limits=JUDGED),
)  # fmt: skip
TIMED = {"training_seconds", "episodes_per_second"}


class Made(Frozen):
    by: str


@pytest.fixture(scope="module")
def rigged(template, tmp_path_factory, idiom):
    folder = tmp_path_factory.mktemp("rigged") / "workspace"
    shutil.copytree(template, folder)
    with Workspace.open(folder) as workspace:
        sft, judge = workspace.latest("sft"), workspace.latest("judge")
        with (
            workspace.publish("clean", Made(by="with validation")) as draft,
            DocumentWriter(draft.path / "documents.parquet") as file,
        ):
            for number in range(120):
                file.write(idiom(number, "validation" if number % 4 == 0 else "train"))
        tokenize.run(tokenize.Config(vocab_size=400), workspace)
        for stage, sign in (("judge", 1), ("reward", -1)):
            with workspace.publish(stage, Made(by="rigged"), [sft]) as draft:
                ignored = shutil.ignore_patterns("manifest.json")
                shutil.copytree(judge.path, draft.path, dirs_exist_ok=True, ignore=ignored)
                tensors = load_file(draft.path / "model.safetensors")
                tensors["score.weight"] *= sign
                save_file(tensors, draft.path / "model.safetensors", {"format": "pt"})
                draft.metrics = {"score_mean": 0.0, "score_deviation": 1.0, "bar": []}
    return folder


@pytest.fixture(scope="module")
def watched(rigged):
    """With a run of CONFIG in it, and how many iterations' weights lay there after each of them."""
    lying: list[int] = []
    real = ppo.Watch.see

    def see(watch, iteration, *rest):
        figures = real(watch, iteration, *rest)
        lying.append(len(list(watch.folder.glob("scratch-iteration-*"))))
        return figures

    with pytest.MonkeyPatch.context() as patch, Workspace.open(rigged) as workspace:
        patch.setattr(ppo.Watch, "see", see)
        ppo.run(CONFIG, workspace)
    return rigged, lying


@pytest.fixture
def workspace(watched, tmp_path):
    shutil.copytree(watched[0], tmp_path / "workspace")
    with Workspace.open(tmp_path / "workspace") as opened:
        yield opened


def share_of_bad(folder, idiom):
    tokenizer = Tokenizer.load(folder)
    asked = questions([idiom(number, "train") for number in range(300, 340)])[:80]
    requests = [
        Request(str(number), prompt_ids(one.prompt, tokenizer), Sampling(seed=number, max_tokens=12))
        for number, one in enumerate(asked)
    ]
    said = [
        tokenizer.decode(done.token_ids)
        for done in Engine(load_model(folder), end_id=tokenizer.end_ids).generate(requests)
    ]
    return sum("bad" in text for text in said) / len(said)


def weights(artifact) -> bytes:
    return (artifact.path / "model.safetensors").read_bytes()


def test_it_ends_where_the_judge_turns_away_and_goes_back_to_before(workspace, watched, idiom):
    started = share_of_bad(workspace.latest("sft").path, idiom)
    made = workspace.latest("ppo")
    stop = made.metrics["watch"]["stop"]
    assert stop["kind"] == "judge", made.metrics["watch"]
    assert made.metrics["stopped_early"].startswith("over the last 7 judged iterations the reward rose")
    assert f"the weights of iteration {stop['last_good']} are kept" in made.metrics["stopped_early"]
    assert 0 <= stop["last_good"] < stop["iteration"] < ITERATIONS
    assert max(watched[1]) <= 2
    assert not list(made.path.glob("scratch*"))
    points = [point for point in read_log(made.path) if "sampled_entropy" in point]
    assert len(points) == stop["iteration"] + 1 == len(made.metrics["watch"]["frontier"])
    assert made.metrics["kl"] == points[stop["last_good"]]["kl"]
    assert made.metrics["judge_last"] < made.metrics["judge_first"]

    unwatched = CONFIG.model_copy(update={"watch": CONFIG.watch.model_copy(update={"stop": False})})
    through = ppo.run(unwatched, workspace)
    assert through.metrics["stopped_early"] is None
    assert through.metrics["watch"]["stop"] == stop  # it is told all the same
    ended = share_of_bad(through.path, idiom)
    kept = share_of_bad(made.path, idiom)
    assert ended > started + 0.2
    assert kept < started + (ended - started) / 2


def test_killed_and_resumed_it_stops_at_the_same_place(workspace, monkeypatch):
    whole = workspace.latest("ppo")
    before = {name: value for name, value in whole.metrics.items() if name not in TIMED}
    kept = weights(whole)
    workspace.artifacts.set_aside(whole.id)
    real, begun = ppo.train, []

    def train(*given, hooks, on_start, **named):
        def stop(state):
            if len(begun) <= 3 and state.step == begun[-1] + 3:
                raise KeyboardInterrupt

        return real(
            *given, hooks=[*hooks, (1, stop)], on_start=lambda step: begun.append(step) or on_start(step), **named
        )

    monkeypatch.setattr(ppo, "train", train)
    monkeypatch.setattr(ppo, "CHECKPOINT_SECONDS", 0.0)
    for _ in range(3):
        with pytest.raises(KeyboardInterrupt):
            ppo.run(CONFIG, workspace)
    resumed = ppo.run(CONFIG, workspace)
    assert begun == [0, 2, 4, 6]  # only the end of an iteration can be gone on from
    assert resumed.id == whole.id
    assert {name: value for name, value in resumed.metrics.items() if name not in TIMED} == before
    assert weights(resumed) == kept


def test_a_collapse_is_seen_without_a_judge(workspace):
    """All answers become one: that takes no judge, and none has to be there."""
    limits = Limits(entropy_share=0.6)
    settings = CONFIG.watch.model_copy(update={"judge_every": 0, "limits": limits})
    made = ppo.run(CONFIG.model_copy(update={"watch": settings, "learning_rate": 3e-3}), workspace)
    assert made.metrics["watch"]["stop"]["kind"] == "entropy"
    assert workspace.latest("judge").id not in made.inputs
    assert made.metrics["judge_first"] is None


def test_without_a_judge_ppo_says_what_to_run(workspace):
    for one in workspace.artifacts.all():
        if one.stage == "judge":
            workspace.artifacts.set_aside(one.id)
    with pytest.raises(HomeroomError, match="homeroom judge"):
        ppo.run(CONFIG, workspace)
