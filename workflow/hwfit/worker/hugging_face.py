"""Models from a local Hugging Face folder, by transformers, in torch. Nothing is downloaded.

A folder is data as long as its weights are safetensors and its code is transformers' own. Pickled weights
and code that comes with a model do what their author wants: they are read only where the source says
`trust: true`.

Run on: CPU (torch 2.13.0, transformers 5.23.0).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from hwfit.worker.errors import Unsupported

Source = Mapping[str, Any]

# Tokens of a text that is embedded or classified: longer ones are cut.
SEQUENCE_LENGTH = 64


def torch_module(source: Source, task: str) -> Any:
    """The folder's model in fp32, as a module that takes the inputs by position and gives one tensor."""
    if task == "generation":
        return language_model(source)
    return encoder(source) if task == "embedding" else classifier(source)


def language_model(source: Source) -> Any:
    """A causal language model in fp32, in evaluation mode."""
    from transformers import AutoModelForCausalLM

    return load(AutoModelForCausalLM, source)


def encoder(source: Source) -> Any:
    """A text encoder, see `text_encoder`."""
    from transformers import AutoModel

    return text_encoder(load(AutoModel, source))


def text_encoder(model: Any) -> Any:
    """A model of transformers with mean pooling and normalised embeddings, as sentence encoders are used."""
    import torch

    class TextEncoder(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encoder = model

        def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
            hidden = self.encoder(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
            mask = attention_mask.unsqueeze(-1).to(hidden.dtype)
            pooled = (hidden * mask).sum(dim=1) / mask.sum(dim=1).clamp(min=1)
            return torch.nn.functional.normalize(pooled, dim=1)

    return TextEncoder()


def classifier(source: Source) -> Any:
    """A classifier of texts (token numbers and their mask) or of images (pixel values): a score a class."""
    import torch
    from transformers import AutoModelForImageClassification, AutoModelForSequenceClassification

    architecture = (config_of(source).get("architectures") or [""])[0]
    is_of_images = architecture.endswith("ForImageClassification")
    kind = AutoModelForImageClassification if is_of_images else AutoModelForSequenceClassification

    class Classifier(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.classifier = load(kind, source)

        def forward(self, first: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
            named = {self.classifier.main_input_name: first}
            if mask is not None:
                named["attention_mask"] = mask
            return self.classifier(**named).logits

    return Classifier()


def load(kind: Any, source: Source) -> Any:
    """What transformers makes of the folder. Raises Unsupported where it has to be trusted and is not."""
    import torch

    require_trust(source)
    trusted = bool(source.get("trust"))
    # Where both kinds of weights are there, safetensors are read, whoever is trusted.
    module = kind.from_pretrained(
        source["huggingface"],
        local_files_only=True,
        use_safetensors=None if trusted else True,
        trust_remote_code=trusted,
        dtype=torch.float32,
    )
    return module.eval()


def require_trust(source: Source) -> None:
    """Raises Unsupported where the folder holds code or pickles that its source does not trust."""
    if source.get("trust"):
        return
    folder = Path(source["huggingface"])
    if not any(folder.glob("*.safetensors")):
        raise Unsupported(f"{folder} has no .safetensors; pickled weights run code: trust: true reads them")
    if config_of(source).get("auto_map"):
        raise Unsupported(f"{folder} brings code of its own (auto_map in config.json): trust: true runs it")


def config_of(source: Source) -> dict[str, Any]:
    """The folder's config.json."""
    return json.loads((Path(source["huggingface"]) / "config.json").read_text())


def tokenizer(source: Source) -> Any:
    """The folder's tokenizer; None where it has none."""
    from transformers import AutoTokenizer

    folder = Path(source["huggingface"])
    if not any((folder / name).exists() for name in ("tokenizer.json", "tokenizer_config.json", "vocab.txt")):
        return None
    trusted = bool(source.get("trust"))
    return AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=trusted)


def text_inputs(dataset: Mapping[str, np.ndarray], tokenizer: Any) -> dict[str, np.ndarray]:
    """The `texts` of a data set as token numbers and their mask, int64 (n, SEQUENCE_LENGTH)."""
    encoded = tokenizer(
        [str(text) for text in dataset["texts"]],
        padding="max_length",
        truncation=True,
        max_length=SEQUENCE_LENGTH,
        return_tensors="np",
    )
    return {name: encoded[name].astype(np.int64) for name in ("input_ids", "attention_mask")}
