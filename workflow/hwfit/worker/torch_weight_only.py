"""Layers of torch whose weights are int8 or int4 while activations stay floats, by torch's own CPU kernels.

The kernels (`_weight_int8pack_mm`, `_weight_int4pack_mm_for_cpu`) widen weights in registers, so that a
product moves a quarter or an eighth of the fp32 bytes. They are quick for bf16 activations alone: for fp32
they are plain loops, which took 70 times as long as the fp32 product for 128 rows. So products take their
inputs as bf16 and give back the format that came. torchao 0.18's Int8WeightOnlyConfig, without torch.compile,
widens the whole matrix at each call, which took longer than bf16 weights; its Int4WeightOnlyConfig packs for
GPUs alone, and its prototype for CPUs calls the same kernel as this module.

Run on: CPU with AVX512-BF16 (torch 2.13.0).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

# What the int4 kernel can take: weights a group, and rows a block.
INT4_GROUPS, INT4_ROWS = (32, 64, 128, 256), 16


class Int8Linear(nn.Module):
    """A Linear layer with symmetric int8 weights and a bf16 scale an output."""

    weight_format = "int8"

    def __init__(self, weight: Tensor, scales: Tensor, bias: Tensor | None) -> None:
        super().__init__()
        self.register_buffer("quantized", weight)
        self.register_buffer("scales", scales)
        self.bias = bias if bias is None else nn.Parameter(bias, requires_grad=False)

    def forward(self, inputs: Tensor) -> Tensor:
        rows = inputs.reshape(-1, inputs.shape[-1]).bfloat16()
        # A later cast may have widened or narrowed them.
        product = torch._weight_int8pack_mm(rows, self.quantized, self.scales.bfloat16())
        return _as_they_came(product, inputs, self.bias)


class Int8Embedding(nn.Module):
    """An Embedding with symmetric int8 weights and a bf16 scale an entry, in the format of `like`."""

    weight_format = "int8"

    def __init__(self, weight: Tensor, scales: Tensor, like: Tensor) -> None:
        super().__init__()
        self.register_buffer("quantized", weight)
        self.register_buffer("scales", scales)
        # Of no values: it follows the casts of the module.
        self.register_buffer("like", like.new_empty(0), persistent=False)

    def forward(self, entries: Tensor) -> Tensor:
        found = functional.embedding(entries, self.quantized) * functional.embedding(
            entries, self.scales[:, None]
        )
        return found.to(self.like.dtype)


class Int4Linear(nn.Module):
    """A Linear layer with int4 weights, each group of an output's with a bf16 scale and zero point."""

    weight_format = "int4"

    def __init__(
        self, packed: Tensor, scales_and_zeros: Tensor, group_size: int, bias: Tensor | None
    ) -> None:
        super().__init__()
        self.group_size = group_size
        self.register_buffer("quantized", packed)
        self.register_buffer("scales_and_zeros", scales_and_zeros)
        self.bias = bias if bias is None else nn.Parameter(bias, requires_grad=False)

    def forward(self, inputs: Tensor) -> Tensor:
        rows = inputs.reshape(-1, inputs.shape[-1]).bfloat16()
        product = torch.ops.aten._weight_int4pack_mm_for_cpu(
            rows, self.quantized, self.group_size, self.scales_and_zeros.bfloat16()
        )
        return _as_they_came(product, inputs, self.bias)


def _as_they_came(product: Tensor, inputs: Tensor, bias: Tensor | None) -> Tensor:
    """A product's rows in the shape and the format of its inputs, with the bias."""
    output = product.to(inputs.dtype).view(*inputs.shape[:-1], -1)
    return output if bias is None else output + bias


def int8_rows(weight: Tensor) -> tuple[Tensor, Tensor]:
    """Rows (n, k) as int8, and a bf16 scale for each, (n,)."""
    wide = weight.detach().float()
    # Rounded before it is divided by, so that its rounding is no error of the weights.
    scales = (wide.abs().amax(dim=1) / 127).clamp(min=1e-30).bfloat16()
    return (wide / scales.float()[:, None]).round().clamp(-128, 127).to(torch.int8), scales


def int4_groups(weight: Tensor, group_size: int) -> tuple[Tensor, Tensor]:
    """Rows (n, k) as int4 in the kernel's packing, and bf16 scales and zero points, (k / group, n, 2).

    A weight is (q - 8) * scale + zero, q from 0 to 15, by the least and the greatest of its group.
    """
    rows, columns = weight.shape
    groups = weight.detach().float().view(rows, columns // group_size, group_size)
    low, high = groups.amin(dim=-1), groups.amax(dim=-1)
    scales = ((high - low) / 15).clamp(min=1e-6).bfloat16()
    zeros = (low + 8 * scales.float()).bfloat16()
    quantized = ((groups - zeros.float()[..., None]) / scales.float()[..., None] + 8).round().clamp(0, 15)
    packed = torch.ops.aten._convert_weight_to_int4pack_for_cpu(quantized.view(rows, columns).int(), 1)
    return packed, torch.stack([scales, zeros], dim=-1).transpose(0, 1).contiguous()


def fits_int4(weight: Tensor, group_size: int) -> bool:
    """Whether the int4 kernel takes a weight, (n, k)."""
    rows, columns = weight.shape
    return group_size in INT4_GROUPS and columns % group_size == 0 and rows % INT4_ROWS == 0


def quantize(module: nn.Module, dtype: str, group_size: int) -> None:
    """Replace every Linear layer of a module, and embeddings whose table is a Linear layer's weight too.

    Such a table is int8 whatever is asked for, and held once: in the int4 kernel's packing no row can be
    looked up, and llama.cpp gives the table more bits as well. A layer that does not fit int4 is int8 too.
    """
    layers = [found for found in module.modules() if type(found) in (nn.Linear, nn.Embedding)]
    linear = {id(found.weight) for found in layers if isinstance(found, nn.Linear)}
    tied = linear & {id(found.weight) for found in layers if isinstance(found, nn.Embedding)}
    tables: dict[int, tuple[Tensor, Tensor]] = {}
    made: dict[nn.Module, nn.Module] = {}
    for layer in layers:
        weight, is_tied = layer.weight, id(layer.weight) in tied
        if isinstance(layer, nn.Linear) and dtype == "int4" and not is_tied and fits_int4(weight, group_size):
            made[layer] = Int4Linear(*int4_groups(weight, group_size), group_size, layer.bias)
        elif isinstance(layer, nn.Linear) or is_tied:
            rows = tables.get(id(weight)) or int8_rows(weight)
            if is_tied:
                tables[id(weight)] = rows
            is_linear = isinstance(layer, nn.Linear)
            made[layer] = Int8Linear(*rows, layer.bias) if is_linear else Int8Embedding(*rows, weight)
    for parent in list(module.modules()):
        for name, child in list(parent.named_children()):
            if child in made:
                setattr(parent, name, made[child])


def formats(module: nn.Module) -> dict[str, int]:
    """How many layers hold their weights in each format, those that are left in floats under their own."""
    found: dict[str, int] = {}
    for layer in module.modules():
        name = getattr(layer, "weight_format", None)
        if name is None and isinstance(getattr(layer, "weight", None), Tensor):
            name = str(layer.weight.dtype).removeprefix("torch.")
        if name:
            found[name] = found.get(name, 0) + 1
    return found
