"""What hwfit knows by name: runtimes, accelerators, tasks, zoo models, data sets and passes.

Declarations only, with the standard library, so that both wings can read them: the control wing to
validate a config and to plan, the worker wing to find the module that does the work.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Pass:
    """One step of an optimization.

    `artifact` passes rewrite the shared fp32 checkpoint once, for every device and runtime.
    `session` passes act in the worker, on the loaded model, in the runtimes they name.
    One that `keeps_outputs` changes how the model is computed, not what comes out.
    """

    kind: str
    runtimes: tuple[str, ...]
    module: str
    keeps_outputs: bool = False


@dataclass(frozen=True)
class ZooModel:
    """A network that hwfit defines itself, or takes with its real weights from a package."""

    task: str
    runtimes: tuple[str, ...]
    data: tuple[str, ...]


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
    """What the file is called that a runtime loads."""
    return "model.onnx" if RUNTIMES[runtime].reads_onnx else "weights.safetensors"


ACCELERATORS = ("cpu", "cuda", "tpu", "npu", "xpu", "mps", "intel-npu")

# What a model's outputs mean, and with it how two sets of outputs are compared:
# classification by top-1 agreement, features (and embeddings) by mean cosine similarity.
TASKS = ("classification", "embedding", "features")

# How requests arrive, and whether somebody waits for each answer, so that its latency counts.
SCENARIOS = {"single_stream": True, "offline": False, "server": True}

DIGIT_SETS = ("digits", "mnist", "fashion-mnist")
DATASETS = (*DIGIT_SETS, "photographs", "photograph-patches", "python-help")

ZOO = {
    "mlp": ZooModel("features", tuple(RUNTIMES), ("photograph-patches",)),
    "lenet-300-100": ZooModel("classification", tuple(RUNTIMES), DIGIT_SETS),
    "lenet-5": ZooModel("classification", tuple(RUNTIMES), DIGIT_SETS),
    "efficientnet-lite0": ZooModel("classification", ("torch", *READ_ONNX), ("photographs",)),
    "minilm": ZooModel("embedding", ("torch", *READ_ONNX), ("python-help",)),
}

PASSES = {
    "prune": Pass("artifact", tuple(RUNTIMES), "hwfit.worker.passes.prune"),
    "threads": Pass("session", tuple(RUNTIMES), "hwfit.worker.passes.threads", keeps_outputs=True),
    "cast": Pass("session", (*FRAMEWORKS, "openvino"), "hwfit.worker.passes.cast"),
    "quantize_dynamic": Pass("session", ("torch", "onnxruntime"), "hwfit.worker.passes.quantize_dynamic"),
}
