"""A language model's weights in int8: a quarter of the memory.

Each row of a matrix has a scale of its own, so that its largest weight is ±127 (symmetric, per output channel); norms,
biases and learned positions stay float32. `homeroom.models.compiled` computes with them; where it cannot, `restored`
gives the same weights in float32 to the ordinary model.
Shapes: R rows, C columns of a matrix.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from homeroom.models.checkpoint import SETTINGS, CheckpointError, read_settings, save_settings, save_tensors
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
            if _is_matrix(name, value):
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
        save_tensors(dict(self.tensors), folder / WEIGHTS, {"homeroom": "int8 matrices, a scale for each row"})
        save_settings(self.config, folder, special_ids=special_ids)

    @classmethod
    def load(cls, folder: Path) -> "Int8Weights":
        """Raises CheckpointError: a missing or damaged file, a tensor of another shape or kind."""
        path = folder / WEIGHTS
        if not path.is_file():
            raise CheckpointError(f"{path}: missing, so {folder} is not a compressed model")
        config = read_settings(folder / SETTINGS)
        try:
            found = _OnDisk(path)
        except (SafetensorError, OSError) as error:
            raise CheckpointError(f"{path}: damaged or truncated ({error})") from error
        with torch.device("meta"):
            expected = GPT(config).state_dict()
        if config.tied:
            del expected["head.weight"]
        for name, parameter in expected.items():
            matrix = _is_matrix(name, parameter)
            found.check(name, "I8" if matrix else "F32", parameter.shape)
            if matrix:
                found.check(_scale(name), "F32", parameter.shape[:1])
        return cls(config, found)


class _OnDisk(Mapping[str, Tensor]):
    """The tensors of a file, each read when it is asked for: whoever lays them out anew needs one at a time."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = safe_open(path, framework="pt")
        self._names = frozenset(self._file.keys())  # type: ignore[no-untyped-call]

    def __getitem__(self, name: str) -> Tensor:
        if name not in self._names:
            raise KeyError(name)
        return self._file.get_tensor(name)  # type: ignore[no-untyped-call, no-any-return]

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def check(self, name: str, kind: str, shape: torch.Size) -> None:
        """Raises CheckpointError unless there is a tensor of that kind and shape."""
        if name not in self._names:
            raise CheckpointError(f"{self._path}: tensor {name!r} is missing")
        found = self._file.get_slice(name)  # type: ignore[no-untyped-call]
        have, said = f"{found.get_dtype()} {tuple(found.get_shape())}", f"{kind} {tuple(shape)}"
        if have != said:
            raise CheckpointError(f"{self._path}: {name} is {have}, {SETTINGS} asks for {said}")


def quantise(matrix_RC: Tensor) -> tuple[Tensor, Tensor]:
    """Rounded weights (R, C) in int8, and what one is worth in each row (R,)."""
    worth_R = matrix_RC.abs().amax(dim=1).clamp(min=torch.finfo(torch.float32).tiny) / 127
    return (matrix_RC / worth_R[:, None]).round().to(torch.int8), worth_R


def _is_matrix(name: str, value: Tensor) -> bool:
    return value.ndim == 2 and name != "positions.weight"


def _scale(name: str) -> str:
    return name.removesuffix("weight") + "scale"
