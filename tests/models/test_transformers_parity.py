"""Held against transformers on random weights, in both directions and in float32."""

import json
from collections.abc import Iterator

import pytest
import torch
import transformers
from torch import nn

from homeroom.models.checkpoint import load_model, load_reward_model, save_model
from homeroom.models.heads import RewardModel
from homeroom.models.padding import pad_rows

SMALL_GPT2 = {"vocab_size": 50, "n_positions": 24, "n_embd": 32, "n_layer": 2, "n_head": 4}
SMALL_LLAMA = {
    "vocab_size": 50,
    "max_position_embeddings": 24,
    "hidden_size": 32,
    "intermediate_size": 40,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
LLAMA3_ROPE = {
    "rope_type": "llama3",
    "rope_theta": 300.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 16,
}


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    transformers.utils.logging.disable_progress_bar()
    yield
    transformers.utils.logging.enable_progress_bar()


def theirs(kind: str, *, tied: bool = False, **changes: object) -> nn.Module:
    common = {"tie_word_embeddings": tied, **changes}
    if kind == "gpt2":
        config = transformers.GPT2Config(**{**SMALL_GPT2, "bos_token_id": 1, "eos_token_id": 2, **common})
        model = transformers.GPT2LMHeadModel(config)
    else:
        config = getattr(transformers, f"{kind}Config")(**{**SMALL_LLAMA, "head_dim": 8, **common})
        model = getattr(transformers, f"{kind}ForCausalLM")(config)
    return randomise(model)


def randomise(model: nn.Module) -> nn.Module:
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.3, generator=generator)
    return model.eval()


@torch.no_grad()
def ours_logits(model, tokens_BT):
    return model.logits(model.hidden(tokens_BT))


@torch.no_grad()
def test_a_saved_model_is_one_for_transformers(model, tokens_BT, tmp_path):
    save_model(model, tmp_path, {"eos_token_id": 3})
    loaded, report = transformers.AutoModelForCausalLM.from_pretrained(tmp_path, output_loading_info=True)
    assert not any(report.values()), report
    assert loaded.config.eos_token_id == 3
    torch.testing.assert_close(loaded(tokens_BT).logits, ours_logits(model, tokens_BT), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        ("gpt2", {}),
        ("gpt2", {"n_inner": 40, "layer_norm_epsilon": 1e-2}),
        ("Llama", {"num_key_value_heads": 4}),
        ("Llama", {"num_key_value_heads": 2, "rope_theta": 300.0, "rms_norm_eps": 1e-2}),
        ("Llama", {"num_key_value_heads": 1}),
        ("Llama", {"num_key_value_heads": 2, "rope_parameters": LLAMA3_ROPE}),
        ("Mistral", {"num_key_value_heads": 2, "head_dim": 16, "sliding_window": None}),
        ("Mistral", {"num_key_value_heads": 2, "sliding_window": 20}),
        ("Qwen2", {"num_key_value_heads": 2}),
        ("Qwen2", {"num_key_value_heads": 4, "use_sliding_window": True, "sliding_window": 20, "max_window_layers": 1}),
        ("Qwen3", {"num_key_value_heads": 2, "head_dim": 16, "rms_norm_eps": 1e-3}),
    ],
)
@torch.no_grad()
def test_a_model_saved_by_transformers_is_read(kind, changes, tied, tokens_BT, tmp_path):
    reference = theirs(kind, tied=tied, **changes)
    reference.save_pretrained(tmp_path)
    model = load_model(tmp_path)
    assert model.config.tied == tied
    torch.testing.assert_close(ours_logits(model, tokens_BT), reference(tokens_BT).logits, atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_the_original_gpt2_layout_without_a_prefix_is_read(tokens_BT, tmp_path):
    reference = theirs("gpt2", tied=True)
    reference.transformer.save_pretrained(tmp_path)
    settings = json.loads((tmp_path / "config.json").read_text())
    del settings["tie_word_embeddings"], settings["n_inner"]
    (tmp_path / "config.json").write_text(json.dumps(settings))
    model = load_model(tmp_path)
    torch.testing.assert_close(ours_logits(model, tokens_BT), reference(tokens_BT).logits, atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_half_precision_weights_are_read_as_float32(tokens_BT, tmp_path):
    theirs("Llama", num_key_value_heads=2).to(torch.bfloat16).save_pretrained(tmp_path)
    model = load_model(tmp_path)
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    reference = transformers.AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.float32)
    torch.testing.assert_close(ours_logits(model, tokens_BT), reference(tokens_BT).logits, atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_a_reward_model_is_a_sequence_classifier(model, tmp_path):
    judge = RewardModel(model)
    rows = [[7, 8, 9], [4, 5, 6, 7, 8, 9, 10], [3]]
    save_model(judge, tmp_path, {"pad_token_id": 0})
    loaded, report = transformers.AutoModelForSequenceClassification.from_pretrained(tmp_path, output_loading_info=True)
    assert not any(report.values()), report
    assert type(loaded).__name__.endswith("ForSequenceClassification")
    tokens_BT = pad_rows(rows)
    torch.testing.assert_close(loaded(tokens_BT).logits[:, 0], judge.score(rows), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("kind", ["Llama", "Qwen2", "Qwen3", "GPT2"])
@torch.no_grad()
def test_a_sequence_classifier_is_a_reward_model(kind, tmp_path):
    shape = SMALL_LLAMA if kind != "GPT2" else {**SMALL_GPT2, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
    grouped = {} if kind == "GPT2" else {"num_key_value_heads": 2, "head_dim": 8}
    config = getattr(transformers, f"{kind}Config")(**shape, **grouped, num_labels=1)
    reference = randomise(getattr(transformers, f"{kind}ForSequenceClassification")(config))
    reference.save_pretrained(tmp_path)
    rows = [[7, 8, 9], [4, 5, 6, 7, 8, 9, 10], [3]]
    expected = reference(pad_rows(rows)).logits[:, 0]
    torch.testing.assert_close(load_reward_model(tmp_path).score(rows), expected, atol=1e-4, rtol=1e-4)
