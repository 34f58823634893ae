"""Scoring a file by the command line: figures, what is known already, and which model is meant."""

import json

import pytest
from typer.testing import CliRunner

from homeroom import cli
from homeroom.evaluation import multiple_choice
from homeroom.models.int8 import Int8Weights
from homeroom.report import overview
from homeroom.settings import HomeroomError
from homeroom.stages import compress, score
from homeroom.tasks.multiple_choice import Item
from homeroom.text.tokenizer import Tokenizer
from homeroom.workspace.errors import Damaged

ROWS = [
    {"question": f"Is {word} good?", "choices": ["It is good.", "It is bad.", "Yes"][: 2 + (n == 0)], "answer": n % 2,
     "category": "odd" if n % 2 else "even", "id": word}
    for n, word in enumerate(["东西", "南北", "风云", "山水"])
]  # fmt: skip


@pytest.fixture
def tasks(tmp_path):
    path = tmp_path / "good.jsonl"
    lines = [json.dumps(row, ensure_ascii=False) for row in ROWS]
    path.write_text("\n".join([*lines, '{"question": "?"}', *["x"] * 14]), encoding="utf-8")
    return path


def homeroom(*arguments):
    return CliRunner().invoke(cli.app, [str(argument) for argument in arguments])


def test_a_person_sees_figures_and_what_was_left_out(workspace, tasks):
    sft = workspace.latest("sft")
    result = homeroom("evaluate", "--tasks", tasks, "--shots", 2, "--shots", 0, "--model", "sft", "-w", workspace.path)
    assert result.exit_code == 0, result.output
    told = result.stdout.splitlines()
    assert told[0] == f"good.jsonl: 4 questions, 2 to 3 choices (chance 45.8 %)      model {sft.id}, float32 weights"
    # The model says that all is good, which half of the answers are.
    heads = [line.split("   ")[0] for line in told[2:8]]
    assert heads == ["0", "  even (2)", "  odd (2)", "2", "  even (2)", "  odd (2)"]
    assert told[2].split() == ["0", "50.0", "%", "[15.0,", "85.0]", "50.0", "%", "[15.0,", "85.0]"]
    assert told[8] == "lines left out: 15"
    assert told[9].startswith("  good.jsonl, line 5: 'choices' must be")
    assert told[-1] == "  … and 5 more, all of them in the score's rejects.jsonl"
    assert sft.id in homeroom("status", "-w", workspace.path).stdout


def test_json_holds_the_same_and_the_artifact_every_score(workspace, tasks):
    result = homeroom("evaluate", "--tasks", tasks, "--model", "sft", "--json", "-w", workspace.path)
    told = json.loads(result.stdout)
    made = workspace.artifacts.get(told.pop("id"))
    assert told == made.metrics
    assert (told["scores"][0]["accuracy"]["n"], told["rejects"], told["model"]) == (4, 15, workspace.latest("sft").id)
    rows = [json.loads(line) for line in (made.path / "scores.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [(row["id"], row["shots"], row["answer"]) for row in rows] == [
        ("东西", 0, 0), ("南北", 0, 1), ("风云", 0, 0), ("山水", 0, 1)
    ]  # fmt: skip
    assert [len(row["logprobs"]) for row in rows] == [3, 2, 2, 2]
    assert len((made.path / "rejects.jsonl").read_text(encoding="utf-8").splitlines()) == 15


def test_what_is_known_is_not_scored_again(workspace, tasks, tmp_path, monkeypatch):
    first = score.run(tasks, workspace, model="sft", shots=[2, 0, 2])
    copy = tmp_path / "another name.jsonl"
    copy.write_bytes(tasks.read_bytes())
    with monkeypatch.context() as patched:
        patched.setattr(score, "read_items", None)
        assert score.run(copy, workspace, model=first.metrics["model"], shots=[0, 2]) == first
    others = [
        score.run(tasks, workspace, model="ppo", shots=[0, 2]),
        score.run(tasks, workspace, model="sft", shots=[2]),
        score.run(tasks, workspace, model="sft", shots=[0, 2], seed=1),
        score.run(tasks, workspace, model="sft", shots=[0, 2], limit=3),
        score.run(tasks, workspace, model="sft", shots=[0, 2], examples_from=copy),
    ]
    assert len({first.id, *(one.id for one in others)}) == 6
    assert others[3].metrics["scores"][0]["accuracy"]["n"] == others[3].metrics["questions"] == 3
    # The same questions behind the same examples, though fewer are asked.
    lines = (others[3].path / "scores.jsonl").read_text(encoding="utf-8").splitlines()
    whole = (first.path / "scores.jsonl").read_text(encoding="utf-8").splitlines()
    for some, same in zip(lines, [*whole[:3], *whole[4:7]], strict=True):
        some, same = json.loads(some), json.loads(same)
        assert some.pop("logprobs") == pytest.approx(same.pop("logprobs"), abs=1e-4)
        assert some == same
    tasks.write_text(tasks.read_text(encoding="utf-8") + "\n", encoding="utf-8")
    assert score.run(tasks, workspace, model="sft", shots=[0, 2]).id != first.id


def test_examples_come_from_the_other_file(workspace, tasks, tmp_path, monkeypatch):
    other = tmp_path / "other.jsonl"
    other.write_text('{"question": "Where?", "choices": ["Here", "There"], "answer": 1}\nx\n', encoding="utf-8")
    seen, real = [], multiple_choice.prompt_after
    monkeypatch.setattr(multiple_choice, "prompt_after", lambda *all: seen.append(all[0]) or real(*all))
    made = score.run(tasks, workspace, model="sft", shots=[1], examples_from=other)
    assert seen == [[Item("Where?", ("Here", "There"), 1, id="1")]] * 4
    assert made.metrics["examples_from"] == "other.jsonl"
    assert made.metrics["rejects"] == 16
    with pytest.raises(HomeroomError, match="2 examples are wanted, but there are only 1 other questions"):
        score.run(tasks, workspace, model="sft", shots=[2], examples_from=other)


def test_a_model_is_named_as_champion_stage_or_beginning_of_its_id(workspace):
    sft = workspace.latest("sft")
    with pytest.raises(HomeroomError, match=r"no champion yet\. Name a model: pretrain, sft"):
        score.find_model(workspace, "champion")
    workspace.registry.promote(sft.id, {})
    for name in ("champion", "sft", sft.id, sft.id[:8], sft.id[:8] + "…"):
        assert score.find_model(workspace, name).id == sft.id
    with pytest.raises(HomeroomError, match=f"model 'stf' is no model of.* Allowed: champion, .*{sft.id}"):
        score.find_model(workspace, "stf")
    with workspace.publish("sft", score.Config(tasks="another", weights="float32 weights"), [sft]) as draft:
        pass
    with pytest.raises(HomeroomError, match=f"model 'sft-' could be several.*one of {sft.id}, {draft.id}"):
        score.find_model(workspace, "sft-")
    with pytest.raises(HomeroomError, match=r"model 'judge-' is no model of this workspace"):
        score.find_model(workspace, "judge-")


@pytest.mark.parametrize("compiled", [True, False])
def test_int8_weights_are_scored_under_their_own_name(workspace, tasks, monkeypatch, compiled):
    sft = workspace.latest("sft")
    with pytest.raises(HomeroomError, match=f"no int8 weights of {sft.id} yet. Run `homeroom compress {sft.id}`"):
        score.run(tasks, workspace, model="sft", compressed=True)
    if compiled:
        pytest.importorskip("numba")
    else:
        monkeypatch.setattr("homeroom.models.compiled.can_compile", lambda _config: False)
    int8 = compress.run(compress.Config(), workspace, sft)
    asked = ("evaluate", "--tasks", tasks, "-w", workspace.path)
    told = homeroom(*asked, "--model", "sft", "--compressed").stdout.splitlines()
    read_as = "" if compiled else ", read as float32"
    assert told[0].endswith(f"      model {int8.id}, int8 weights of {sft.id}{read_as}")
    made = workspace.latest("score")
    for name in ("compress", int8.id, int8.id[:12]):
        assert score.run(tasks, workspace, model=name).id == made.id
    whole = score.run(tasks, workspace, model="sft")
    assert whole.id != made.id
    assert overview.headline(made).endswith(f", int8 weights of {sft.id}{read_as}")
    # The same numbers as one plain forward of the same int8 weights, but for what the kernels round of activations.
    restored, tokenizer = Int8Weights.load(int8.path).restored(), Tokenizer.load(int8.path)
    items = multiple_choice.read_items(tasks, lambda _: None)
    lines = (made.path / "scores.jsonl").read_text(encoding="utf-8").splitlines()
    for line, expected in zip(lines, multiple_choice.score_items(restored, tokenizer, items), strict=True):
        assert json.loads(line)["logprobs"] == pytest.approx(expected.logprobs, rel=0.02 if compiled else 1e-5)


def test_int8_weights_that_are_read_in_another_way_are_scored_again(workspace, tasks, monkeypatch):
    pytest.importorskip("numba")
    int8 = compress.run(compress.Config(), workspace, workspace.latest("sft"))
    by_kernels = score.run(tasks, workspace, model=int8.id)
    monkeypatch.setattr("homeroom.models.compiled.can_compile", lambda _config: False)
    assert score.run(tasks, workspace, model=int8.id).id != by_kernels.id


def test_a_model_that_was_changed_is_not_scored(workspace, tasks):
    path = workspace.latest("sft").path / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-4] + b"\0\0\0\0")
    with pytest.raises(Damaged, match="is not as it was published"):
        score.run(tasks, workspace, model="sft")
    assert [one for one in workspace.artifacts.all() if one.stage == "score"] == []


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["--shots", "5"], "go with --tasks FILE"),
        (["--json"], "go with --tasks FILE"),
        (["--tasks", "nowhere.jsonl"], "nowhere.jsonl: there is no such file"),
        (["--tasks", "nowhere.jsonl", "--set", "evaluate.seed=2"], "--recipe and --set are of the circle's evaluation"),
    ],
)
def test_what_does_not_go_together_is_said(workspace, arguments, why):
    result = homeroom("evaluate", *arguments, "-w", workspace.path)
    assert result.exit_code == 1
    assert why in result.stderr


def test_without_a_file_every_stage_is_measured_as_the_recipe_says(workspace, evaluating):
    sets = [
        f"--set=evaluate.{key}={json.dumps(value)}" for key, value in evaluating.model_dump(exclude={"mix"}).items()
    ]
    result = homeroom("evaluate", "-w", workspace.path, "-r", "recipes/starter.toml", *sets)
    assert result.exit_code == 0, result.output
    assert workspace.latest("evaluate").settings["questions"] == evaluating.questions


def test_a_damaged_score_says_how_it_is_made_again(workspace, tasks):
    made = score.run(tasks, workspace, model="sft")
    (made.path / "scores.jsonl").write_text("")
    told = homeroom("verify", "--set-aside", "-w", workspace.path).stdout
    assert "Run `homeroom evaluate --tasks FILE` to make it again" in told
