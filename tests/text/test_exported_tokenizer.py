"""Tokenizers and templates of every kind, in a model's folder and GGUF file, give the same ids in transformers."""

from homeroom.evaluation.portability import prove
from homeroom.models.checkpoint import save_model
from homeroom.models.formats import gguf_file
from homeroom.text.gguf_tokenizer import to_gguf
from homeroom.text.tokenizer import Tokenizer


def test_a_model_with_it_is_proven(download, name, new_model, tmp_path):
    tokenizer = Tokenizer.load(download(name))
    # Five rows more than tokens, as open models have that round up the size of their vocabulary.
    qwen = {"qkv_bias": True} if name == "qwen2" else {}
    model = new_model(vocab_size=tokenizer.vocab_size + 5, max_length=220, **qwen)
    save_model(model, tmp_path / "folder", {"eos_token_id": tokenizer.end_id})
    tokenizer.save(tmp_path / "folder")
    proof = prove(tmp_path / "folder", model, tokenizer, max_tokens=2)
    assert len(proof.prompts) == 20
    talks = [one.token_ids for one in proof.prompts if isinstance(one.prompt, list)]
    assert len(talks) == (0 if tokenizer.chat_template is None else 15)
    assert sum(ids is None for ids in talks) == 0
    path = tmp_path / "model.gguf"
    metadata = to_gguf(tokenizer, model.config.vocab_size)
    assert len(metadata["tokenizer.ggml.tokens"]) == model.config.vocab_size  # llama.cpp refuses other files
    gguf_file.write(path, model.config, model.state_dict(), {"general.name": name} | metadata, "F32")
    again = prove(path, model, tokenizer, max_tokens=2)
    assert [one.token_ids for one in again.prompts] == [one.token_ids for one in proof.prompts]
    # llama.cpp begins every run of text with a space, this template a text that follows [INST] with none.
    assert bool(again.other_cutting) == (name == "mistral")
