"""What hwfit knows by name: runtimes, accelerators, tasks, zoo models, data sets and passes.

Declarations only, with the standard library, so that both wings can read them: the control wing to
validate a config and to plan, the worker wing to find the module that does the work.
"""

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Pass:
    """One step of an optimization.

    `artifact` passes rewrite the shared fp32 checkpoint once, for every device and runtime.
    `session` passes act in the worker, on the loaded model, in the runtimes they name.
    """

    kind: str
    runtimes: tuple[str, ...]
    module: str


@dataclass(frozen=True)
class ZooModel:
    """A network that hwfit defines itself, or takes with its real weights from a package."""

    task: str
    runtimes: tuple[str, ...]
    data: tuple[str, ...]
    context_tokens: int | None = None


@dataclass(frozen=True)
class Runtime:
    """The software that runs a model, and the accelerators it can drive."""

    accelerators: tuple[str, ...]


RUNTIMES = {
    "torch": Runtime(accelerators=("cpu", "cuda")),
    "tensorflow": Runtime(accelerators=("cpu", "cuda", "tpu")),
    "mindspore": Runtime(accelerators=("cpu", "npu")),
}

ACCELERATORS = ("cpu", "cuda", "tpu", "npu")

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
DATASETS = (*DIGIT_SETS, "photographs", "photograph-patches", *TEXT_SETS)

ZOO = {
    "mlp": ZooModel("features", ("torch", "tensorflow", "mindspore"), ("photograph-patches",)),
    "lenet-300-100": ZooModel("classification", ("torch", "tensorflow", "mindspore"), DIGIT_SETS),
    "lenet-5": ZooModel("classification", ("torch", "tensorflow", "mindspore"), DIGIT_SETS),
    "efficientnet-lite0": ZooModel("classification", ("torch",), ("photographs",)),
    "minilm": ZooModel("embedding", ("torch",), ("python-help",)),
    "smollm2": ZooModel(
        "generation", ("torch", "tensorflow", "mindspore"), ("python-topics",), context_tokens=8192
    ),
}

PASSES = {
    "prune": Pass("artifact", tuple(RUNTIMES), "hwfit.worker.passes.prune"),
    "cast": Pass("session", tuple(RUNTIMES), "hwfit.worker.passes.cast"),
    "quantize_dynamic": Pass("session", ("torch",), "hwfit.worker.passes.quantize_dynamic"),
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
