"""What a user may configure: one pydantic model a section, every field with its meaning and unit.

The JSON schemas for editors and the tables of config/README.md are made from these models, and the
messages about wrong values too. `hwfit.config` reads files with them.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag

from hwfit import catalog
from hwfit.cost_sections import Cost
from hwfit.decision_sections import Decision
from hwfit.device_sections import DeviceOrComposite
from hwfit.input_sections import SIGNATURE, DataPath, Image, Input, Text
from hwfit.pass_sections import Optimization
from hwfit.section_types import (
    PATH_REST,
    PATH_START,
    PLAIN_PATH,
    BatchSize,
    DeviceName,
    FilePath,
    ModelName,
    Name,
    OneOf,
    OptimizationName,
    PlannedDevice,
    RuntimeName,
    Seconds,
    Section,
    Tokens,
    Unique,
)
from hwfit.section_types import text as _text
from hwfit.training.sections import TrainingMatrix, TrainingOrList


class Source(Section):
    """Where a model comes from: exactly one of zoo, callable and huggingface."""

    model_config = ConfigDict(json_schema_extra={"minProperties": 1, "maxProperties": 2})

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
    onnx: FilePath | None = Field(default=None, description="an ONNX file, for the runtimes that read one")
    export: Literal["torch"] | None = Field(
        default=None, description="torch: the model's torch source, exported to ONNX"
    )
    huggingface: FilePath | None = Field(
        default=None,
        description="a local Hugging Face folder (config.json, .safetensors, a tokenizer): for torch a "
        "language model, a text encoder, or a classifier of texts or images; for tensorflow and mindspore a "
        "language model of the Llama architecture",
    )
    trust: bool | None = Field(
        default=None,
        description="true: read weights that are pickles, and run code that comes with the folder; both do "
        "what their author wants",
    )


class Training(Section):
    """How a zoo model is trained whose weights come from no package."""

    epochs: Annotated[int, Field(ge=1, le=100_000)] = Field(
        default=30, description="passes over the training data"
    )
    seed: Annotated[int, Field(ge=0, le=2**32 - 1)] = Field(
        default=0, description="of the first weights and the order of the data"
    )
    schedule: Literal["constant", "cosine"] = Field(
        default="constant", description="of the learning rate: the same throughout, or falling to 0"
    )


class Model(Section):
    """A network with its weights, its task and real inputs."""

    task: Annotated[str, OneOf(catalog.TASKS)] = Field(
        description="what the outputs mean, and so how they are compared: classification by top-1 agreement, "
        "features and embeddings by mean cosine similarity, generation by the likeliest next token and by "
        "perplexity"
    )
    data: DataPath = Field(
        default=SIGNATURE,
        description="real inputs: a data set that hwfit knows, a .npz file, images, a text or IDX files; "
        "signature: generated from what an ONNX file says of its inputs",
        examples=[*catalog.DATASETS, SIGNATURE],
    )
    sources: Annotated[dict[RuntimeName, Source], Field(min_length=1)] = Field(
        description="for each runtime, where the model comes from"
    )
    files: Annotated[list[FilePath], Unique()] = Field(
        default=[],
        description="what the callables read or import beside their own module, such as a file of weights: "
        "where one of them changes, the model is measured again",
    )
    weights: (
        Annotated[
            str,
            _text(
                rf"^{PATH_START}{PATH_REST}{{0,399}}\.(safetensors|pt|pth)$",
                f"the path of a .safetensors, .pt or .pth file, {PLAIN_PATH}",
            ),
        ]
        | None
    ) = Field(
        default=None,
        description="a state dict for a zoo model, in place of the weights that it comes with; under "
        "torchvision's names where torchvision has the model",
    )
    training: Training | None = Field(default=None, description="how a zoo model is trained; not for others")
    inputs: dict[str, Input] | None = Field(
        default=None, description="of an ONNX file: what its signature leaves open, by the name of the input"
    )
    output: Annotated[str, Field(min_length=1, max_length=400)] | None = Field(
        default=None, description="of an ONNX file: the output that is compared; the first where absent"
    )
    calibration: (
        Annotated[
            str, _text(rf"^{PATH_START}{PATH_REST}{{0,399}}\.npz$", f"the path of a .npz file, {PLAIN_PATH}")
        ]
        | None
    ) = Field(
        default=None,
        description="inputs by name, first axis the samples, for passes that calibrate; absent: training "
        "data, or what hwfit's data sets hold out, else samples that the model is also judged by",
    )
    image: Image | None = Field(default=None, description="how images and IDX files become arrays")
    text: Text | None = Field(default=None, description="how a text file becomes arrays")
    samples: Annotated[int, Field(ge=1, le=1_000_000)] | None = Field(
        default=None,
        description="most samples to take, evenly spread over a folder, a text or an IDX file, or generated; "
        f"{catalog.SAMPLES} where absent",
    )


class Exclusion(Section):
    """Combinations to leave out: those that match every key given."""

    model_config = ConfigDict(json_schema_extra={"minProperties": 1})

    model: ModelName | None = Field(default=None, description="only of this model")
    device: DeviceName | None = Field(default=None, description="only on this device")
    runtime: RuntimeName | None = Field(default=None, description="only in this runtime")
    optimization: OptimizationName | None = Field(default=None, description="only with this optimization")
    scenario: (
        Annotated[
            str,
            _text(
                rf"^({'|'.join(catalog.SCENARIOS)}|generate-[1-9][0-9]*-[1-9][0-9]*)$",
                f"one of {', '.join(catalog.SCENARIOS)}, or generate-<prompt_tokens>-<output_tokens>",
            ),
        ]
        | None
    ) = Field(default=None, description="only in this scenario")
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


class Generation(Section):
    """How much a language model reads and writes: a scenario of its own, for each model of that task."""

    prompt_tokens: Tokens = Field(default=128, description="tokens of each prompt")
    output_tokens: Tokens = Field(
        default=32, description="tokens written to each, whether or not the model ends its text before"
    )

    @property
    def scenario(self) -> str:
        """The name of the scenario."""
        return catalog.generation_scenario(self.prompt_tokens, self.output_tokens)


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
    generation: Annotated[list[Generation], Field(min_length=1), Unique()] = Field(
        default=[Generation()],
        description="the scenarios of language models, instead of those above: each is called "
        "generate-<prompt_tokens>-<output_tokens>, and has its own answer",
    )
    server_seconds: Seconds = Field(
        default=60, description="most time of arrivals at one rate in the scenario server, s"
    )
    energy_seconds: Annotated[float, Field(ge=0, le=1_000_000, allow_inf_nan=False)] = Field(
        default=5,
        description="how long the calls of a batch size are made again under a power meter, s; longer where "
        "the meter needs it; 0: energy is not measured. Nothing is done on a device without a meter",
    )
    rounds: Annotated[int, Field(ge=1, le=1000)] = Field(
        default=1, description="fresh processes that measure every cell"
    )
    confirm_rounds: Annotated[int, Field(ge=0, le=1000)] = Field(
        default=3, description="further rounds for the cells that may win; 0: none"
    )
    most_confirm_rounds: Annotated[int, Field(ge=0, le=1000)] | None = Field(
        default=None,
        description="so many at most for those that confirm_rounds cannot tell apart; absent: twice as many",
    )


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


class Report(Section):
    """How the report is written."""

    language: Literal["en", "zh"] = Field(
        default="en",
        description="of the page; en: English, zh: Chinese; what the decision says is English",
    )


MatrixOrList = Annotated[
    Annotated[Matrix, Tag("mapping")] | Annotated[list[Matrix], Tag("list")],
    Discriminator(lambda value: "list" if isinstance(value, list) else "mapping"),
]


# What a site is called that nobody has named.
HERE = "here"


class Config(Section):
    """config/config.yaml."""

    model_config = ConfigDict(
        json_schema_extra={
            "anyOf": [
                {"required": [key], "properties": {key: {"minItems": 1, "description": "one of the three"}}}
                for key in ("matrix", "training", "sites")
            ]
        }
    )

    sweep: Name = Field(default="default", description="name of this study: the parent run in MLflow")
    site: Name = Field(default=HERE, description="name of where this is run: other sites know its rows by it")
    sites: Annotated[list[FilePath], Unique()] = Field(
        default=[],
        description="what `snakemake export` wrote at other sites, to be merged into the table, the decision "
        "and the report",
    )
    artifacts_from: FilePath | None = Field(
        default=None,
        description="an export with artifacts: the checkpoints, evaluation sets and artifacts in it are "
        "taken from there and not made anew",
    )
    matrix: MatrixOrList = Field(
        default=[],
        description="what to combine: one mapping, or a list whose union is taken; may be absent beside "
        "`training` or `sites`",
    )
    training: TrainingOrList = Field(
        default=[],
        description="what to train, and how: one mapping, or a list whose union is taken",
    )
    measurement: Measurement = Field(default=Measurement(), description="how to measure")
    decision: Decision = Field(default=Decision(), description="what is wanted")
    cost: Cost = Field(default=Cost(), description="what the prices in devices.yaml have in common")
    tracking: Tracking = Field(default=Tracking(), description="where runs are logged")
    environments: Literal["venv", "conda", "host"] = Field(
        default="venv",
        description="where a runtime's Python comes from: venv, built from envs/*.txt; conda, from "
        "envs/*.yaml with --sdm conda; host, the Python that runs Snakemake",
    )
    report: Report = Field(default=Report(), description="how the report is written")

    @property
    def matrices(self) -> list[Matrix]:
        """The matrix as a list, however it was written."""
        return self.matrix if isinstance(self.matrix, list) else [self.matrix]

    @property
    def training_matrices(self) -> list[TrainingMatrix]:
        """The section `training` as a list, however it was written."""
        return self.training if isinstance(self.training, list) else [self.training]

    @property
    def model_names(self) -> list[str]:
        """The models of the matrix, as they come."""
        return list(dict.fromkeys(name for matrix in self.matrices for name in matrix.models))


class Study(BaseModel):
    """Everything a user configured, resolved: what the plan is made from.

    The study of a merged plan has the devices of other sites too, each as `<device>@<site>`.
    """

    config: Config
    models: dict[Name, Model]
    devices: dict[PlannedDevice, DeviceOrComposite]
    optimizations: dict[Name, Optimization]
