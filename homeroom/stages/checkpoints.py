"""A model with its tokenizer in one folder, as every training stage leaves it."""

from pathlib import Path

from homeroom.models.checkpoint import save_model
from homeroom.models.gpt import GPT
from homeroom.models.heads import RewardModel
from homeroom.text.tokenizer import Tokenizer


def save(model: GPT | RewardModel, tokenizer: Tokenizer, folder: Path) -> None:
    """A valid Hugging Face model folder; what ends an answer stands in its config.json."""
    special_ids = {
        "bos_token_id": tokenizer.document_id,
        "eos_token_id": tokenizer.end_id,
        "pad_token_id": tokenizer.pad_id,
    }
    save_model(model, folder, special_ids)
    tokenizer.save(folder)
