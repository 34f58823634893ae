"""Models of every family and tokenizers of every kind answer in transformers as here; damage to the files is seen."""

import importlib.util
import json

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer as Backend
from tokenizers import normalizers

from homeroom.evaluation import in_transformers
from homeroom.evaluation.in_transformers import CannotLoad
from homeroom.evaluation.portability import Mismatch, prove
from homeroom.models.checkpoint import save_model
from homeroom.models.formats import gguf_file
from homeroom.settings import HomeroomError
from homeroom.text.gguf_tokenizer import to_gguf
from homeroom.text.tokenizer import Tokenizer

SHAPES = {
    "llama": {"kv_heads": 2},
    "llama-3": {
        "rope_scaling": {"factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_length": 64}
    },
    "qwen2": {"qkv_bias": True, "kv_heads": 2, "tied": True},
    "qwen3": {"qk_norm": True, "kv_heads": 2, "head_size": 16},
    "gpt2": {"style": "gpt2", "tied": True, "hidden": 40},
}
OWN = Tokenizer.train(
    2 * ["What does the Python function json.dumps do? It's 12.", "画蛇添足是什么意思？", "def f(a):\n    return a"],
    400,
)


@pytest.fixture(autouse=True)
def quiet():
    transformers.utils.logging.disable_progress_bar()
    yield
    transformers.utils.logging.enable_progress_bar()


@pytest.fixture
def new_network(new_model):
    def made(tokenizer, shape="llama", rows=0, **changes):
        return new_model(vocab_size=tokenizer.vocab_size + rows, max_length=220, **SHAPES[shape], **changes)

    return made


def folder(tmp_path, model, tokenizer, ends=True):
    save_model(model, tmp_path, {"eos_token_id": tokenizer.end_id, "pad_token_id": tokenizer.pad_id})
    tokenizer.save(tmp_path)
    if ends and not (tmp_path / "generation_config.json").exists():
        ids = {"eos_token_id": sorted(tokenizer.end_ids), "pad_token_id": tokenizer.pad_id}
        (tmp_path / "generation_config.json").write_text(json.dumps(ids))
    return tmp_path


def file(tmp_path, model, tokenizer, quantisation="F32"):
    path = tmp_path / f"{quantisation}.gguf"
    metadata = {"general.name": "small"} | to_gguf(tokenizer, model.config.vocab_size)
    gguf_file.write(path, model.config, model.state_dict(), metadata, quantisation)
    return path


def changed(path, change):
    content = json.loads(path.read_text("utf-8"))
    change(content)
    path.write_text(json.dumps(content), "utf-8")


@pytest.mark.parametrize("shape", [shape for shape in SHAPES if shape != "qwen2"])
def test_a_folder_of_every_family_is_proven(shape, new_network, tmp_path):
    model = new_network(OWN, shape)
    proof = prove(folder(tmp_path, model, OWN), model, OWN, max_tokens=3)
    assert len(proof.prompts) == 20
    assert all(one.continuation for one in proof.prompts if len(one.token_ids) < 220)
    assert proof.logit_difference < 1e-5
    assert (proof.rounded, proof.other_cutting) == (False, None)


def test_a_tokenizer_that_transformers_takes_for_another_is_seen(new_network, tmp_path):
    """AutoTokenizer reads every folder whose model_type is qwen2 with Qwen's way to cut and NFC (transformers 5)."""
    model = new_network(OWN, "qwen2")
    with pytest.raises(Mismatch, match=r"prompt 'accents, asked' .* of the prompt: here \d+ \('e'\)"):
        prove(folder(tmp_path, model, OWN), model, OWN)


@pytest.mark.parametrize("shape", SHAPES)
def test_a_gguf_file_of_every_family_is_proven(shape, new_network, tmp_path):
    model = new_network(OWN, shape)
    proof = prove(file(tmp_path, model, OWN), model, OWN, max_tokens=3)
    assert not proof.rounded
    assert proof.as_unrounded == len(proof.prompts) == 20
    assert ("rope_parameters" in proof.model) == (shape == "llama-3")


@pytest.mark.parametrize("quantisation", ["F16", "Q8_0"])
def test_rounding_is_told_and_held_against_the_file_itself(quantisation, new_network, tmp_path):
    model = new_network(OWN)
    proof = prove(file(tmp_path, model, OWN, quantisation), model, OWN, max_tokens=32)
    assert proof.rounded
    told = proof.as_json()
    assert told["as_unrounded"] == sum(one["unrounded"] is None for one in told["prompts"])
    if quantisation == "Q8_0":
        assert proof.as_unrounded < 20  # random weights have much closer picks than learned ones
    for one in proof.prompts:
        if one.unrounded is not None:
            assert one.unrounded.here == [*one.continuation, None][one.unrounded.position]


@pytest.fixture
def exported(new_network, tmp_path):
    model = new_network(OWN)
    return folder(tmp_path, model, OWN), model


def test_another_template_is_seen(exported):
    path, model = exported

    def damage(content):
        content["chat_template"] = content["chat_template"].replace("'<|assistant|>' -}}{%- endif", "' ' -}}{%- endif")

    changed(path / "tokenizer_config.json", damage)
    with pytest.raises(Mismatch, match=r"prompt 'English, asked' .*token \d+ of the prompt: here 4 .*<\|assistant\|>"):
        prove(path, model, OWN)


def test_a_template_that_is_lost_is_seen(exported):
    path, model = exported
    changed(path / "tokenizer_config.json", lambda content: content.pop("chat_template"))
    with pytest.raises(Mismatch, match=r"the template refuses it in transformers .* alone"):
        prove(path, model, OWN)


def test_another_normalizer_is_seen(exported):
    path, model = exported
    backend = Backend.from_file(str(path / "tokenizer.json"))
    backend.normalizer = normalizers.Lowercase()
    backend.save(str(path / "tokenizer.json"))
    with pytest.raises(Mismatch, match=r"prompt 'English' .*token 1 of the prompt: here \d+ \('T"):
        prove(path, model, OWN)


def test_a_text_that_begins_otherwise_is_seen(exported):
    path, model = exported
    changed(path / "tokenizer.json", lambda content: content.update(post_processor=None))
    with pytest.raises(Mismatch, match=r"token 0 of the prompt: here 1 .*<\|document\|>"):
        prove(path, model, OWN)


def test_another_end_is_seen(exported):
    path, model = exported
    changed(path / "generation_config.json", lambda content: content.update(eos_token_id=7))
    with pytest.raises(Mismatch, match=r"generation ends with tokens \[5\] here, \[7\]"):
        prove(path, model, OWN)


def test_another_weight_is_seen(exported):
    path, model = exported
    tensors = load_file(path / "model.safetensors")
    tensors["model.norm.weight"][3] += 2
    save_file(tensors, path / "model.safetensors", {"format": "pt"})
    with pytest.raises(Mismatch, match=r"of the continuation: here \d+ \(.*in transformers 5.* \d+ \("):
        prove(path, model, OWN, max_tokens=8)


def test_a_small_change_that_no_pick_shows_is_seen(exported):
    path, model = exported
    changed(path / "config.json", lambda content: content.update(rms_norm_eps=0.002))
    with pytest.raises(Mismatch, match=r"logits differ by .* of their spread"):
        prove(path, model, OWN, max_tokens=1)


@pytest.fixture
def twins(exported):
    """Two rows of the head that are nearly one, so many times what they were, here and in the files. Either may win."""
    path, model = exported

    def scaled(here, there):
        said = prove(path, model, OWN, max_tokens=8).prompts[0].continuation
        twin = next(at for at in range(OWN.vocab_size - 1, 0, -1) if at not in said and at not in OWN.end_ids)
        row = model.head.weight[said[0]].detach().clone()
        for stored in (True, False):
            with torch.no_grad():
                model.head.weight[[said[0], twin]] = torch.outer(torch.tensor(there if stored else here), row)
            if stored:
                save_model(model, path, {"eos_token_id": OWN.end_id})
        return path, model

    return scaled


def test_a_near_tie_is_counted_and_both_go_on(twins):
    """The two models differ by which has the larger, and by no more than that: it is the noise."""
    proof = prove(*twins((1.0, 1 + 1e-6), (1 + 1e-6, 1.0)), OWN, max_tokens=8)
    ties = [tie for one in proof.prompts for tie in one.ties]
    assert proof.near_ties == len(ties) > 0
    assert proof.as_json()["near_ties"] == len(ties)
    assert all(0 < tie.gap <= proof.logit_difference < 1e-5 for tie in ties)


def test_picks_that_are_further_apart_than_the_noise_are_no_tie(twins):
    """No logit is more than 1e-5 of itself off; here the picks are 2e-5 apart, there next to nothing."""
    with pytest.raises(Mismatch, match=r"of the continuation: here .*apart, and the noise of both programs is at most"):
        prove(*twins((1 - 1e-5, 1 + 1e-5), (1 + 1e-7, 1.0)), OWN, max_tokens=8)


def test_a_recommended_penalty_changes_nothing(exported):
    path, model = exported
    changed(path / "generation_config.json", lambda said: said.update(repetition_penalty=9.0, top_k=3))
    assert prove(path, model, OWN, max_tokens=8).near_ties == 0


def test_files_that_transformers_cannot_load_are_named(exported):
    path, model = exported
    (path / "config.json").write_text("{")
    with pytest.raises(CannotLoad, match=f"{path}: transformers .* cannot load it"):
        prove(path, model, OWN)


@pytest.mark.parametrize("part", ["transformers", "accelerate"])
def test_without_transformers_it_says_what_to_install(part, exported, monkeypatch):
    path, model = exported
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == part else real(name))
    with pytest.raises(HomeroomError, match=rf"{part} is not installed.*pip install 'homeroom\[export\]'.*--no-proof"):
        prove(path, model, OWN)
    monkeypatch.undo()
    monkeypatch.setattr(in_transformers.importlib.metadata, "version", lambda _: "4.40.1")
    with pytest.raises(HomeroomError, match=r"transformers 4\.40\.1 is too old"):
        prove(path, model, OWN)
