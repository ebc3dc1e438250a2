"""A device that the framework does not find, or was built without, is a reason in one line."""

import json

import pytest

from frameworks import ENVIRONMENTS, run_python
from hwfit.catalog import RUNTIMES

DESCRIBE = """
import json, sys
from hwfit.worker import runtimes
from hwfit.worker.errors import Unsupported

module, found = runtimes.load(sys.argv[1]), {}
for accelerator in json.loads(sys.argv[2]):
    try:
        found[accelerator] = module.describe(accelerator, 0)
    except Unsupported as error:
        found[accelerator] = str(error)
print(json.dumps(found))
"""
# What each says on a machine with nothing but its CPU.
SAID = {
    "torch": {
        "cuda": "finds no accelerator, not cuda",
        "mps": "finds no accelerator, not mps",
        "xpu": "finds no accelerator, not xpu",
        "npu": "torch needs torch_npu for npu",
        "tpu": "torch needs torch_xla for tpu",
    },
    "tensorflow": {"cuda": "finds no GPU device", "tpu": "finds no TPU device"},
    "mindspore": {"npu": "mindspore"},
    "onnxruntime": {
        "cuda": "was built without CUDAExecutionProvider; it has",
        "npu": "was built without CANNExecutionProvider; it has",
        "xpu": "was built without OpenVINOExecutionProvider; it has",
    },
    "openvino": {"xpu": "finds no GPU device; it finds CPU", "intel-npu": "finds no NPU device"},
}


@pytest.mark.parametrize("runtime", ENVIRONMENTS)
def test_every_accelerator_is_described_or_refused_with_a_reason(python_of, runtime):
    accelerators = RUNTIMES[runtime].accelerators
    found = run_python(python_of(ENVIRONMENTS[runtime]), DESCRIBE, runtime, json.dumps(accelerators))
    assert found["cpu"]["runtime_version"]
    for accelerator, reason in SAID[runtime].items():
        if isinstance(found[accelerator], dict):
            continue  # this machine has one
        assert reason in found[accelerator]
        assert "\n" not in found[accelerator]
    assert {"cpu", *SAID[runtime]} == set(accelerators)
