"""What hwfit knows by name: runtimes, accelerators, tasks, zoo models, data sets and passes.

Declarations only, with the standard library, so that both wings can read them: the control wing to
validate a config and to plan, the worker wing to find the module that does the work.
"""

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class ZooModel:
    """A network that hwfit defines itself, or takes with its real weights from a package.

    `tasks`: first what it is for as it comes, then what else it may be for with a user's weights.
    """

    tasks: tuple[str, ...]
    runtimes: tuple[str, ...]
    data: tuple[str, ...]
    context_tokens: int | None = None


@dataclass(frozen=True)
class Runtime:
    """The software that runs a model, and the accelerators it can drive.

    One that `reads_onnx` takes a model as an ONNX file: the user's own, or exported from torch.
    """

    accelerators: tuple[str, ...]
    reads_onnx: bool = False


RUNTIMES = {
    "torch": Runtime(accelerators=("cpu", "cuda", "mps", "xpu", "npu", "tpu")),
    "tensorflow": Runtime(accelerators=("cpu", "cuda", "tpu")),
    "mindspore": Runtime(accelerators=("cpu", "npu")),
    "onnxruntime": Runtime(accelerators=("cpu", "cuda", "npu", "xpu"), reads_onnx=True),
    "openvino": Runtime(accelerators=("cpu", "xpu", "intel-npu"), reads_onnx=True),
}

# What runs on a composite device: its members, each with a share of the batch.
COMPOSITE = "composite"
SPLIT = "split"

# The backend by which torch.distributed drives several devices of a kind.
DISTRIBUTED = {"cpu": "gloo", "cuda": "nccl"}

READ_ONNX = tuple(name for name, runtime in RUNTIMES.items() if runtime.reads_onnx)
FRAMEWORKS = tuple(name for name, runtime in RUNTIMES.items() if not runtime.reads_onnx)


def weights_file(runtime: str) -> str:
    """What the file is called that a runtime loads, where no file pass has made another."""
    return "model.onnx" if RUNTIMES[runtime].reads_onnx else "weights.safetensors"


ACCELERATORS = ("cpu", "cuda", "tpu", "npu", "xpu", "mps", "intel-npu")

# What power may be that of: an accelerator's board, the processor's packages with their memory, or the whole
# machine.
POWER_SCOPES = ("board", "package", "node")

# What a model's outputs mean, and with it how two sets of outputs are compared:
# classification by top-1 agreement, features (and embeddings) by mean cosine similarity, generation by
# the agreement on the next token, and by perplexity.
TASKS = ("classification", "embedding", "features", "generation")

# How requests arrive, and whether somebody waits for each answer, so that its latency counts.
SCENARIOS = {"single_stream": True, "offline": False, "server": True}

# A language model has scenarios of its own instead, one for each pair of lengths.
_GENERATION = re.compile(r"generate-(\d+)-(\d+)")

DIGIT_SETS = ("digits", "mnist", "fashion-mnist")
TEXT_SETS = ("python-topics", "python-help")
IMAGE_SETS = ("photographs", "scenes")
LABELLED_IMAGE_SETS = ("scene-names",)
DATASETS = (*DIGIT_SETS, *IMAGE_SETS, *LABELLED_IMAGE_SETS, "photograph-patches", *TEXT_SETS)

# How many samples are taken of a user's folder or text, or generated: a share of
# them is then known to some percent.
SAMPLES = 256

ZOO = {
    "mlp": ZooModel(("features",), tuple(RUNTIMES), ("photograph-patches",)),
    "lenet-300-100": ZooModel(("classification",), tuple(RUNTIMES), DIGIT_SETS),
    "lenet-5": ZooModel(("classification",), tuple(RUNTIMES), DIGIT_SETS),
    "alexnet": ZooModel(("features", "classification"), tuple(RUNTIMES), IMAGE_SETS),
    "densenet121": ZooModel(("features", "classification"), tuple(RUNTIMES), IMAGE_SETS),
    "efficientnet-lite0": ZooModel(
        ("classification",), ("torch", *READ_ONNX), (*IMAGE_SETS, *LABELLED_IMAGE_SETS)
    ),
    "minilm": ZooModel(("embedding",), ("torch", *READ_ONNX), ("python-help",)),
    "smollm2": ZooModel(("generation",), FRAMEWORKS, ("python-topics",), 8192),
    "byte-decoder": ZooModel(("generation",), FRAMEWORKS, TEXT_SETS, 128),
}


@dataclass(frozen=True)
class Pass:
    """One step of an optimization; its module has its name, in `hwfit.worker.passes`.

    An `artifact` pass rewrites the shared fp32 checkpoint once, for every device and runtime. A `file` pass
    makes the file that one runtime loads, once for all its devices. A `session` pass acts in the worker, on
    the loaded model. One that `keeps_outputs` changes how the model is computed, not what comes out.
    `elsewhere` says why it does not work on other accelerators, where that is not plain. One that `computes`
    has products computed in its `dtype`, one that `skips_products` leaves out those with zeros.
    """

    kind: str
    runtimes: tuple[str, ...] = tuple(RUNTIMES)
    tasks: tuple[str, ...] = TASKS
    accelerators: tuple[str, ...] = ACCELERATORS
    keeps_outputs: bool = False
    elsewhere: str = ""
    computes: bool = False
    skips_products: bool = False


_NO_GENERATION = tuple(task for task in TASKS if task != "generation")

PASSES = {
    "prune": Pass("artifact"),
    "prune_2_4": Pass("artifact"),
    "prune_channels": Pass("artifact", tasks=_NO_GENERATION),
    "quantize_aware": Pass("artifact", tasks=("classification",)),
    "prune_gradually": Pass("artifact", tasks=("classification",)),
    "deep_compression": Pass("artifact", tasks=("classification",)),
    "threads": Pass("session", keeps_outputs=True),
    "cast": Pass("session", (*FRAMEWORKS, "openvino"), computes=True),
    "channels_last": Pass("session", ("torch",), _NO_GENERATION, keeps_outputs=True),
    "compile": Pass("session", ("torch", "tensorflow"), _NO_GENERATION, keeps_outputs=True),
    "graph_level": Pass("session", ("onnxruntime",), _NO_GENERATION, keeps_outputs=True),
    "performance_hint": Pass("session", ("openvino",), _NO_GENERATION, keeps_outputs=True),
    "eager": Pass("session", ("tensorflow", "mindspore"), _NO_GENERATION, keeps_outputs=True),
    "quantize_dynamic": Pass(
        "session", ("torch", "onnxruntime", "openvino"), accelerators=("cpu",), computes=True
    ),
    "sparse_2_4": Pass("session", ("torch",), accelerators=("cuda",), skips_products=True),
    "quantize_weights": Pass("session", ("torch", "onnxruntime", "openvino"), accelerators=("cpu",)),
    "quantize_cache": Pass("session", ("torch",), ("generation",)),
    "in_place": Pass("session", ("torch",), _NO_GENERATION, keeps_outputs=True),
    "keep_memory": Pass("session", accelerators=("cpu",), keeps_outputs=True),
    "offload": Pass(
        "session",
        ("torch",),
        accelerators=("cuda", "xpu", "npu"),
        keeps_outputs=True,
        elsewhere="the host's memory is where its weights lie already",
    ),
    "quantize_static": Pass(
        "file", ("torch", "tensorflow", "onnxruntime", "openvino"), _NO_GENERATION, ("cpu",), computes=True
    ),
}


def generation_scenario(prompt_tokens: int, output_tokens: int) -> str:
    """The name of the scenario in which a language model reads and writes so many tokens."""
    return f"generate-{prompt_tokens}-{output_tokens}"


def is_generation(scenario: str) -> bool:
    """Whether a scenario is one of a language model."""
    return _GENERATION.fullmatch(scenario) is not None


def generation_lengths(scenario: str) -> tuple[int, int] | None:
    """Tokens of the prompt and of the output in a scenario of a language model; None in any other."""
    match = _GENERATION.fullmatch(scenario)
    return (int(match[1]), int(match[2])) if match else None


def has_latency(scenario: str) -> bool:
    """Whether somebody waits for each answer."""
    return SCENARIOS.get(scenario, True)
