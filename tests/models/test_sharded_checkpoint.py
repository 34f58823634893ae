"""Large models come in several safetensors files with an index, which is read with suspicion too."""

import json
import shutil

import pytest
import torch
import transformers

from homeroom.models.checkpoint import CheckpointError, load_model, save_model

INDEX = "model.safetensors.index.json"


@pytest.fixture
def folder(new_model, tmp_path):
    """As transformers writes it, in files of a few tensors each."""
    transformers.utils.logging.disable_progress_bar()
    save_model(new_model(), tmp_path / "whole")
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "whole")
    theirs.save_pretrained(tmp_path / "shards", max_shard_size="20KB")
    transformers.utils.logging.enable_progress_bar()
    assert len(list((tmp_path / "shards").glob("*.safetensors"))) > 2
    return tmp_path / "shards"


def refused(folder, *parts):
    with pytest.raises(CheckpointError) as caught:
        load_model(folder)
    assert all(part in str(caught.value) for part in (str(folder), *parts)), str(caught.value)


def change(folder, change):
    index = json.loads((folder / INDEX).read_text())
    change(index)
    (folder / INDEX).write_text(json.dumps(index))


def test_all_files_make_the_model(folder):
    whole = load_model(folder.parent / "whole").state_dict()
    assert all(torch.equal(value, whole[name]) for name, value in load_model(folder).state_dict().items())


def test_a_missing_file_is_named(folder):
    one = sorted(folder.glob("*.safetensors"))[1]
    one.unlink()
    refused(folder, one.name, "missing")


def test_a_truncated_file_is_named(folder):
    one = sorted(folder.glob("*.safetensors"))[1]
    one.write_bytes(one.read_bytes()[:-5])
    refused(folder, one.name, "truncated")


def test_a_file_that_the_index_forgot_leaves_tensors_missing(folder):
    one = sorted(folder.glob("*.safetensors"))[1].name
    change(folder, lambda index: index.update(weight_map={k: v for k, v in index["weight_map"].items() if v != one}))
    refused(folder, INDEX, "missing")


@pytest.mark.parametrize(
    "name", ["../whole/model.safetensors", "/etc/passwd", "a/b.safetensors", "..", "", "x.bin", 7, None]
)
def test_a_name_that_leads_elsewhere_is_refused(folder, name):
    change(folder, lambda index: index["weight_map"].update({"lm_head.weight": name}))
    refused(folder, INDEX, "not a safetensors file beside it")


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"null", b"{}", b'{"weight_map": 3}', b'{"weight_map": []}', b"\xff\xfe", b"[" * 100_000],
)
def test_a_damaged_index_is_named(folder, content):
    (folder / INDEX).write_bytes(content)
    refused(folder, INDEX, "not an index of weights")


def test_an_index_of_nothing_is_named(folder):
    change(folder, lambda index: index.update(weight_map={}))
    refused(folder, INDEX, "names no file")


def test_what_cannot_be_read_is_named(folder):
    one = sorted(folder.glob("*.safetensors"))[0]
    one.unlink()
    one.mkdir()
    refused(folder, one.name)
    shutil.rmtree(one)
    (folder / INDEX).unlink()
    (folder / INDEX).mkdir()
    refused(folder, INDEX)
