"""What the runs were fed, in MLflow's own types: the evaluation data, and the weights as a logged model.

A data set and a model are made once in an experiment; each run that was measured points to its own, so that
the model's page in the UI lists the runs that ran it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from hwfit.layout import CHECKPOINT, model_directory
from hwfit.records import Cell, RecordError, fingerprint, read_json
from hwfit.tracking.store import Store, text

KIND = "weights"
# MLflow allows these in no model's name, and 36 characters to a digest.
NOT_IN_NAMES = r"[/:.%\"']"
DIGEST_LENGTH = 32
MODEL_PARAMETERS = (
    "task",
    "provenance",
    "parameters",
    "nonzero_parameters",
    "file_bytes",
    "weight_bytes",
    "passes",
    "exporter",
)


@dataclass(frozen=True)
class Card:
    """The card of a file of weights, where there is one."""

    path: Path
    content: dict[str, Any]

    @cached_property
    def name(self) -> str:
        """Names the weights after their directory below results."""
        kind, model, *artifact = self.path.parent.parts[-3:] if self.is_made else ("models", self.model)
        parts = [model, "onnx" if kind == "onnx" else "", *(a for a in artifact if a != CHECKPOINT)]
        return re.sub(NOT_IN_NAMES, "_", "-".join(part for part in parts if part))

    @property
    def model(self) -> str:
        """The model whose weights these are."""
        return str(self.content.get("model", self.path.parent.name))

    @property
    def is_made(self) -> bool:
        """Whether it is of a file that was made of the model's checkpoint."""
        return self.path.parent.name != self.model

    @cached_property
    def digest(self) -> str:
        return fingerprint(KIND, self.name, self.content)


class Inputs:
    """The data sets and models of an experiment, and which run was fed which."""

    def __init__(self, store: Store, parent: str, weights: Mapping[Cell, str]) -> None:
        self.store, self.parent, self.weights = store, parent, weights
        self.cards: dict[str, Card | None] = {}
        self.datasets: dict[str, Any] = {}

    @cached_property
    def models(self) -> dict[str, Any]:
        """The experiment's logged models of weights, by digest."""
        found = self.store.models(f"tags.`hwfit.kind` = '{KIND}'")
        return {model.tags.get("hwfit.digest", ""): model for model in found}

    def card_of(self, cell: Cell) -> Card | None:
        """The card of the weights that a cell runs."""
        directory = self.weights.get(cell)
        return self.read(directory) if directory else None

    def read(self, directory: str) -> Card | None:
        """The card of a directory; None where it is not there, or says that nothing was made."""
        if directory not in self.cards:
            path = Path(directory) / "card.json"
            try:
                content = read_json(path)
            except RecordError:
                content = {"status": "unavailable"}
            is_ok = content.get("status", "ok") == "ok"
            self.cards[directory] = Card(path, content) if is_ok else None
        return self.cards[directory]

    def log(self, run_id: str, cell: Cell) -> None:
        """Say what the run of a cell was fed."""
        card = self.card_of(cell)
        data = self.dataset(cell.model) if card else None
        if card:
            from mlflow.entities import LoggedModelInput

            self.store.client.log_inputs(
                run_id, [data] if data else None, [LoggedModelInput(self.model(card))]
            )

    def log_all(self, run_id: str) -> None:
        """Say what the runs of the sweep were fed, in the sweep's own run."""
        models = dict.fromkeys(cell.model for cell in self.weights)
        if datasets := [data for model in models if (data := self.dataset(model))]:
            self.store.client.log_inputs(run_id, datasets)

    def dataset(self, model: str) -> Any:
        """The evaluation data of a model as MLflow's input; None where its card has none."""
        if model not in self.datasets:
            card = self.read(model_directory(model))
            self.datasets[model] = dataset_input(card) if card else None
        return self.datasets[model]

    def model(self, card: Card) -> str:
        """The id of the logged model of some weights, which is made where it is not there."""
        from mlflow.entities import LoggedModelStatus

        known = self.models.get(card.digest)
        if known is None:
            told = {name: card.content.get(name) for name in MODEL_PARAMETERS}
            known = self.store.client.create_logged_model(
                self.store.experiment_id,
                name=card.name,
                source_run_id=self.parent,
                tags={"hwfit.kind": KIND, "hwfit.digest": card.digest, "model": card.model},
                params={name: text(value) for name, value in told.items() if value not in (None, [], "")},
                model_type="hwfit weights",
            )
        if known.status != LoggedModelStatus.READY:
            self.store.put(known.artifact_location, card.path)
            known = self.store.client.finalize_logged_model(known.model_id, LoggedModelStatus.READY)
        self.models[card.digest] = known
        return known.model_id


def dataset_input(card: Card) -> Any:
    """The evaluation data that a model's card describes, as MLflow's input; None where it names none."""
    from mlflow.entities import Dataset, DatasetInput, InputTag

    content = card.content
    if not content.get("evaluation_sha256"):
        return None
    named = Path(str(content.get("data_provenance") or card.model))
    features = [
        {
            "type": "tensor",
            "name": entry["name"],
            "tensor-spec": {"dtype": entry.get("dtype", "float32"), "shape": [-1, *entry.get("shape", [])]},
        }
        for entry in content.get("inputs", [])
    ]
    labels = [{"type": "tensor", "name": "labels", "tensor-spec": {"dtype": "int64", "shape": [-1]}}]
    schema = {
        "features": json.dumps(features),
        "targets": json.dumps(labels) if content.get("labelled") else None,
    }
    profile = {
        "num_rows": content.get("samples"),
        "labelled": bool(content.get("labelled")),
        "generated": bool(content.get("synthetic_inputs")),
    }
    return DatasetInput(
        Dataset(
            name=named.name if named.is_absolute() else str(named),
            digest=content["evaluation_sha256"][:DIGEST_LENGTH],
            source_type="local",
            source=json.dumps({"uri": str(card.path.with_name("evaluation.npz"))}),
            schema=json.dumps({"mlflow_tensorspec": schema}) if features else None,
            profile=json.dumps(profile),
        ),
        [InputTag("mlflow.data.context", "evaluation")],
    )
