"""Memory of processes: what several share is counted once, and peaks are those since the reset."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from hwfit.worker import host
from hwfit.worker.memory import SessionMemory, together

MEGABYTE = 1e6
SHARED_BYTES = 200 * 2**20

# A parent that holds memory, and a child forked from it: both read their own, while the other is there.
FORKED = """
import json, os, sys
from hwfit.worker import host

shared = bytearray(b"x") * int(sys.argv[1])
go_read, go_write = os.pipe()
told_read, told_write = os.pipe()
if os.fork() == 0:
    os.read(go_read, 1)
    host.reset_process_peak()
    own = bytearray(b"y") * (50 * 2**20)
    del own
    memory = host.process_memory()
    os.write(told_write, json.dumps([memory.peak_bytes, memory.now_bytes, memory.measure]).encode())
    os.read(go_read, 1)
    os._exit(0)
os.write(go_write, b"1")
child = json.loads(os.read(told_read, 4096))
parent = host.process_memory()
os.write(go_write, b"1")
os.wait()
print(json.dumps({"child": child, "parent": [parent.now_bytes, host.resident_peak_bytes()]}))
"""


@pytest.fixture(scope="module")
def forked():
    done = subprocess.run(
        [sys.executable, "-c", FORKED, str(SHARED_BYTES)],
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2] / "workflow")},
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout)


def test_forked_pages_count_once_over_all_processes(forked):
    _, now, measure = forked["child"]
    assert measure == "pss"
    parent, resident = forked["parent"]
    assert resident > SHARED_BYTES
    # Half of what is shared falls to each.
    assert now == pytest.approx(SHARED_BYTES / 2, abs=20 * MEGABYTE)
    assert now + parent == pytest.approx(SHARED_BYTES, abs=40 * MEGABYTE)


def test_a_peak_that_is_over_is_remembered_without_what_others_share(forked):
    peak, now, _ = forked["child"]
    assert peak - now == pytest.approx(50 * 2**20, abs=5 * MEGABYTE)


def test_without_the_kernels_word_on_shares_the_resident_set_is_taken_and_said(monkeypatch):
    read = host.kilobytes
    monkeypatch.setattr(host, "kilobytes", lambda path, names: {} if "smaps" in path else read(path, names))
    memory = host.process_memory()
    assert memory.measure == "rss"
    assert 0 < memory.now_bytes <= memory.peak_bytes


def made(**changes):
    whole = {
        "peak": 100e6,
        "host": 100e6,
        "reserved": None,
        "share": None,
        "framework": 40e6,
        "measure": "pss",
    }
    return SessionMemory(**(whole | changes))


def test_a_composites_memory_is_the_sum_over_its_processes():
    gpu = made(peak=300e6, reserved=400e6, share=900e6, framework=None)
    both = together([made(), gpu])
    assert both == SessionMemory(400e6, 200e6, 400e6, 900e6, 40e6, "pss")


def test_a_peak_that_one_member_does_not_tell_is_no_sum_of_the_others():
    assert together([made(), made(peak=None)]).peak is None
    assert together([made(), made(measure="rss")]).measure == "rss"


def test_framework_weights_and_working_memory_make_up_the_peak():
    metrics = made().metrics(model_size_bytes=25e6)
    assert metrics["peak_memory_mb"] == metrics["framework_memory_mb"] + 25 + metrics["working_memory_mb"]
    assert metrics["working_memory_mb"] == 35


def test_weights_that_are_mapped_and_not_read_give_no_negative_rest():
    assert made().metrics(model_size_bytes=80e6)["working_memory_mb"] is None


def test_what_an_accelerator_does_not_count_is_empty_and_not_the_hosts():
    metrics = made(peak=None, framework=None).metrics(model_size_bytes=1e6)
    assert metrics["peak_memory_mb"] is None
    assert metrics["host_peak_memory_mb"] == 100
