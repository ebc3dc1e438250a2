"""Two processes of torch.distributed (gloo) give the outputs of one."""

import json
import os

import pytest

from frameworks import run_python

RANKS = """
import json, os, sys, time
from pathlib import Path
import numpy as np
from safetensors.torch import save_file
from hwfit.worker import runtimes
from hwfit.worker import zoo

directory, cores, passes = Path(sys.argv[1]), json.loads(sys.argv[2]), json.loads(sys.argv[3])
module = zoo.torch_module("lenet-300-100")
save_file(module.state_dict(), directory / "weights.safetensors")
(directory / "environment.json").write_text(json.dumps({"python": sys.executable}))
(directory / "probe.json").write_text(json.dumps({"environment": {}}))
card = {"inputs": [{"name": "x", "dtype": "float32", "shape": [1, 28, 28]}]}
source = {"zoo": "lenet-300-100"}
members = [
    {
        "device": f"rank{core}", "runtime": "torch", "source": source, "accelerator": "cpu", "index": 0,
        "threads": 1, "memory_limit_mb": None, "cores": [core], "parallel": "torch-distributed",
        "weights_directory": str(directory), "environment_file": str(directory / "environment.json"),
        "probe_file": str(directory / "probe.json"),
    }
    for core in cores
]

def request(**more):
    weights = directory / "weights.safetensors"
    return runtimes.Request(source, "classification", weights, card, passes=passes, **more)

one = runtimes.load("torch").open_session(request(accelerator="cpu"))
both = runtimes.load("split").open_session(request(accelerator="composite", members=members))
random, found = np.random.default_rng(0), {}
for size in (1, 2, 7, 64):
    batches = [{"x": random.standard_normal((size, 1, 28, 28), np.float32)} for _ in range(3)]
    placed = [both.place(batch) for batch in batches]
    outputs = [both.run(each) for each in placed]
    wanted = [one.fetch(one.run(one.place(batch))) for batch in batches]
    got = [both.fetch(output) for output in outputs]
    found[size] = {
        "error": float(max(np.abs(a - b).max() for a, b in zip(got, wanted))),
        "largest": float(np.abs(wanted).max()),
        "shares": both.details()["split"]["batch_sizes"][str(size)]["shares"],
        "accelerator": both.accelerator_of(outputs[0]),
    }
found["threads"] = both.threads()
both.members[1].process.kill()
try:
    both.run(placed[0])
except SystemExit as end:
    found["end"] = str(end)
except RuntimeError as error:
    found["end"] = str(error)
print(json.dumps(found))
"""


@pytest.mark.parametrize(
    ("passes", "tolerance"), [([], 1e-5), ([{"pass": "cast", "dtype": "bfloat16"}], 0.02)]
)
def test_ranks_give_the_outputs_of_one_process(python_of, tmp_path, passes, tolerance):
    cores = sorted(os.sched_getaffinity(0))[:2]
    if len(cores) < 2:
        pytest.skip("two ranks need two cores")
    arguments = (str(tmp_path), json.dumps(cores), json.dumps(passes))
    found = run_python(python_of("torch-cpu"), RANKS, *arguments)
    for size in (1, 2, 7, 64):
        result = found[str(size)]
        assert sum(result["shares"].values()) == size
        assert result["error"] <= tolerance * result["largest"]
        assert result["accelerator"] == "composite"
    assert min(found["64"]["shares"].values()) > 0
    assert set(found["threads"].values()) >= {1}
    assert f"rank{cores[1]} (torch) died of SIGKILL" in found["end"]
