"""The only reader of a user's configuration: four YAML files, checked before any job starts."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from hwfit import catalog

# Names become file names, rule names, MLflow tags and HTML: one plain alphabet serves all of them.
Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]+([._-][a-z0-9]+)*$", max_length=64)]
BatchSize = Annotated[int, Field(strict=True, ge=1, le=1_000_000)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]


class Section(BaseModel):
    """A mapping of the config: unknown keys are errors, values are not coerced from text."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Source(Section):
    """Where a model comes from: exactly one of the keys."""

    zoo: str | None = Field(None, description="a model that hwfit brings: " + ", ".join(catalog.ZOO))
    callable: str | None = Field(
        None, description="`package.module:function` that returns the framework's model"
    )


class Training(Section):
    """How `prepare` trains a zoo model whose weights come from no package."""

    epochs: Annotated[int, Field(strict=True, ge=1)] = 30
    seed: Annotated[int, Field(strict=True, ge=0)] = 0


class Model(Section):
    """A network with its weights, its task and real inputs."""

    task: Literal[catalog.TASKS] = Field(description="what the outputs mean, and so how they are compared")
    data: str = Field(description="real inputs: " + ", ".join(catalog.DATASETS) + ", or a path to a .npz file")
    sources: dict[Literal[tuple(catalog.RUNTIMES)], Source] = Field(description="a source for each runtime")
    training: Training | None = None


class Device(Section):
    """One place that work runs."""

    accelerator: Literal[catalog.ACCELERATORS]
    index: Annotated[int, Field(strict=True, ge=0)] = 0
    runtimes: dict[Literal[tuple(catalog.RUNTIMES)], str] = Field(
        description="each runtime with its environment, a name in envs/"
    )
    threads: Annotated[int, Field(strict=True, ge=1)] | None = Field(
        None, description="compute threads of a runtime; each runtime's own default where absent"
    )
    memory_limit_mb: Positive | None = Field(None, description="a worker's limit of private memory")
    price_per_hour: Positive | None = Field(None, description="in US dollars")


class Optimization(Section):
    """An ordered list of passes; an empty list is the baseline."""

    passes: list[Pass] = []


class Cast(Section):
    """Weights and activations in a narrower float format."""

    name: Literal["cast"] = Field(alias="pass")
    dtype: Literal["bfloat16", "float16"]


class QuantizeDynamic(Section):
    """Int8 weights, activations quantized as they come (post-training, no calibration)."""

    name: Literal["quantize_dynamic"] = Field(alias="pass")
    dtype: Literal["int8"] = "int8"


class Prune(Section):
    """Zero the weights of least magnitude, over all matrices and filters together."""

    name: Literal["prune"] = Field(alias="pass")
    amount: Annotated[float, Field(gt=0, lt=1, allow_inf_nan=False)]


Pass = Annotated[Cast | QuantizeDynamic | Prune, Field(discriminator="name")]
Optimization.model_rebuild()


class Exclusion(Section):
    """Combinations to leave out: those that match every key given."""

    model: str | None = None
    device: str | None = None
    runtime: str | None = None
    optimization: str | None = None
    batch_size: BatchSize | None = None


class Matrix(Section):
    """What to combine: the product of the lists, less the exclusions."""

    models: Annotated[list[str], Field(min_length=1)]
    devices: Annotated[list[str], Field(min_length=1)]
    runtimes: Annotated[list[Literal[tuple(catalog.RUNTIMES)]], Field(min_length=1)] | None = Field(
        None, description="every runtime that the device lists, where absent"
    )
    optimizations: Annotated[list[str], Field(min_length=1)] = ["baseline"]
    batch_sizes: Annotated[list[BatchSize], Field(min_length=1)] = [1]
    exclude: list[Exclusion] = []


class Measurement(Section):
    """How a combination is measured; part of every profile's fingerprint."""

    relative_ci: Annotated[float, Field(gt=0, lt=1, allow_inf_nan=False)] = 0.02
    min_seconds: Positive = 0.5
    max_seconds: Positive = 10
    timeout_seconds: Positive = 300
    scenarios: Annotated[list[Literal[catalog.SCENARIOS]], Field(min_length=1)] = ["single_stream"]
    rounds: Annotated[int, Field(strict=True, ge=1)] = 1
    confirm_rounds: Annotated[int, Field(strict=True, ge=0)] = 3


class Constraints(Section):
    """Limits that a recommended combination must meet. Units are in the names."""

    latency_p50_ms: Positive | None = None
    latency_p90_ms: Positive | None = None
    latency_p99_ms: Positive | None = None
    min_throughput_samples_per_s: Positive | None = None
    max_accuracy_drop: Share | None = None
    min_fidelity: Share | None = None
    max_memory_mb: Positive | None = None
    max_model_size_mb: Positive | None = None
    max_power_w: Positive | None = None
    max_energy_j_per_sample: Positive | None = None
    max_cost_usd_per_million: Positive | None = None


class Decision(Section):
    """What is wanted, and under which limits."""

    objective: Literal["throughput", "latency", "energy", "cost"] = "throughput"
    constraints: Constraints = Constraints()


class Tracking(Section):
    """Where runs are logged."""

    uri: str = "sqlite:///results/mlflow.db"
    experiment: str = "hwfit"


class Config(Section):
    """config/config.yaml."""

    sweep: Name = "default"
    matrix: Matrix | Annotated[list[Matrix], Field(min_length=1)]
    measurement: Measurement = Measurement()
    decision: Decision = Decision()
    tracking: Tracking = Tracking()
    environments: Literal["venv", "conda", "host"] = "venv"


class Study(BaseModel):
    """Everything a user configured, resolved: what the plan is made from."""

    config: Config
    models: dict[Name, Model]
    devices: dict[Name, Device]
    optimizations: dict[Name, Optimization]


def read_study(config: dict[str, Any], directory: Path, fallback: Path) -> Study:
    """Check a config and the catalogs beside it.

    Parameters
    ----------
    config : the content of config.yaml, as Snakemake read it
    directory : the user's config directory, where models.yaml, devices.yaml and optimizations.yaml are
    fallback : hwfit's own config directory, for those of the three that the user's lacks
    """
    import yaml

    def catalog_of(name: str) -> Any:
        path = directory / f"{name}.yaml"
        if not path.exists():
            path = fallback / f"{name}.yaml"
        return yaml.safe_load(path.read_text())

    return Study(
        config=config,
        models=catalog_of("models"),
        devices=catalog_of("devices"),
        optimizations=catalog_of("optimizations"),
    )
