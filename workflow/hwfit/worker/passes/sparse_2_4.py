"""Dense layers on sparse tensor cores: half of the products, where two of every four weights are zero.

By torch.sparse's semi-structured tensors (CUTLASS or cuSPARSELt, NVIDIA's Ampere and later). Convolutions
have no such kernels in torch, and stay dense.

Never run: no NVIDIA GPU was at hand. What chooses the layers has run, on a CPU (torch 2.13.0).
"""

from __future__ import annotations

from typing import Any

from hwfit.worker.errors import Unsupported

# Both backends take fp16 and bf16 weights whose rows and columns are multiples of these (CUTLASS's, which
# are the larger ones; torch.sparse.SparseSemiStructuredTensorCUTLASS).
ROWS, COLUMNS = 32, 64
# Compute capability of the first sparse tensor cores, Ampere's.
FIRST_CAPABILITY = (8, 0)


def torch(session: Any, dtype: str) -> None:
    """Cast the module and make the weights of its dense layers sparse; inputs are cast when they are placed.

    Raises Unsupported where the device has no such kernels, or no layer has the pattern and the sizes.
    """
    import torch as framework

    if session.device.type != "cuda":
        raise Unsupported(
            f"2:4 sparse kernels are NVIDIA GPUs' (Ampere and later), not {session.device.type}'s"
        )
    if framework.cuda.get_device_capability(session.device) < FIRST_CAPABILITY:
        raise Unsupported("2:4 sparse kernels need an NVIDIA GPU of compute capability 8.0 (Ampere) or later")
    layers = convertible(session.module)
    session.input_dtype = getattr(framework, dtype)
    session.module = session.module.to(session.device, session.input_dtype)
    for layer in layers:
        try:
            sparse = framework.sparse.to_sparse_semi_structured(layer.weight.detach())
        except (RuntimeError, ValueError) as error:
            raise Unsupported(
                f"torch makes no 2:4 sparse weights here: {str(error).splitlines()[0]}"
            ) from error
        layer.weight = framework.nn.Parameter(sparse, requires_grad=False)
        # cuSPARSELt reads its inputs as if they lay close together (pytorch issue 109175).
        layer.register_forward_pre_hook(lambda _, inputs: (inputs[0].contiguous(), *inputs[1:]))
    # It is where it should be, and sparse weights are moved by no means in some versions.
    session.move = lambda module, device: module


def convertible(module: Any) -> list[Any]:
    """The dense layers whose weights have the pattern and the sizes.

    Raises Unsupported where none has.
    """
    import torch as framework

    layers = [layer for layer in module.modules() if type(layer) is framework.nn.Linear]
    if not layers:
        raise Unsupported("no Linear layer to make sparse")
    fitting = [m for m in layers if not m.out_features % ROWS and not m.in_features % COLUMNS]
    if not fitting:
        sizes = ", ".join(f"({m.out_features}, {m.in_features})" for m in layers[:3])
        raise Unsupported(f"2:4 sparse kernels take multiples of ({ROWS}, {COLUMNS}), and it has {sizes}")
    able = [layer for layer in fitting if has_pattern(layer.weight)]
    if not able:
        raise Unsupported(
            "no Linear layer has two zeros in every four weights of a row: prune_2_4 makes them"
        )
    return able


def has_pattern(weight: Any) -> bool:
    """Whether of every four consecutive weights in a row, (out, in), two at least are zero."""
    return bool(((weight.detach().reshape(-1, 4) != 0).sum(1) <= 2).all())
