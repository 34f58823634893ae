"""A run's whole state in one file: weights, optimizer, random state, Source position and loop counters.

One safetensors file, replaced atomically; the plain values ride in its header as JSON. Nothing is pickled.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from homeroom.models.checkpoint import CheckpointError, learned_parameters, save_tensors
from homeroom.training.optimizers import Optimizer


def save_run(path: Path, model: nn.Module, optimizer: Optimizer, position: Mapping[str, Any]) -> None:
    """Everything a run needs to go on as if it had never stopped. `position` is JSON."""
    # state_dict() would list a tied matrix twice, and safetensors refuses shared memory.
    tensors = {f"model.{name}": value.detach() for name, value in learned_parameters(model).items()}
    tensors |= {f"optimizer.{name}": value for name, value in optimizer.tensors()}
    tensors["random.cpu"] = torch.get_rng_state()
    contiguous = {name: value.contiguous() for name, value in tensors.items()}
    where = json.dumps(position)
    save_tensors(contiguous, path, {"position": where, "digest": _digest(where, contiguous)})


def _digest(position: str, tensors: Mapping[str, Tensor]) -> str:
    """safetensors checks the shape of a file, not what it holds: a changed bit in a weight would be trained on."""
    digest = hashlib.sha256(position.encode())
    for name in sorted(tensors):
        digest.update(name.encode())
        digest.update(tensors[name].cpu().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def load_run(path: Path, model: nn.Module, optimizer: Optimizer) -> dict[str, Any] | None:
    """Restore in place and return the position; None when there is no such file.

    Raises CheckpointError for a damaged file or one that belongs to another model.
    """
    if not path.exists():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            kept = file.metadata()
            tensors: dict[str, Tensor] = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        if _digest(kept["position"], tensors) != kept["digest"]:
            raise ValueError("it is not as it was saved")
        position: dict[str, Any] = json.loads(kept["position"])
        with torch.no_grad():
            for name, value in learned_parameters(model).items():
                value.copy_(tensors[f"model.{name}"])
        optimizer.load_tensors(
            {name.removeprefix("optimizer."): t for name, t in tensors.items() if name.startswith("optimizer.")}
        )
        torch.set_rng_state(tensors["random.cpu"])
    except (SafetensorError, KeyError, RuntimeError, ValueError) as error:
        raise CheckpointError(f"{path}: cannot be resumed from ({error}); delete it to start this run anew") from error
    return position
