"""GGUF files of every family by the `gguf` package, against transformers' loader; and damage, which is named."""

import contextlib
import io
import struct
import tracemalloc
from pathlib import Path

import gguf
import numpy as np
import pytest
import torch
import transformers
from gguf import GGMLQuantizationType
from hypothesis import given, settings
from hypothesis import strategies as st

from homeroom.evaluation.in_transformers import InTransformers
from homeroom.models.checkpoint import CheckpointError, load_gguf
from homeroom.models.formats import gguf_file

TOKENIZER = {
    "tokenizer.ggml.model": "gpt2",
    "tokenizer.ggml.tokens": [f"t{at}" for at in range(64)],
    "tokenizer.ggml.token_type": [1] * 64,
    "tokenizer.ggml.merges": ["t 1"],
    "tokenizer.ggml.eos_token_id": 2,
    "tokenizer.huggingface.json": '{"model": {"type": "BPE", "vocab": {"a": 0}, "merges": []}, "added_tokens": []}',
}
FAMILIES = {
    "llama": {"kv_heads": 2, "rope_theta": 500.0, "norm_epsilon": 1e-3},
    "llama-tied": {"tied": True, "head_size": 16},
    "qwen2": {"qkv_bias": True, "kv_heads": 2, "tied": True},
    "qwen3": {"qk_norm": True, "kv_heads": 2, "head_size": 16},
    "gpt2": {"style": "gpt2"},
}
LLAMA_3 = {"factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_length": 8192}


@pytest.fixture(autouse=True)
def quiet():
    transformers.utils.logging.disable_progress_bar()
    yield
    transformers.utils.logging.enable_progress_bar()


@pytest.fixture(scope="module")
def new_file(new_model, tmp_path_factory):
    def made(quantisation="F32", **shape):
        model = new_model(**{"vocab_size": 64, "width": 64, "hidden": 96, "max_length": 32} | shape)
        path = tmp_path_factory.mktemp("gguf") / "model.gguf"
        gguf_file.write(path, model.config, model.state_dict(), {"general.name": "small"} | TOKENIZER, quantisation)
        return path, model

    return made


def rewritten(path: Path, target: Path, change=lambda fields, tensors: None, encoding=None) -> Path:
    """The same file by the `gguf` package's writer, with other tensors, fields, or all matrices in this encoding."""
    reader = gguf.GGUFReader(path)
    fields = {name: field for name, field in reader.fields.items() if not name.startswith("GGUF.")}
    values = {name: (field.contents(), field.types) for name, field in fields.items()}
    tensors = {one.name: np.array(one.data, dtype=np.float32).reshape(one.shape[::-1]) for one in reader.tensors}
    change(values, tensors)
    writer = gguf.GGUFWriter(target, values.pop("general.architecture")[0])
    for name, (value, types) in values.items():
        writer.add_key_value(name, value, types[0], types[1] if len(types) > 1 else None)
    for name, value in tensors.items():
        if encoding is None or value.ndim < 2:
            writer.add_tensor(name, value)
        else:
            writer.add_tensor(name, gguf.quants.quantize(value, encoding), raw_dtype=encoding)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return target


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("encoding", ["F32", "F16", "BF16", "Q8_0", "Q4_0", "Q4_1", "Q5_1"])
@torch.no_grad()
def test_every_encoding_of_every_family_is_read_as_transformers_reads_it(family, encoding, new_file, tmp_path):
    whole, _ = new_file(**FAMILIES[family])
    path = rewritten(whole, tmp_path / "other.gguf", encoding=GGMLQuantizationType[encoding])
    model, metadata = load_gguf(path)
    theirs = InTransformers.gguf(path, metadata)
    row = torch.randint(0, 64, (17,), generator=torch.Generator().manual_seed(1)).tolist()
    ours_TV = model.logits(model.hidden(torch.tensor([row]))[0])
    torch.testing.assert_close(ours_TV, theirs.logits(row), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_file_of_ours_comes_back_bit_for_bit(family, new_file):
    path, model = new_file(**FAMILIES[family])
    read, metadata = load_gguf(path)
    for name, value in model.state_dict().items():
        assert torch.equal(value, read.state_dict()[name]), name
    assert metadata["general.name"] == "small"


@pytest.mark.parametrize("original", [16, 8192])
@pytest.mark.parametrize("told", [True, False])
def test_llama_3s_scaling_is_read_from_the_frequencies(original, told, new_file, tmp_path):
    """Other programs write what follows from the scaling alone: then it must be Meta's own."""
    path, model = new_file(max_length=32, width=256, heads=2, rope_scaling=LLAMA_3 | {"original_max_length": original})

    def forget(fields, tensors):
        if not told:
            for name in [name for name in fields if name.startswith("homeroom.")]:
                del fields[name]

    path = rewritten(path, tmp_path / "other.gguf", forget)
    if told or original == 8192:
        assert load_gguf(path)[0].config.rope_scaling == model.config.rope_scaling
    else:
        refused(path, "rope_freqs.weight holds other factors")


def refused(path: Path, *parts: str) -> None:
    with pytest.raises(CheckpointError) as caught:
        load_gguf(path)
    assert all(part in str(caught.value) for part in (str(path), *parts)), str(caught.value)


def drop(name):
    return lambda fields, tensors: tensors.pop(name)


def put(name, value):
    return lambda fields, tensors: tensors.update({name: np.zeros(value, np.float32)})


def say(name, value):
    return lambda fields, tensors: fields.update({name: (value, fields[name][1] if name in fields else [gguf.GGUFValueType.UINT32])})  # fmt: skip # noqa: E501


@pytest.mark.parametrize(
    ("change", "parts"),
    [
        (drop("token_embd.weight"), ["token_embd.weight"]),
        (drop("blk.1.ffn_down.weight"), ["model.layers.1.mlp.down_proj.weight", "missing"]),
        (drop("output_norm.weight"), ["model.norm.weight", "missing"]),
        (put("blk.0.attn_q.weight", (3, 5)), ["q_proj.weight", "(3, 5)"]),
        (put("blk.0.ffn_norm.weight", (9,)), ["(9,)"]),
        (put("output.weight", (64, 63)), ["(64, 63)"]),
        (put("token_embd.weight", (64,)), []),
        (put("rope_freqs.weight", (3,)), ["rope_freqs.weight"]),
        (put("blk.0.attn_rot_embd", (3,)), ["blk.0.attn_rot_embd", "no place"]),
        (put("blk.7.attn_norm.weight", (64,)), ["layer 7"]),
        (say("general.architecture", "mamba"), ["'mamba' is not supported; gpt2, llama"]),
        (say("llama.block_count", 9), ["missing"]),
        (say("llama.attention.head_count", 0), []),
        (say("llama.attention.head_count", 7), []),
        (say("llama.embedding_length", 2**31), []),
        (say("llama.feed_forward_length", 2**31), []),
        (say("llama.context_length", 2**32 - 1), []),
        (say("llama.attention.key_length", 2**30), []),
        (say("llama.expert_count", 8), ["llama.expert_count = 8 is not supported"]),
    ],
)
def test_what_does_not_fit_is_named(change, parts, new_file, tmp_path):
    path, _ = new_file()
    refused(rewritten(path, tmp_path / "other.gguf", change), *parts)


@pytest.mark.parametrize("key", ["block_count", "embedding_length", "context_length", "attention.head_count"])
def test_a_missing_setting_is_named(key, new_file, tmp_path):
    path, _ = new_file()
    target = rewritten(path, tmp_path / "other.gguf", lambda fields, tensors: fields.pop(f"llama.{key}"))
    refused(target, f"llama.{key}")


def test_what_is_no_gguf_file_is_refused(tmp_path):
    refused(tmp_path / "none.gguf", "no such file")
    for content in (b"", b"GGUF", b"PK\x03\x04" + bytes(100), bytes(1000)):
        (tmp_path / "a.gguf").write_bytes(content)
        refused(tmp_path / "a.gguf")


def test_every_truncation_is_noticed(new_file, tmp_path):
    path, _ = new_file(layers=1)
    whole, target = path.read_bytes(), tmp_path / "cut.gguf"
    for length in [*range(0, 3000, 97), *range(3000, len(whole), 4999), len(whole) - 33, len(whole) - 4]:
        target.write_bytes(whole[:length])
        refused(target)


@pytest.fixture(scope="module")
def damaged(new_file, tmp_path_factory):
    path, _ = new_file(layers=1, width=32, hidden=32)
    data = gguf.GGUFReader(path).data_offset
    return path.read_bytes(), data, tmp_path_factory.mktemp("damaged") / "model.gguf"


@settings(max_examples=150)
@given(where=st.integers(0, 10**6), byte=st.integers(0, 255), spread=st.integers(1, 8))
def test_changed_bytes_in_the_header_are_noticed_or_harmless(damaged, where, byte, spread):
    whole, header, path = damaged
    at = where % header
    path.write_bytes(whole[:at] + bytes([byte]) * spread + whole[at + spread :])
    tracemalloc.start()
    told = str(path)
    try:
        with contextlib.redirect_stdout(io.StringIO()), np.errstate(all="ignore"):
            load_gguf(path)
    except CheckpointError as error:
        told = str(error)
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert str(path) in told
    assert peak < 50e6


@pytest.mark.parametrize(("quantisation", "largest"), [("F16", 65504.0), ("Q8_0", 65504.0 * 127)])
def test_weights_that_a_type_does_not_hold_are_refused(quantisation, largest, new_model, tmp_path):
    model = new_model(width=32)
    with torch.no_grad():
        model.embedding.weight[3, 4] = largest
    gguf_file.write(tmp_path / "a.gguf", model.config, model.state_dict(), {}, quantisation)
    with torch.no_grad():
        model.embedding.weight[3, 4] = largest * 1.01
    with pytest.raises(ValueError, match=rf"token_embd.weight holds .*{quantisation} only goes to .*F32 holds it"):
        gguf_file.write(tmp_path / "b.gguf", model.config, model.state_dict(), {}, quantisation)


@pytest.mark.parametrize(
    "lists",
    [
        struct.pack("<IIQ", 9, 0, 2**60),  # a list that says it has 2⁶⁰ bytes
        struct.pack("<I", 9) + struct.pack("<IQ", 9, 1) * 100_000,  # a list of lists of lists …
    ],
)
def test_a_list_without_end_ends_with_the_file(tmp_path, lists):
    key = b"general.tags"
    header = b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + struct.pack("<Q", len(key)) + key
    (tmp_path / "list.gguf").write_bytes(header + lists)
    with pytest.raises(CheckpointError, match=r"list\.gguf: damaged, truncated"):
        load_gguf(tmp_path / "list.gguf")
