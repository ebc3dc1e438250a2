"""What is there, and what is not, asked of drivers and device files alone."""

import json
import os
import stat

import pytest

from hwfit.worker import probe as probing
from hwfit.worker.lock import locks_of
from hwfit.worker.probe import PROBES, probe

GPUS = """\
0, GPU-1111, NVIDIA H200, 143771, 570.86.15
1, GPU-2222, NVIDIA H200, 143771, 570.86.15
"""


@pytest.fixture
def nvidia_smi(tmp_path, monkeypatch):
    """A directory that alone is on the PATH, and a program in it that plays the driver's."""

    def install(output="", status=0, there=True):
        if there:
            program = tmp_path / "nvidia-smi"
            (tmp_path / "said").write_text(output)
            program.write_text(f"#!/bin/sh\n/bin/cat {tmp_path}/said\nexit {status}\n")
            program.chmod(program.stat().st_mode | stat.S_IEXEC)
        monkeypatch.setenv("PATH", str(tmp_path))
        monkeypatch.setattr(probing, "NVIDIA_FOLDERS", ())
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)

    return install


def test_the_cpu_is_there_with_its_cores_and_flags():
    found = probe("cpu")
    assert found["status"] == "ok"
    assert found["cores"] == len(os.sched_getaffinity(0))
    assert found["memory_mb"] > 100
    assert found["identity"].startswith("cpu:")
    assert found["cpu_flags"]
    assert probe("cpu", 1)["status"] == "unavailable"


def test_a_gpu_is_named_by_its_uuid_and_its_worker_sees_it_alone(nvidia_smi):
    nvidia_smi(GPUS)
    found = probe("cuda", 1)
    assert found["identity"] == "cuda:GPU-2222"
    assert found["environment"] == {"CUDA_VISIBLE_DEVICES": "GPU-2222"}
    assert (found["name"], found["driver"]) == ("NVIDIA H200", "570.86.15")
    # It says MiB.
    assert found["memory_mb"] == pytest.approx(143771 * 2**20 / 1e6)
    assert "index 2" in probe("cuda", 2)["reason"]


def test_an_index_counts_the_gpus_that_a_job_was_given(nvidia_smi, monkeypatch):
    nvidia_smi(GPUS)
    for visible in ("1", "GPU-2222"):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
        assert probe("cuda", 0)["identity"] == "cuda:GPU-2222"
        assert probe("cuda", 1)["status"] == "unavailable"
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert probe("cuda", 0)["status"] == "unavailable"


@pytest.mark.parametrize(
    ("driver", "said"),
    [
        ({"there": False}, "nvidia-smi is not on the PATH"),
        ({"output": "No devices were found\n"}, "0 seen"),
        (
            {"output": "NVIDIA-SMI has failed because it couldn't talk to the driver\n", "status": 9},
            "couldn't talk",
        ),
    ],
)
def test_a_gpu_that_is_not_there_is_a_reason(nvidia_smi, driver, said):
    nvidia_smi(**driver)
    found = probe("cuda")
    assert found["status"] == "unavailable"
    assert said in found["reason"]
    assert found["identity"] is None


@pytest.mark.parametrize("accelerator", sorted(PROBES))
def test_every_probe_says_the_same_things(accelerator, nvidia_smi):
    nvidia_smi(there=False)
    found = probe(accelerator, 63)
    assert found["status"] == "unavailable"
    assert found["reason"]
    assert set(json.loads(json.dumps(found))) >= {"name", "identity", "memory_mb", "driver", "environment"}


def test_some_cores_of_a_cpu_are_a_device_of_their_own_with_the_whole_ones_lock():
    core = min(os.sched_getaffinity(0))
    whole, part = probe("cpu"), probe("cpu", cores=[core])
    assert part["status"] == "ok"
    assert part["identity"] == f"{whole['identity']}:cores {core}"
    assert (part["cores"], part["pinned_cores"]) == (1, [core])
    assert part["locks"] == locks_of(whole)


def test_a_core_that_is_not_there_is_told():
    found = probe("cpu", cores=[60_000])
    assert found["status"] == "unavailable"
    assert found["reason"].startswith("cores 60000 are not among those that may be used: ")
