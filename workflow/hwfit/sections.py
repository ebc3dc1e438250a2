"""What a user may configure: one pydantic model a section, every field with its meaning and unit.

The JSON schemas for editors and the tables of config/README.md are made from these models, and the
messages about wrong values too. `hwfit.config` reads files with them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, GetCoreSchemaHandler, StringConstraints, Tag
from pydantic import ValidationInfo as Info
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from hwfit import catalog


@dataclass(frozen=True)
class OneOf:
    """Annotates text that must be one of a few values."""

    values: tuple[str, ...]

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.literal_schema(list(self.values))


@dataclass(frozen=True)
class Defined:
    """Annotates a name that another file must define.

    What is defined there comes as the validation context, `{kind: names}`; without it any name passes.
    """

    kind: str

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.with_info_after_validator_function(self.check, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: Any) -> dict[str, Any]:
        return {"description": f"a name in {self.place}"} | handler(schema)

    @property
    def place(self) -> str:
        return "envs/" if self.kind == "environments" else f"{self.kind}.yaml"

    def check(self, name: str, info: Info) -> str:
        defined = (info.context or {}).get(self.kind)
        if defined is not None and name not in defined:
            raise PydanticCustomError(
                "not_defined", "not defined", {"place": self.place, "defined": list(defined)}
            )
        return name


@dataclass(frozen=True)
class Unique:
    """Annotates a list in which nothing stands twice."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self.check, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: Any) -> dict[str, Any]:
        return handler(schema) | {"uniqueItems": True}

    def check(self, values: list[Any]) -> list[Any]:
        for index, value in enumerate(values):
            if value in values[:index]:
                context = {"index": index, "first": values.index(value)}
                raise PydanticCustomError("repeated", "there twice", context)
        return values


def _text(pattern: str, meaning: str, max_length: int = 256) -> Any:
    """Text of a pattern, with the words that an editor and an error message say for it."""
    return Field(
        pattern=pattern,
        max_length=max_length,
        json_schema_extra={"patternErrorMessage": f"allowed: {meaning}"},
    )


# Names become file names, rule names, MLflow tags and HTML: one plain alphabet serves all of them.
NAME_MEANING = "a name: lowercase letters and digits, parts joined by one of . _ - (at most 64 characters)"
Name = Annotated[
    str,
    StringConstraints(pattern=r"^[a-z0-9]+([._-][a-z0-9]+)*$", max_length=64),
    Field(json_schema_extra={"patternErrorMessage": f"allowed: {NAME_MEANING}"}),
]
RuntimeName = Annotated[str, OneOf(tuple(catalog.RUNTIMES))]
ModelName = Annotated[str, Defined("models")]
DeviceName = Annotated[str, Defined("devices")]
OptimizationName = Annotated[str, Defined("optimizations")]
Core = Annotated[int, Field(ge=0, le=65535)]
BatchSize = Annotated[int, Field(ge=1, le=1_000_000)]
FilePath = Annotated[str, _text(r"^[^\x00-\x1f]{1,400}$", "the path of a file, without control characters")]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Seconds = Annotated[float, Field(gt=0, le=1_000_000, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]


class Section(BaseModel):
    """A mapping of the config: unknown keys are errors, values are not coerced from text."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Source(Section):
    """Where a model comes from: exactly one of the keys."""

    model_config = ConfigDict(json_schema_extra={"minProperties": 1, "maxProperties": 1})

    zoo: Annotated[str, OneOf(tuple(catalog.ZOO))] | None = Field(
        default=None, description="a model that hwfit brings"
    )
    callable: (
        Annotated[
            str,
            _text(
                r"^[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*:[A-Za-z_][A-Za-z0-9_]*$",
                "`package.module:function`, an importable module, a colon and a function of it",
            ),
        ]
        | None
    ) = Field(default=None, description="a function without arguments that returns the framework's model")
    onnx: FilePath | None = Field(
        default=None, description="an ONNX file, for the runtimes that read one; its first output is compared"
    )
    export: Literal["torch"] | None = Field(
        default=None, description="torch: the model's torch source, exported to ONNX"
    )


class Training(Section):
    """How a zoo model is trained whose weights come from no package."""

    epochs: Annotated[int, Field(ge=1, le=100_000)] = Field(
        default=30, description="passes over the training data"
    )
    seed: Annotated[int, Field(ge=0, le=2**32 - 1)] = Field(
        default=0, description="of the first weights and the order of the data"
    )


class Model(Section):
    """A network with its weights, its task and real inputs."""

    task: Annotated[str, OneOf(catalog.TASKS)] = Field(
        description="what the outputs mean, and so how they are compared: classification by top-1 agreement, "
        "features and embeddings by mean cosine similarity"
    )
    data: Annotated[
        str,
        _text(
            rf"^({'|'.join(catalog.DATASETS)}|[A-Za-z0-9._/][A-Za-z0-9._/-]*\.npz)$",
            f"one of {', '.join(catalog.DATASETS)}, or the path of a .npz file (letters, digits, . _ - /)",
        ),
    ] = Field(
        description="real inputs: a data set that hwfit knows, or a .npz file",
        examples=list(catalog.DATASETS),
    )
    sources: Annotated[dict[RuntimeName, Source], Field(min_length=1)] = Field(
        description="for each runtime, where the model comes from"
    )
    files: Annotated[
        list[FilePath],
        Unique(),
    ] = Field(
        default=[],
        description="what the callables read or import beside their own module, such as a file of weights: "
        "where one of them changes, the model is measured again",
    )
    training: Training | None = Field(default=None, description="how a zoo model is trained; not for others")


class Device(Section):
    """One place that work runs."""

    accelerator: Annotated[str, OneOf(catalog.ACCELERATORS)] = Field(description="what kind of chip computes")
    index: Annotated[int, Field(ge=0, le=1023)] = Field(
        default=0, description="which of them, as its driver counts"
    )
    runtimes: Annotated[dict[RuntimeName, Annotated[Name, Defined("environments")]], Field(min_length=1)] = (
        Field(description="each runtime with its environment: a name in envs/, without .txt")
    )
    threads: Annotated[int, Field(ge=1, le=4096)] | None = Field(
        default=None,
        description="compute threads of a runtime; each runtime's own default where absent, and as many as "
        "`cores` where those are given",
    )
    cores: Annotated[list[Core], Field(min_length=1), Unique()] | None = Field(
        default=None,
        description="of a cpu: the cores that a worker is kept on, as the kernel counts them; absent: all",
    )
    memory_limit_mb: Positive | None = Field(
        default=None, description="a worker's limit of private memory, MB; none where absent"
    )
    price_per_hour: Positive | None = Field(
        default=None, description="what the device costs, US dollars an hour"
    )


class Member(Section):
    """One part of a composite device."""

    device: DeviceName = Field(description="a device of this file, with an accelerator of its own")
    runtime: RuntimeName | None = Field(
        default=None, description="what runs there; absent: the only runtime that the device lists"
    )


MemberOrName = Annotated[
    Annotated[DeviceName, Tag("text")] | Annotated[Member, Tag("mapping")],
    Discriminator(lambda value: "mapping" if isinstance(value, (Mapping, Member)) else "text"),
]


class Composite(Section):
    """Several devices at work on one batch: each takes a share in proportion to its measured speed."""

    members: Annotated[list[MemberOrName], Field(min_length=2, max_length=64), Unique()] = Field(
        description="the devices, two or more, each by its name or with a runtime"
    )
    parallel: Literal["torch-distributed"] | None = Field(
        default=None,
        description="torch-distributed: the first member holds the batch, sends the others their samples and "
        "takes their outputs, by gloo on cpu and nccl on cuda; absent: each is handed its own",
    )
    price_per_hour: Positive | None = Field(
        default=None,
        description="what they cost together, US dollars an hour; the sum of the members' where absent",
    )

    @property
    def accelerator(self) -> str:
        """No chip of its own."""
        return catalog.COMPOSITE

    @property
    def runtimes(self) -> dict[str, str]:
        """What runs on it; the environment is that of its first member."""
        return {catalog.SPLIT: ""}


DeviceOrComposite = Annotated[
    Annotated[Device, Tag("device")] | Annotated[Composite, Tag("composite")],
    Discriminator(lambda value: "composite" if is_composite(value) else "device"),
]


def is_composite(value: Any) -> bool:
    """Whether an entry of devices.yaml, as it was written or read, is of a composite."""
    return isinstance(value, Composite) or (isinstance(value, Mapping) and "members" in value)


class Threads(Section):
    """Compute with so many threads, in place of what the device or the runtime would take."""

    name: Literal["threads"] = Field(alias="pass", description="a session pass: every runtime")
    count: Annotated[int, Field(ge=1, le=4096)] = Field(description="threads of one operator (intra-op)")


class Cast(Section):
    """Weights and activations in a narrower float format."""

    name: Literal["cast"] = Field(alias="pass", description="a session pass: torch, tensorflow, mindspore")
    dtype: Literal["bfloat16", "float16"] = Field(description="the format")


class QuantizeDynamic(Section):
    """Int8 weights, activations quantized as they come (post-training, no calibration)."""

    name: Literal["quantize_dynamic"] = Field(alias="pass", description="a session pass: torch")
    dtype: Literal["int8"] = Field(default="int8", description="the format")


class Prune(Section):
    """Zero the weights of least magnitude, over all matrices and filters together."""

    name: Literal["prune"] = Field(alias="pass", description="an artifact pass: every runtime")
    amount: Annotated[float, Field(gt=0, lt=1, allow_inf_nan=False)] = Field(
        description="share of the weights that become zero"
    )


Pass = Annotated[Cast | QuantizeDynamic | Prune | Threads, Field(discriminator="name")]


class Optimization(Section):
    """An ordered list of passes; an empty list is the baseline."""

    passes: Annotated[list[Pass], Field(max_length=16)] = Field(
        default=[], description="what is done, in order"
    )


class Exclusion(Section):
    """Combinations to leave out: those that match every key given."""

    model_config = ConfigDict(json_schema_extra={"minProperties": 1})

    model: ModelName | None = Field(default=None, description="only of this model")
    device: DeviceName | None = Field(default=None, description="only on this device")
    runtime: RuntimeName | None = Field(default=None, description="only in this runtime")
    optimization: OptimizationName | None = Field(default=None, description="only with this optimization")
    scenario: Annotated[str, OneOf(tuple(catalog.SCENARIOS))] | None = Field(
        default=None, description="only in this scenario"
    )
    batch_size: BatchSize | None = Field(default=None, description="only at this batch size")


class Matrix(Section):
    """What to combine: the product of the lists; what `exclude` matches becomes a row that is skipped."""

    models: Annotated[list[ModelName], Field(min_length=1), Unique()] = Field(description="what is run")
    devices: Annotated[list[DeviceName], Field(min_length=1), Unique()] = Field(description="where it runs")
    runtimes: Annotated[list[RuntimeName], Field(min_length=1), Unique()] | None = Field(
        default=None,
        description="each must be listed by each device here; absent: every runtime that a device lists",
    )
    optimizations: Annotated[list[OptimizationName], Field(min_length=1), Unique()] = Field(
        default=["baseline"], description="how it is made smaller or faster"
    )
    batch_sizes: Annotated[list[BatchSize], Field(min_length=1), Unique()] = Field(
        default=[1], description="samples a call"
    )
    exclude: Annotated[list[Exclusion], Unique()] = Field(default=[], description="combinations to leave out")


class Measurement(Section):
    """How a combination is measured; part of every profile's fingerprint."""

    relative_ci: Annotated[float, Field(gt=0, lt=1, allow_inf_nan=False)] = Field(
        default=0.02,
        description="sampling ends when the median's 95% interval is within this share of it, to either side",
    )
    min_seconds: Seconds = Field(default=1.0, description="least time of timed calls for a batch size, s")
    max_seconds: Seconds = Field(default=10, description="most time of timed calls for a batch size, s")
    timeout_seconds: Seconds = Field(
        default=300, description="a worker that gives no result for so long is stopped, s"
    )
    repeats: Annotated[int, Field(ge=0, le=100)] = Field(
        default=1,
        description="how often a batch size is sampled again because the machine was disturbed meanwhile; "
        "all attempts are kept, the last one counts",
    )
    scenarios: Annotated[
        list[Annotated[str, OneOf(tuple(catalog.SCENARIOS))]], Field(min_length=1), Unique()
    ] = Field(
        default=["single_stream"],
        description="how requests arrive; single_stream: the next when one is done; offline: all at once, "
        "from the host's memory and back to it; server: at random (Poisson), at the highest rate that keeps "
        "decision.constraints.latency_p90_ms and latency_p99_ms, the batch size being the most that one call "
        "takes. Each has its own answer",
    )
    server_seconds: Seconds = Field(
        default=60, description="most time of arrivals at one rate in the scenario server, s"
    )
    rounds: Annotated[int, Field(ge=1, le=1000)] = Field(
        default=1, description="fresh processes that measure every cell"
    )
    confirm_rounds: Annotated[int, Field(ge=0, le=1000)] = Field(
        default=3, description="further rounds for the cells that may win; 0: none"
    )


class Constraints(Section):
    """Limits that a recommended combination must meet; none where absent. Units are in the names."""

    latency_p50_ms: Positive | None = Field(default=None, description="most: median time of a call, ms")
    latency_p90_ms: Positive | None = Field(
        default=None, description="most: 90th percentile of a call's time, ms"
    )
    latency_p99_ms: Positive | None = Field(
        default=None, description="most: 99th percentile of a call's time, ms"
    )
    min_throughput_samples_per_s: Positive | None = Field(default=None, description="least: samples a second")
    max_accuracy_drop: Share | None = Field(
        default=None,
        description="most: accuracy lost against the fp32 reference, absolute (0.01 is one point)",
    )
    min_fidelity: Share | None = Field(
        default=None, description="least: agreement with the fp32 reference, a share (0.98 is 98%)"
    )
    max_memory_mb: Positive | None = Field(default=None, description="most: peak memory, MB")
    max_model_size_mb: Positive | None = Field(
        default=None, description="most: weights as the session holds them, MB"
    )
    max_power_w: Positive | None = Field(default=None, description="most: mean power while measuring, W")
    max_energy_j_per_sample: Positive | None = Field(default=None, description="most: energy a sample, J")
    max_cost_usd_per_million: Positive | None = Field(
        default=None, description="most: a million samples, US dollars"
    )


class Decision(Section):
    """What is wanted, and under which limits."""

    objective: Literal["throughput", "latency", "energy", "cost"] = Field(
        default="throughput",
        description="what the recommended combination is best in; latency means throughput in the scenarios "
        "offline, where nobody waits, and server, where the limits say how long",
    )
    constraints: Constraints = Field(default=Constraints(), description="limits that it must meet")


_DATABASE = r"(sqlite|postgresql|mysql|mssql)(\+[a-z0-9]+)?://.+"


class Tracking(Section):
    """Where runs are logged."""

    uri: Annotated[
        str,
        _text(
            rf"^({_DATABASE}|https?://\S+|file:/.+|databricks(://.+)?)$",
            "an MLflow tracking URI: sqlite:///path.db, http(s)://host:port, postgresql://…, mysql://…, "
            "mssql://…, file:/path or databricks",
            2048,
        ),
    ] = Field(
        default="sqlite:///results/mlflow.db",
        description="MLflow tracking URI; a path in it is relative to the working directory. "
        "The environment variable MLFLOW_TRACKING_URI is the place for one with a password",
    )
    experiment: Annotated[
        str, _text(r"^[A-Za-z0-9][A-Za-z0-9 ._/-]*$", "letters, digits, spaces and . _ - /", 128)
    ] = Field(default="hwfit", description="MLflow experiment that the runs go to")


MatrixOrList = Annotated[
    Annotated[Matrix, Tag("mapping")] | Annotated[list[Matrix], Field(min_length=1), Tag("list")],
    Discriminator(lambda value: "list" if isinstance(value, list) else "mapping"),
]


class Config(Section):
    """config/config.yaml."""

    sweep: Name = Field(default="default", description="name of this study: the parent run in MLflow")
    matrix: MatrixOrList = Field(description="what to combine: one mapping, or a list whose union is taken")
    measurement: Measurement = Field(default=Measurement(), description="how to measure")
    decision: Decision = Field(default=Decision(), description="what is wanted")
    tracking: Tracking = Field(default=Tracking(), description="where runs are logged")
    environments: Literal["venv", "conda", "host"] = Field(
        default="venv",
        description="where a runtime's Python comes from: venv, built from envs/*.txt; conda, from "
        "envs/*.yaml with --sdm conda; host, the Python that runs Snakemake",
    )

    @property
    def matrices(self) -> list[Matrix]:
        """The matrix as a list, however it was written."""
        return self.matrix if isinstance(self.matrix, list) else [self.matrix]


class Study(BaseModel):
    """Everything a user configured, resolved: what the plan is made from."""

    config: Config
    models: dict[Name, Model]
    devices: dict[Name, DeviceOrComposite]
    optimizations: dict[Name, Optimization]
