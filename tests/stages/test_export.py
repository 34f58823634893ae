"""Exporting by the command line: what lies in the folder, what is said, and what a mismatch leaves: nothing."""

import json
import shutil

import pytest
import transformers
from typer.testing import CliRunner

from homeroom import cli
from homeroom.evaluation import portability
from homeroom.evaluation.portability import Mismatch
from homeroom.models.checkpoint import load_gguf, load_model
from homeroom.models.int8 import Int8Weights
from homeroom.report.overview import headline
from homeroom.settings import Frozen, HomeroomError
from homeroom.stages import export
from homeroom.text.gguf_tokenizer import from_gguf
from homeroom.text.tokenizer import Tokenizer

FOLDER = ["config.json", "generation_config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"]


class Made(Frozen):
    by: str


@pytest.fixture(autouse=True)
def quiet():
    transformers.utils.logging.disable_progress_bar()
    yield
    transformers.utils.logging.enable_progress_bar()


@pytest.fixture(autouse=True)
def short(monkeypatch):
    """Continuations of a few tokens: transformers takes its time for each."""
    monkeypatch.setattr(portability.prove, "__kwdefaults__", portability.prove.__kwdefaults__ | {"max_tokens": 3})


def homeroom(*arguments):
    return CliRunner().invoke(cli.app, [str(argument) for argument in arguments])


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_person_gets_a_folder_and_is_told_what_was_compared(workspace, tmp_path):
    sft, to = workspace.latest("sft"), tmp_path / "there" / "model"
    result = homeroom("export", "sft", "--to", to, "-w", workspace.path)
    assert result.exit_code == 0, result.output
    told = {line.split()[0]: line for line in result.stdout.splitlines()}
    assert result.stdout.startswith(f"{sft.id} as hf F32, ")
    assert "20 prompts: same token ids, same greedy continuation of 3 tokens at most (0 near ties)" in told["proof"]
    assert f"AutoModelForCausalLM.from_pretrained('{to}')" in told["use"]
    assert names(to) == sorted([*FOLDER, export.PROOF])
    assert names(to.parent) == ["model"]
    proof = json.loads((to / export.PROOF).read_text("utf-8"))
    assert (proof["source"], proof["count"], proof["libraries"]["transformers"]) == (
        sft.id, 20, transformers.__version__
    )  # fmt: skip
    made = workspace.latest("export")
    assert made.inputs == (sft.id,)
    assert (made.path / export.PROOF).read_bytes() == (to / export.PROOF).read_bytes()
    assert headline(made) == f"{sft.id} as hf F32: 20 prompts answered the same by transformers"
    assert Tokenizer.load(to).end_ids == Tokenizer.load(sft.path).end_ids

    again = homeroom("export", "sft", "--to", to, "-w", workspace.path)
    assert again.exit_code == 0
    assert f"unchanged, skipped: {made.id}" in again.stderr
    assert again.stdout == result.stdout


@pytest.mark.parametrize("type_", ["F16", "Q8_0"])
def test_a_gguf_file_carries_name_and_license(type_, workspace, tmp_path):
    with workspace.publish("sft", Made(by="license"), [workspace.latest("sft")]) as draft:
        shutil.copytree(workspace.latest("sft").path, draft.path, dirs_exist_ok=True)
        draft.metrics["license"] = "MIT"
    with workspace.publish("ppo", Made(by="license"), [draft.artifact]) as taught:
        shutil.copytree(draft.artifact.path, taught.path, dirs_exist_ok=True)
    result = homeroom(
        "export", "ppo", "--to", tmp_path / "g", "--format", "gguf", "--type", type_, "-w", workspace.path
    )
    assert result.exit_code == 0, result.output
    name = f"{taught.id}-{type_}.gguf"
    assert names(tmp_path / "g") == sorted([export.PROOF, name])
    assert "continuations are those of the float32 model" in result.stdout
    assert f"llama-cli -m {tmp_path / 'g' / name}" in result.stdout
    _, metadata = load_gguf(tmp_path / "g" / name)
    assert (metadata["general.name"], metadata["general.license"]) == (taught.id, "MIT")
    assert from_gguf(metadata).to_json() == Tokenizer.load(taught.artifact.path).to_json()


def test_a_mismatch_leaves_nothing(workspace, tmp_path, monkeypatch):
    real = portability.prove

    def damaged(path, *rest, **settings):
        config = json.loads((path / "config.json").read_text())
        (path / "config.json").write_text(
            json.dumps(config | {"rope_theta": 7.0, "rope_parameters": {"rope_theta": 7.0}})
        )
        return real(path, *rest, **settings)

    monkeypatch.setattr(export, "prove", damaged)
    to = tmp_path / "there"
    with pytest.raises(Mismatch, match=rf"does not answer elsewhere.*nothing was written to {to}\.\n  prompt "):
        export.run(workspace, to, model="sft")
    assert not to.exists()
    assert not [name for name in names(tmp_path) if name != "workspace"]
    assert not [one for one in workspace.artifacts.all() if one.stage == "export"]


def test_without_a_proof_it_says_so(workspace, tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(HomeroomError, match=r"pip install 'homeroom\[export\]'"):
        export.run(workspace, tmp_path / "a", model="sft")
    result = homeroom("export", "sft", "--to", tmp_path / "a", "--no-proof", "-w", workspace.path)
    assert "NOT PROVEN" in result.stdout
    assert names(tmp_path / "a") == FOLDER
    assert not [one for one in workspace.artifacts.all() if one.stage == "export"]


def test_what_lies_there_is_not_replaced(workspace, tmp_path):
    to = tmp_path / "mine"
    to.mkdir()
    export.run(workspace, to, model="sft", proof=False)  # an empty folder is none
    export.run(workspace, to, model="sft", proof=False)  # the same
    (to / "notes.txt").write_text("mine")
    with pytest.raises(HomeroomError, match=rf"{to} holds something else .*not there yet"):
        export.run(workspace, to, model="sft", proof=False)
    with pytest.raises(HomeroomError, match=r"notes\.txt is a file"):
        export.run(workspace, to / "notes.txt", model="sft", proof=False)
    assert names(to) == sorted([*FOLDER, "notes.txt"])
    assert names(tmp_path) == ["mine", "workspace"]


def test_what_is_exported(workspace, tmp_path):
    for name in ("judge", workspace.latest("judge").id):
        with pytest.raises(HomeroomError, match="is a reward model, and language models are exported"):
            export.run(workspace, tmp_path / "a", model=name, proof=False)
    with pytest.raises(HomeroomError, match="there is no champion yet"):
        export.run(workspace, tmp_path / "a", proof=False)
    with pytest.raises(HomeroomError, match="--type Q8_0 goes with --format gguf"):
        export.run(workspace, tmp_path / "a", model="sft", type="Q8_0", proof=False)
    sft = workspace.latest("sft")
    with workspace.publish("compress", Made(by="int8"), [sft]) as draft:
        Int8Weights.of(load_model(sft.path)).save(draft.path)
        Tokenizer.load(sft.path).save(draft.path)
    for name in ("compress", draft.id):
        assert export.run(workspace, tmp_path / "a", model=name, proof=False).source == sft
