"""Checkpoint folders: safetensors and config.json in the Hugging Face layout; and GGUF files. Read with suspicion.

What a tokenizer needs stands in the same folder, but `homeroom.text` writes it. Nothing here unpickles.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

import torch
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from homeroom.files import with_mode_of_others, write_atomically, written_aside
from homeroom.memory import give_back_freed_memory
from homeroom.models.formats import gguf_file, hugging_face
from homeroom.models.gpt import GPT, Config
from homeroom.models.heads import RewardModel
from homeroom.settings import HomeroomError

WEIGHTS, INDEX, SETTINGS = "model.safetensors", "model.safetensors.index.json", "config.json"
# No tensor of Llama's kind bears witness to the context, and tables of angles are made for all of it: a changed byte
# could ask for all memory.
LONGEST = 2**22


class Stored(Protocol):
    """A model's name and its folder, with the tokenizer in it: an artifact, or what is none yet."""

    @property
    def id(self) -> str: ...
    @property
    def path(self) -> Path: ...


class CheckpointError(HomeroomError):
    """A folder is not a model that can be read; the message names the file and what is wrong with it."""


def save_model(model: GPT | RewardModel, folder: Path, special_ids: Mapping[str, int] | None = None) -> None:
    """Write the folder; each file appears whole or not at all. `special_ids` go into config.json (eos_token_id …)."""
    folder.mkdir(parents=True, exist_ok=True)
    give_back_freed_memory()  # safetensors copies the whole once more
    reward = isinstance(model, RewardModel)
    state = {name.removeprefix("gpt."): value.detach().cpu() for name, value in model.state_dict().items()}
    save_tensors(hugging_face.export(state, model.config), folder / WEIGHTS)
    save_settings(model.config, folder, reward=reward, special_ids=special_ids)


def save_settings(
    config: Config, folder: Path, *, reward: bool = False, special_ids: Mapping[str, int] | None = None
) -> None:
    """The folder's config.json."""
    settings = hugging_face.settings(config, reward=reward, special_ids=special_ids)
    write_atomically(folder / SETTINGS, json.dumps(settings, indent=2) + "\n")


def save_tensors(tensors: Mapping[str, Tensor], path: Path, metadata: Mapping[str, str] | None = None) -> None:
    """One safetensors file, whole or not at all."""
    with written_aside(path) as aside:
        save_file(dict(tensors), aside, metadata={"format": "pt", **(metadata or {})})
        with_mode_of_others(aside)  # safetensors keeps what it writes to its owner


def learned_parameters(model: nn.Module) -> dict[str, nn.Parameter]:
    """What is learned alone, and a tied matrix once: what is frozen stays as whoever made the model has loaded it."""
    return {name: one for name, one in model.named_parameters() if one.requires_grad}


def save_learned(model: nn.Module, path: Path) -> None:
    """A run's weights to come back to, for `load_learned` to give to the same model."""
    save_tensors(learned_parameters(model), path)


def load_learned(model: nn.Module, path: Path) -> None:
    model.load_state_dict(load_file(path), strict=False)


def load_model(folder: Path) -> GPT:
    """A language model. Raises CheckpointError: no folder, a damaged or missing tensor, an unknown family."""
    model = _load(folder, reward=False)
    assert isinstance(model, GPT)
    return model


def load_reward_model(folder: Path) -> RewardModel:
    """A reward model. Raises CheckpointError, also for a folder that holds a plain language model."""
    model = _load(folder, reward=True)
    assert isinstance(model, RewardModel)
    return model


def load_gguf(path: Path) -> tuple[GPT, dict[str, object]]:
    """A language model out of a GGUF file, and the file's metadata (its tokenizer is in there). Raises CheckpointError.

    Quantised weights become float32: what the file's author rounded stays rounded.
    """
    if not path.is_file():
        raise CheckpointError(f"{path}: no such file")
    try:
        read = gguf_file.read(path)
        config = hugging_face.config_from(read.settings)
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error})") from error
    except KeyError as error:
        raise CheckpointError(f"{path}: lacks {error}") from error
    except NotImplementedError as error:
        raise CheckpointError(f"{path}: quantised in a way that cannot be decoded ({error})") from error
    except (ValueError, TypeError, ArithmeticError, LookupError, AttributeError, MemoryError, RecursionError) as error:
        raise CheckpointError(f"{path}: damaged, truncated or not a GGUF file ({error})") from error
    model = _assembled(read.tensors, config, path, path, reward=False)
    assert isinstance(model, GPT)
    return model, read.metadata


def _load(folder: Path, *, reward: bool) -> nn.Module:
    try:
        # Which is missing is said first: a folder of pickled weights has settings as well.
        weights = _weights(folder)
        config = read_settings(folder / SETTINGS)
        tensors: dict[str, Tensor] = {}
        for path in weights:
            try:
                tensors |= load_file(path)
            except SafetensorError as error:
                raise CheckpointError(f"{path}: damaged or truncated ({error})") from error
            except OSError as error:  # safetensors' own does not say which file
                raise CheckpointError(f"{path}: cannot be read ({error})") from error
    except OSError as error:
        raise CheckpointError(f"{error.filename}: cannot be read ({error})") from error
    where = folder / (WEIGHTS if len(weights) == 1 else INDEX)
    if reward != ("score.weight" in tensors):
        kinds = ("a reward model", "a language model")
        raise CheckpointError(f"{where}: expected {kinds[not reward]}, found {kinds[reward]}")
    return _assembled(tensors, config, where, folder / SETTINGS, reward)


def _weights(folder: Path) -> list[Path]:
    """The files that hold the tensors: one, or those that the index of a large model names."""
    index = folder / INDEX
    if (folder / WEIGHTS).exists() or not index.exists():
        pickled = [name.name for pattern in ("*.bin", "*.pt", "*.pth", "*.pkl") for name in folder.glob(pattern)]
        if not (folder / WEIGHTS).exists() and pickled:
            raise CheckpointError(
                f"{folder / pickled[0]}: pickled weights are never loaded; convert them to safetensors"
            )
        if not (folder / WEIGHTS).exists():
            raise CheckpointError(f"{folder / WEIGHTS}: missing, so {folder} is not a model folder")
        return [folder / WEIGHTS]
    try:
        names = sorted({str(name) for name in json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()})
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise CheckpointError(f"{index}: not an index of weights ({error!r})") from error
    for name in names:
        # A name with a folder in it would read from anywhere.
        if Path(name).name != name or not name.endswith(".safetensors"):
            raise CheckpointError(f"{index}: names {name!r}, which is not a safetensors file beside it")
        if not (folder / name).exists():
            raise CheckpointError(f"{folder / name}: missing, but {INDEX} names it")
    if not names:
        raise CheckpointError(f"{index}: names no file")
    return [folder / name for name in names]


def _assembled(tensors: dict[str, Tensor], config: Config, where: Path, settings: Path, reward: bool) -> nn.Module:
    """The model of these tensors, which are consumed. The errors name the files `where` and `settings`."""
    # A changed byte in the header can turn F32 into I32; the numbers would then be converted without a word.
    for name, value in tensors.items():
        if not value.is_floating_point():
            raise CheckpointError(f"{where}: {name} holds {value.dtype}, not floating-point numbers")
    try:
        state = hugging_face.restore(tensors, config)
    except KeyError as error:
        raise CheckpointError(f"{where}: tensor {error} is missing") from error
    except ValueError as error:
        raise CheckpointError(f"{where}: {error}") from error
    if reward:
        state = {name if name == "score_head.weight" else f"gpt.{name}": value for name, value in state.items()}
    if config.max_length > LONGEST:
        raise CheckpointError(
            f"{settings}: a context of {config.max_length} tokens is beyond {LONGEST}; is it damaged?"
        )
    try:
        model = _hollow(config, reward)
        expected = model.state_dict()
        for name, parameter in expected.items():
            if name in state and state[name].shape != parameter.shape:
                found, said = tuple(state[name].shape), tuple(parameter.shape)
                theirs = " and ".join(hugging_face.export({name.removeprefix("gpt."): parameter}, config)) or name
                raise CheckpointError(f"{where}: {theirs} is {found}, {settings.name} says {said}")
        tied = isinstance(model, GPT) and config.tied
        if tied:
            del state["head.weight"]
        for name in state:
            # One at a time, and what was read of the file let go: no moment holds the model twice.
            state[name] = torch.empty(state[name].shape, dtype=expected[name].dtype).copy_(state[name])
    except RuntimeError as error:
        raise CheckpointError(f"{settings}: a model of this size cannot be made ({error})") from error
    if tied:
        state["head.weight"] = state["embedding.weight"]
    model.load_state_dict(state, assign=True)
    if tied:
        model.get_submodule("head").weight = model.get_parameter("embedding.weight")
    give_back_freed_memory()  # what tensors passed through on their way
    return model.eval()


def _hollow(config: Config, reward: bool) -> GPT | RewardModel:
    """Shapes alone: settings that do not fit may ask for more than any memory."""
    language = GPT.hollow(config)
    if not reward:
        return language
    with torch.device("meta"):
        return RewardModel(language)


def read_settings(path: Path) -> Config:
    """The shape that a `config.json` describes. Raises CheckpointError."""
    if not path.exists():
        raise CheckpointError(f"{path}: missing, so {path.parent} is not a model folder")
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(raw, dict):
            raise ValueError(f"holds a {type(raw).__name__}, not an object of settings")
        return hugging_face.config_from(raw)
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error})") from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise CheckpointError(f"{path}: not valid JSON ({error})") from error
    except KeyError as error:
        raise CheckpointError(f"{path}: lacks {error}") from error
    except ValidationError as error:
        said = "; ".join(f"{'.'.join(map(str, one['loc']))} = {one['input']!r}: {one['msg']}" for one in error.errors())
        raise CheckpointError(f"{path}: {said}") from error
    except (
        ValueError,
        TypeError,
        AttributeError,
        ArithmeticError,
        RecursionError,
    ) as error:  # text for a number, no heads at all …
        raise CheckpointError(f"{path}: {error}") from error
