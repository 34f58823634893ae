import json
import pickle
import struct

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from homeroom.models.checkpoint import CheckpointError, load_model, load_reward_model, save_model
from homeroom.models.gpt import GPT
from homeroom.models.heads import RewardModel
from homeroom.settings import HomeroomError


@pytest.fixture
def folder(new_model, tmp_path):
    save_model(new_model(kv_heads=2), tmp_path)
    return tmp_path


def refused(folder, *parts, load=load_model):
    """The error's message, which must hold all parts."""
    with pytest.raises(CheckpointError) as caught:
        load(folder)
    message = str(caught.value)
    assert isinstance(caught.value, HomeroomError)
    assert all(part in message for part in (str(folder), *parts)), message
    return message


def change_settings(folder, **changes):
    raw = json.loads((folder / "config.json").read_text())
    for key, value in changes.items():
        raw.pop(key) if value is ... else raw.update({key: value})
    (folder / "config.json").write_text(json.dumps(raw))


def change_tensors(folder, change):
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors")


def shape(model):
    config = model.config  # what is left out in one is written out in the other
    return config.model_copy(update={"hidden": config.hidden_width, "kv_heads": config.kv_heads or config.heads})


def equal(one, other):
    pairs = zip(one.state_dict().items(), other.state_dict().items(), strict=True)
    return shape(one) == shape(other) and all(a == b and torch.equal(x, y) for (a, x), (b, y) in pairs)


def test_a_model_comes_back_bit_for_bit(model, tmp_path):
    save_model(model, tmp_path / "new" / "folder")
    loaded = load_model(tmp_path / "new" / "folder")
    assert equal(model, loaded)
    assert not loaded.training
    assert (loaded.head.weight is loaded.embedding.weight) == model.config.tied
    assert sorted(path.name for path in (tmp_path / "new" / "folder").iterdir()) == ["config.json", "model.safetensors"]


def test_a_reward_model_comes_back_bit_for_bit(model, tmp_path):
    judge = RewardModel(model)
    save_model(judge, tmp_path)
    assert equal(judge, load_reward_model(tmp_path))


def test_saving_again_replaces_the_model(new_model, folder):
    wider = new_model(width=64)
    save_model(wider, folder)
    assert equal(wider, load_model(folder))


def test_special_ids_stand_in_the_settings(new_model, tmp_path):
    save_model(new_model(), tmp_path, {"eos_token_id": 3, "pad_token_id": 4})
    raw = json.loads((tmp_path / "config.json").read_text())
    assert (raw["eos_token_id"], raw["pad_token_id"]) == (3, 4)
    load_model(tmp_path)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_a_missing_file_is_named(folder, name):
    (folder / name).unlink()
    refused(folder, str(folder / name), "missing")


def test_a_missing_folder_is_named(tmp_path):
    refused(tmp_path / "nowhere", "missing")


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_a_file_that_cannot_be_read_is_named(folder, name):
    (folder / name).unlink()
    (folder / name).mkdir()
    refused(folder, str(folder / name), "cannot be read")


def test_every_truncation_of_the_weights_is_noticed(folder):
    path = folder / "model.safetensors"
    whole = path.read_bytes()
    for length in (0, 7, 8, 100, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        refused(folder, str(path), "truncated")


@pytest.fixture(scope="module")
def damaged_folder(new_model, tmp_path_factory):
    model = new_model(layers=1, tied=True)
    folder = tmp_path_factory.mktemp("damaged")
    save_model(model, folder)
    return folder, model, (folder / "model.safetensors").read_bytes()


@settings(max_examples=150)
@given(where=st.integers(0, 10_000), byte=st.integers(0, 255))
def test_a_changed_byte_in_the_header_is_noticed_or_harmless(damaged_folder, where, byte):
    folder, model, whole = damaged_folder
    (header,) = struct.unpack("<Q", whole[:8])
    at = where % (8 + header)
    (folder / "model.safetensors").write_bytes(whole[:at] + bytes([byte]) + whole[at + 1 :])
    try:
        harmless = equal(model, load_model(folder))
    except CheckpointError as error:
        harmless = str(folder) in str(error)
    assert harmless


def test_numbers_read_as_integers_are_refused(folder):
    path = folder / "model.safetensors"
    whole = path.read_bytes()
    path.write_bytes(whole.replace(b'"F32"', b'"I32"', 1))
    refused(folder, str(path), "int32", "floating-point")


def test_a_missing_tensor_is_named(folder):
    for name in list(load_file(folder / "model.safetensors")):
        whole = (folder / "model.safetensors").read_bytes()
        change_tensors(folder, lambda tensors, name=name: tensors.pop(name))
        refused(folder, "model.safetensors", name, "missing")
        (folder / "model.safetensors").write_bytes(whole)


@pytest.mark.parametrize(
    "name", ["model.layers.0.self_attn.q_proj.bias", "model.layers.1.self_attn.q_norm.weight", "score.bias"]
)
def test_a_tensor_that_the_trunk_does_not_have_is_named(folder, name):
    change_tensors(folder, lambda tensors: tensors.update({name: torch.zeros(8)}))
    refused(folder, "model.safetensors", name, "no place")


def test_a_trained_head_is_not_thrown_away_for_the_embedding(folder):
    change_settings(folder, tie_word_embeddings=True)
    refused(folder, "lm_head.weight", "tie_word_embeddings")
    change_tensors(folder, lambda tensors: tensors.update({"lm_head.weight": tensors["model.embed_tokens.weight"] + 0}))
    assert load_model(folder).config.tied


def test_masks_and_frequencies_that_older_programs_wrote_are_left_out(new_model, folder, tmp_path):
    change_tensors(folder, lambda t: t.update({"model.layers.1.self_attn.rotary_emb.inv_freq": torch.ones(4)}))
    load_model(folder)
    save_model(new_model(style="gpt2"), tmp_path / "gpt2")
    masks = {"transformer.h.0.attn.bias": torch.ones(1, 1, 24, 24), "transformer.h.1.attn.masked_bias": torch.ones(())}
    change_tensors(tmp_path / "gpt2", lambda tensors: tensors.update(masks))
    load_model(tmp_path / "gpt2")


@pytest.mark.parametrize("size", [2 * 10**13, 2 * 10**18])
@pytest.mark.parametrize("name", ["vocab_size", "max_position_embeddings"])
def test_settings_beyond_any_memory_are_refused(folder, name, size):
    change_settings(folder, **{name: size})
    refused(folder)


@pytest.mark.parametrize(
    "name", ["model.embed_tokens.weight", "model.layers.0.self_attn.k_proj.weight", "model.layers.1.mlp.up_proj.weight"]
)
def test_a_wrong_shape_is_named(folder, name):
    change_tensors(folder, lambda tensors: tensors.update({name: torch.zeros(3, 5)}))
    message = refused(folder, "model.safetensors", "(3, 5)")
    assert name in message or "embedding.weight" in message


def test_rows_that_moved_from_keys_to_queries_are_noticed(folder):
    def change(tensors):
        prefix = "model.layers.0.self_attn."
        query, key = tensors[f"{prefix}q_proj.weight"], tensors[f"{prefix}k_proj.weight"]
        tensors[f"{prefix}q_proj.weight"], tensors[f"{prefix}k_proj.weight"] = (
            torch.cat((query, key[:8])),
            key[8:].clone(),
        )

    change_tensors(folder, change)
    refused(folder, "model.safetensors", "q_proj", "(40, 32)")


@pytest.mark.parametrize(
    "changes",
    [
        {"vocab_size": 51},
        {"hidden_size": 64},
        {"num_hidden_layers": 3},
        {"num_hidden_layers": 1},
        {"num_key_value_heads": 4},
        {"head_dim": 16},
    ],
)
def test_settings_of_another_shape_do_not_fit(folder, changes):
    change_settings(folder, **{"head_dim": ...} | changes)
    refused(folder, "model.safetensors")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model_type": "bert"}, "model_type 'bert' is not supported; gpt2, llama, mistral, qwen2, qwen3 are"),
        ({"model_type": ...}, "model_type None"),
        ({"hidden_act": "relu"}, "hidden_act = 'relu' is not supported; 'silu' is"),
        ({"attention_bias": True}, "attention_bias = True"),
        ({"rope_parameters": {"rope_type": "yarn"}}, "rope_type 'yarn'"),
        ({"rope_parameters": ..., "rope_scaling": {"type": "linear", "factor": 2.0}}, "rope_type 'linear'"),
        ({"rope_parameters": {"partial_rotary_factor": 0.5}}, "partial_rotary_factor = 0.5"),
        ({"rope_parameters": {"rope_type": "llama3", "factor": 8.0}}, "lacks 'low_freq_factor'"),
        ({"vocab_size": ...}, "lacks 'vocab_size'"),
        ({"vocab_size": "fifty"}, "vocab_size"),
        ({"hidden_size": "64"}, ""),
        ({"num_attention_heads": 0}, ""),
        ({"num_attention_heads": 32, "num_key_value_heads": 32, "head_dim": 1}, "even head width"),
        ({"rope_parameters": "default"}, ""),
    ],
)
def test_settings_that_the_trunk_does_not_have_are_refused(folder, changes, message):
    change_settings(folder, **changes)
    refused(folder, str(folder / "config.json"), message)


@pytest.mark.parametrize(
    "changes",
    [
        {"activation_function": "relu"},
        {"scale_attn_weights": False},
        {"scale_attn_by_inverse_layer_idx": True},
        {"add_cross_attention": True},
    ],
)
def test_gpt2_variants_are_refused(new_model, tmp_path, changes):
    save_model(new_model(style="gpt2"), tmp_path)
    change_settings(tmp_path, **changes)
    refused(tmp_path, "config.json", *changes)


@pytest.mark.parametrize("text", [b"{", b"\xff\xfe", b"[1]", b'"gpt2"', b""])
def test_settings_that_are_not_an_object_are_refused(folder, text):
    (folder / "config.json").write_bytes(text)
    refused(folder, str(folder / "config.json"))


class Trap:
    def __reduce__(self):
        return pytest.fail, ("a pickle was loaded",)


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt", "weights.pth", "model.pkl"])
def test_pickled_weights_are_refused_unread(folder, name):
    (folder / "model.safetensors").unlink()
    (folder / name).write_bytes(pickle.dumps(Trap()))
    refused(folder, str(folder / name), "never loaded")


def test_a_pickle_beside_safetensors_is_left_alone(folder):
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Trap()))
    load_model(folder)


def test_the_two_kinds_are_not_mixed_up(new_model, folder, tmp_path):
    refused(folder, "model.safetensors", "expected a reward model, found a language model", load=load_reward_model)
    judge_folder = tmp_path / "judge"
    save_model(RewardModel(new_model()), judge_folder)
    refused(judge_folder, "model.safetensors", "expected a language model, found a reward model")


def test_a_failed_save_leaves_the_model_that_was_there(new_model, folder, monkeypatch):
    before = load_model(folder)

    def full(*_args, **_kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("homeroom.models.checkpoint.save_file", full)
    with pytest.raises(OSError, match="No space"):
        save_model(new_model(), folder)
    assert equal(before, load_model(folder))


def test_a_loaded_model_can_be_trained(folder):
    model: GPT = load_model(folder)
    assert all(parameter.requires_grad for parameter in model.parameters())
