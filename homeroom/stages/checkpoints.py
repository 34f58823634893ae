"""A model with its tokenizer in one folder, as every training stage leaves it and as the next one takes it."""

from pathlib import Path

from homeroom.models.checkpoint import load_model, load_reward_model, save_model
from homeroom.models.compiled import CompiledGPT, decodable
from homeroom.models.gpt import GPT
from homeroom.models.heads import RewardModel
from homeroom.models.int8 import Int8Weights
from homeroom.stages.lookup import COMPRESSED
from homeroom.text.tokenizer import Tokenizer
from homeroom.workspace import Artifact


def load(artifact: Artifact) -> GPT:
    """A stage's language model. Raises Damaged: nothing is to be learned from weights that are not as they were."""
    artifact.check()
    return load_model(artifact.path)


def load_decodable(artifact: Artifact) -> GPT | CompiledGPT:
    """What an Engine decodes with: a language model, or the int8 weights of one; raises Damaged as `load` does."""
    if artifact.stage != COMPRESSED:
        return load(artifact)
    artifact.check()
    return decodable(Int8Weights.load(artifact.path))


def load_reward(artifact: Artifact) -> RewardModel:
    """A stage's reward model; raises Damaged as `load` does."""
    artifact.check()
    return load_reward_model(artifact.path)


def save(model: GPT | RewardModel, tokenizer: Tokenizer, folder: Path) -> None:
    """A valid Hugging Face model folder; what ends an answer stands in its config.json."""
    save_model(model, folder, special_ids(tokenizer))
    tokenizer.save(folder)


def special_ids(tokenizer: Tokenizer) -> dict[str, int]:
    return {
        "bos_token_id": tokenizer.document_id,
        "eos_token_id": tokenizer.end_id,
        "pad_token_id": tokenizer.pad_id,
    }
