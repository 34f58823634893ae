"""A language model's weights in int8: a quarter of the memory.

Each row of a matrix has a scale of its own, so that its largest weight is ±127 (symmetric, per output channel); norms,
biases and learned positions stay float32. `homeroom.models.compiled` computes with them; where it cannot, `restored`
gives the same weights in float32 to the ordinary model.
Shapes: R rows, C columns of a matrix.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from homeroom.files import write_atomically
from homeroom.models.checkpoint import SETTINGS, CheckpointError, read_settings, save_tensors
from homeroom.models.formats import hugging_face
from homeroom.models.gpt import GPT, Config

WEIGHTS = "int8.safetensors"


@dataclass(frozen=True)
class Int8Weights:
    """Tensors by the names of `GPT.state_dict`; a matrix `x.weight` has its scales in `x.scale`."""

    config: Config
    tensors: Mapping[str, Tensor]

    @classmethod
    def of(cls, model: GPT) -> "Int8Weights":
        tensors: dict[str, Tensor] = {}
        for name, value in model.state_dict().items():
            if model.config.tied and name == "head.weight":
                continue
            if value.ndim == 2 and name != "positions.weight":
                tensors[name], tensors[_scale(name)] = quantise(value)
            else:
                tensors[name] = value.clone()
        return cls(model.config, tensors)

    def restored(self) -> GPT:
        """The ordinary model with these weights, in float32."""
        state = {
            name: value.float() * self.tensors[_scale(name)][:, None] if value.dtype == torch.int8 else value
            for name, value in self.tensors.items()
            if not name.endswith(".scale")
        }
        if self.config.tied:
            state["head.weight"] = state["embedding.weight"]
        model = GPT(self.config)
        model.load_state_dict(state)
        return model.eval()

    def save(self, folder: Path, special_ids: Mapping[str, int] | None = None) -> None:
        """The folder of a compressed model; each file appears whole or not at all."""
        folder.mkdir(parents=True, exist_ok=True)
        save_tensors(self.tensors, folder / WEIGHTS, {"homeroom": "int8 matrices, a scale for each row"})
        settings = hugging_face.settings(self.config, reward=False, special_ids=special_ids)
        write_atomically(folder / SETTINGS, json.dumps(settings, indent=2) + "\n")

    @classmethod
    def load(cls, folder: Path) -> "Int8Weights":
        """Raises CheckpointError: a missing or damaged file, a tensor of another shape or kind."""
        path = folder / WEIGHTS
        if not path.is_file():
            raise CheckpointError(f"{path}: missing, so {folder} is not a compressed model")
        try:
            config = read_settings(folder / SETTINGS)
            tensors = load_file(path)
        except SafetensorError as error:
            raise CheckpointError(f"{path}: damaged or truncated ({error})") from error
        except OSError as error:  # safetensors' own does not say which file
            raise CheckpointError(f"{error.filename or path}: cannot be read ({error})") from error
        with torch.device("meta"):
            expected = GPT(config).state_dict()
        if config.tied:
            del expected["head.weight"]
        for name, parameter in expected.items():
            matrix = parameter.ndim == 2 and name != "positions.weight"
            _check(path, tensors, name, torch.int8 if matrix else torch.float32, parameter.shape)
            if matrix:
                _check(path, tensors, _scale(name), torch.float32, parameter.shape[:1])
        return cls(
            config, {name: value for name, value in tensors.items() if name.endswith(".scale") or name in expected}
        )


def quantise(matrix_RC: Tensor) -> tuple[Tensor, Tensor]:
    """Rounded weights (R, C) in int8, and what one is worth in each row (R,)."""
    worth_R = matrix_RC.abs().amax(dim=1).clamp(min=torch.finfo(torch.float32).tiny) / 127
    return (matrix_RC / worth_R[:, None]).round().to(torch.int8), worth_R


def _scale(name: str) -> str:
    return name.removesuffix("weight") + "scale"


def _check(path: Path, tensors: Mapping[str, Tensor], name: str, kind: torch.dtype, shape: torch.Size) -> None:
    found = tensors.get(name)
    if found is None:
        raise CheckpointError(f"{path}: tensor {name!r} is missing")
    if found.dtype != kind or found.shape != shape:
        said, have = f"{kind} {tuple(shape)}", f"{found.dtype} {tuple(found.shape)}"
        raise CheckpointError(f"{path}: {name} is {have}, {SETTINGS} asks for {said}")
