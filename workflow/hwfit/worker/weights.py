"""A user's weights for a zoo model: a file of tensors by name, which must be the model's to the last."""

from __future__ import annotations

import pickle
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from hwfit.worker.errors import Unsupported

REMEDY = "save the state dict alone, by safetensors or torch.save(model.state_dict(), path)"
# Counts the batches of training; inference does without, and so do older files.
NOT_NEEDED = "num_batches_tracked"


def load_weights(module: Any, path: Path) -> None:
    """Load a file into a torch module. Raises Unsupported where it is broken, unsafe, or another model's."""
    given = read_tensors(path)
    require_fit(module.state_dict(), given, path)
    module.load_state_dict(given, strict=False)


def read_tensors(path: Path) -> dict[str, torch.Tensor]:
    """The tensors of a .safetensors file, or of one that `torch.save` wrote, by name.

    Raises Unsupported where the file is broken, or would run code when it is read, or holds something else.
    """
    found = read_safetensors(path) if path.suffix == ".safetensors" else read_pickle(path)
    if not isinstance(found, Mapping):
        raise Unsupported(f"{path} holds a {type(found).__name__}, not tensors by name: {REMEDY}")
    for name, value in found.items():
        if not isinstance(value, torch.Tensor):
            raise Unsupported(f"{path}: {name} is a {type(value).__name__}, not a tensor: {REMEDY}")
    return dict(found)


def read_safetensors(path: Path) -> dict[str, torch.Tensor]:
    """The tensors of a safetensors file. Raises Unsupported where it is none, or not whole."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except SafetensorError as error:
        raise Unsupported(f"{path} is cut short, or no safetensors file: {error}") from error


def read_pickle(path: Path) -> Any:
    """What `torch.save` wrote. Raises Unsupported where it is broken, or would run code when it is read."""
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        wanted = re.search(r"GLOBAL (\S+)", str(error))
        what = f"wants to call {wanted[1]}" if wanted else "is broken, or holds more than tensors"
        raise Unsupported(f"{path} {what}, which may run any code: refused; {REMEDY}") from error
    except Exception as error:
        # Of any kind, as the bytes happen to be.
        said = (str(error).splitlines() or [""])[0]
        reason = f"{type(error).__name__}: {said}"
        raise Unsupported(f"{path} is cut short, or no file of torch.save: {reason}") from error


def require_fit(wanted: Mapping[str, torch.Tensor], given: Mapping[str, torch.Tensor], path: Path) -> None:
    """Raises Unsupported that names the first tensor which is missing, of another shape, or one too many."""
    for name, tensor in wanted.items():
        if name not in given:
            if name.endswith(NOT_NEEDED):
                continue
            raise Unsupported(f"{path} has no {name}, which the model needs; it has {some(given)}")
        if given[name].shape != tensor.shape:
            shapes = f"{tuple(given[name].shape)}, the model's {tuple(tensor.shape)}"
            raise Unsupported(f"{path}: {name} has shape {shapes}")
        if given[name].is_floating_point() != tensor.is_floating_point():
            raise Unsupported(f"{path}: {name} is {given[name].dtype}, the model's {tensor.dtype}")
    for name in given:
        if name not in wanted:
            raise Unsupported(f"{path} has {name}, which the model has not; it has {some(wanted)}")


def some(tensors: Mapping[str, torch.Tensor]) -> str:
    """The first few names."""
    names = list(tensors)
    return ", ".join([*names[:3], "…"] if len(names) > 3 else names) or "none"
