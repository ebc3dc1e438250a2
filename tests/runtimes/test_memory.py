"""Memory of real networks: what torch holds at once, and a batch that is told beforehand not to fit."""

import pytest

from frameworks import run_python
from hwfit.records import read_profile, write_json
from hwfit.worker.attempts import Attempts
from hwfit.worker.supervisor import supervise
from hwfit.worker.zoo import reference_convolutions
from jobs import make_job

LIVE = """
import json
import numpy as np
import torch
from torch import nn
from hwfit.worker.live_bytes import LiveBytes, peak_activation_bytes
from hwfit.worker.zoo import reference_convolutions, torch_layers

def peak(module, inputs):
    return list(peak_activation_bytes(module, inputs).values())

class Held(nn.Module):
    def forward(self, x):
        wide = torch.cat([x] * 8, 1)
        padded = nn.functional.pad(wide, (0, 8))
        return padded.sum(1), wide.shape

class Widens(nn.Module):
    def forward(self, x):
        wide = torch.cat([x] * 8, 1)
        narrow = wide[:, :1] * 2
        del wide
        return narrow + 1

x = {"x": np.ones((4, 1000), np.float32)}
image = {"x": np.ones((1, *reference_convolutions.INPUT_SHAPE), np.float32)}
convolutions = torch_layers.build(reference_convolutions.LAYERS).eval()
cache = torch.zeros(1000)
with torch.inference_mode(), LiveBytes() as live:
    cache[:500] = torch.ones(500)
print(json.dumps({
    "sequence": peak(nn.Sequential(nn.Linear(1000, 500), nn.Linear(500, 10)), x),
    "views": peak(nn.Flatten(), x),
    "freed": peak(Widens(), x),
    "convolutions": peak(convolutions, image),
    "written": live.most,
    "held": peak(Held(), x),
    "activated": peak(nn.Sequential(nn.Linear(1000, 500), nn.GELU(), nn.Linear(500, 10)), x),
}))
"""


@pytest.fixture(scope="module")
def live(python_of):
    return run_python(python_of("torch-cpu"), LIVE)


def test_a_layers_inputs_and_outputs_are_there_at_once_and_the_networks_inputs_left_out(live):
    assert live["sequence"] == [4 * (500 + 10)] * 2
    assert live["convolutions"] == [reference_convolutions.PEAK_ACTIVATION_BYTES] * 2


def test_an_activation_function_writes_where_it_reads_if_operators_are_fused(live):
    assert live["activated"] == [4 * (500 + 500), 4 * (500 + 10)]


def test_what_is_freed_counts_no_more_and_a_view_never(live):
    assert live["freed"][0] == 4 * (8000 + 1)
    assert live["views"] == [None, None]


def test_what_a_function_still_names_and_nobody_uses_is_gone_in_a_graph(live):
    assert live["held"] == [4 * (8000 + 8008 + 1), 4 * (8008 + 1)]


def test_what_was_there_before_and_is_written_to_is_no_activation(live):
    assert live["written"] == 4 * 500


def test_a_batch_that_cannot_fit_is_said_beforehand_and_ends_out_of_memory(
    python_of, checkpoints, tmp_path, capfd
):
    memory = {"base_mb": 200.0, "weight_copies": 1.0, "loading_copies": 0.0, "activation_copies": 2.0}
    write_json(tmp_path / "inventory.json", {"runtimes": {"torch": {"memory": memory}}})
    model = checkpoints / "densenet121"
    job = make_job(
        tmp_path,
        python=python_of("torch-cpu"),
        source={"zoo": "densenet121"},
        task="features",
        batch_sizes=[128],
        memory_limit_mb=1000,
        model_directory=model,
        weights_directory=model,
        inventory_file=tmp_path / "inventory.json",
    )
    supervise(job, Attempts(tmp_path / "attempts.jsonl"))
    row = read_profile(job.path(128))
    assert row.status == "oom", row.reason
    assert row.metrics["predicted_memory_mb"] > 1000
    assert "memory_limit_mb is 1,000 MB" in row.reason
    assert "batch 128: predicted to take" in capfd.readouterr().out
