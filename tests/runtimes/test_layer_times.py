"""Times of a torch model's blocks, and where it may be cut."""

from frameworks import run_python

LAYERS = """
import json
import time
import torch
from torch import nn
from hwfit.worker.layer_times import Recorder
from hwfit.worker.stages import Parts

class Sleep(nn.Module):
    def __init__(self, seconds):
        super().__init__()
        self.seconds = seconds

    def forward(self, x):
        time.sleep(self.seconds)
        return x * 2

class Chain(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = Sleep(0.01)
        self.blocks = nn.ModuleList([Sleep(0.02), Sleep(0.005)])
        self.head = nn.Sequential(nn.Linear(4, 4), Sleep(0.001))

    def forward(self, x):
        x = torch.relu(self.stem(x))
        for block in self.blocks:
            x = block(x)
        time.sleep(0.01)
        return self.head(x).flatten(1)

class Skip(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = (nn.Linear(4, 4) for _ in range(3))

    def forward(self, x):
        x = self.a(x)
        return self.c(x + self.b(x))

found = {}
with torch.inference_mode():
    for module in (Chain(), Skip()):
        x = torch.rand(3, 4)
        expected, recorder = module(x), Recorder(module.eval(), None)
        calls = recorder.record([x])
        found[type(module).__name__] = [
            [name, seconds, output.nbytes, recorder.is_cut(i, [x], expected)]
            for i, (name, seconds, output) in enumerate(calls)
        ]
        assert torch.equal(module(x), expected)
    module = Chain().eval()
    inputs, others = torch.rand(3, 4), torch.rand(3, 4)
    expected = module(others)
    for blocks_before in range(1, 5):
        parts = Parts(Chain().eval(), blocks_before, [inputs])
        parts.module.load_state_dict(module.state_dict())
        found[f"cut {blocks_before}"] = float((parts.second(parts.first([others])) - expected).abs().max())
print(json.dumps(found))
"""


def test_blocks_are_timed_in_their_order_and_cut_where_nothing_else_is_needed(python_of):
    found = run_python(python_of("torch-cpu"), LAYERS)
    names, seconds, sizes, cuts = zip(*found["Chain"], strict=True)
    assert names == ("stem", "blocks.0", "blocks.1", "head.0", "head.1")
    # What the model does between two blocks counts for the later one.
    assert all(s >= least for s, least in zip(seconds, (0.01, 0.02, 0.005, 0.01, 0.001), strict=True))
    assert seconds[1] > seconds[2]
    assert set(sizes) == {3 * 4 * 4}
    assert all(cuts)
    # A model that is run in two parts gives what it gives whole.
    assert [found[f"cut {number}"] for number in range(1, 5)] == [0, 0, 0, 0]
    # Behind b, a's output is needed still.
    assert [(name, cut) for name, _, _, cut in found["Skip"]] == [("a", True), ("b", False), ("c", True)]
