"""From a source of models.yaml to a framework's model: the zoo's, a folder's, or a user's callable."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from hwfit.worker import hugging_face, zoo
from hwfit.worker.errors import Unsupported

Source = Mapping[str, Any]


def torch_module(source: Source, task: str) -> Any:
    """The source's torch module, with its initial or published weights."""
    import torch

    if "zoo" in source:
        return zoo.torch_module(source["zoo"]).eval()
    if "huggingface" in source:
        return hugging_face.torch_module(source, task)
    return called(source, torch.nn.Module, "a torch.nn.Module").eval()


def torch_network(source: Source, task: str) -> Any:
    """The source's torch module, for weights that are loaded next: none is read that a package brings."""
    if "zoo" in source:
        return zoo.torch_network(source["zoo"]).eval()
    return torch_module(source, task)


def load_arrays_into(module: Any, arrays: Mapping[str, Any]) -> None:
    """Load into a torch module what passes made of its arrays, fewer channels too.

    Of tied weights the arrays have one name. Raises ValueError where they are another model's.
    """
    import torch

    from hwfit.worker import fitting

    fitting.fit(module, {name: np.shape(array) for name, array in arrays.items()})
    tensors = {name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in arrays.items()}
    missing, unknown = module.load_state_dict(tensors, strict=False)
    tied = {id(value) for name, value in module.state_dict(keep_vars=True).items() if name in tensors}
    state = module.state_dict(keep_vars=True)
    if unknown or any(id(state[name]) not in tied for name in missing):
        raise ValueError(f"the checkpoint does not fit the model: {', '.join([*unknown, *missing])}")


def load_torch_weights(module: Any, weights: Path) -> None:
    """Load a checkpoint into a torch module, first made smaller where passes cut parts out of the network.

    Raises ValueError where names or shapes differ.
    """
    from safetensors.torch import load_model

    from hwfit.worker import fitting

    try:
        if fitting.is_smaller(weights):
            fitting.fit(module, fitting.shapes_in(weights))
        load_model(module, weights)
    except (RuntimeError, ValueError) as error:
        raise ValueError(
            f"{weights} does not fit the model: {str(error).splitlines()[-1].strip()}"
        ) from error


def keras_model(source: Source, weights: Path) -> Any:
    """The source's Keras model; a zoo model's weights are the checkpoint's, a callable's its own."""
    import keras

    if "zoo" in source:
        from hwfit.worker.zoo import keras_layers

        definition = zoo.model(source["zoo"])
        return keras_layers.build(definition.LAYERS, definition.INPUT_SHAPE, load_arrays(weights))
    # Weights that are not loaded but drawn are the same in each process, as the reference has them.
    keras.utils.set_random_seed(0)
    return called(source, keras.Model, "a keras.Model")


def mindspore_cell(source: Source, weights: Path) -> Any:
    """The source's MindSpore cell; a zoo model's weights are the checkpoint's, a callable's its own."""
    import mindspore

    if "zoo" in source:
        from hwfit.worker.zoo import mindspore_layers

        return mindspore_layers.build(zoo.model(source["zoo"]).LAYERS, load_arrays(weights))
    mindspore.set_seed(0)
    return called(source, mindspore.nn.Cell, "a mindspore.nn.Cell")


def load_arrays(weights: Path) -> dict[str, Any]:
    """A checkpoint's arrays by name."""
    from safetensors.numpy import load_file

    return load_file(weights)


def called(source: Source, kind: type, kind_name: str) -> Any:
    """What a user's `package.module:function` returns. Raises Unsupported that names what is wrong."""
    path = source["callable"]
    module_name, _, function_name = path.partition(":")
    # The user's code lies where the workflow runs.
    if str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        raise Unsupported(f"{path}: {module_name} cannot be imported ({error})") from error
    function = getattr(module, function_name, None)
    if not callable(function):
        raise Unsupported(f"{path}: {module_name} has no function {function_name}")
    model = function()
    if not isinstance(model, kind):
        raise Unsupported(f"{path} returned a {type(model).__name__}, not {kind_name}")
    return model
