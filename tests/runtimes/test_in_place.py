"""Activation functions write in place where nobody notices, and nowhere else."""

from frameworks import run_python

TRY = """
import json
import torch
from torch import nn
from types import SimpleNamespace
from hwfit.worker.errors import Unsupported
from hwfit.worker.passes import in_place

class Plain(nn.Sequential):
    pass

class Reads(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.act = nn.Linear(4, 4), nn.ReLU()
    def forward(self, x):
        y = self.first(x)
        return self.act(y) + y

def tried(module):
    session = SimpleNamespace(module=module.eval(), input_dtype=None, pass_facts={},
                              card={"inputs": [{"name": "x", "dtype": "float32", "shape": [4]}]})
    try:
        in_place.torch(session)
    except Unsupported as error:
        return str(error)
    return session.pass_facts["in_place"]["modules"]

print(json.dumps([tried(Plain(nn.Linear(4, 4), nn.ReLU6(), nn.Linear(4, 4), nn.SiLU(), nn.Linear(4, 4))),
                  tried(Reads()), tried(Plain(nn.Linear(4, 4), nn.ReLU(inplace=True)))]))
"""


def test_it_changes_what_can_be_changed_and_refuses_the_rest(python_of):
    changed, read, nothing = run_python(python_of("torch-cpu"), TRY)
    assert changed == 2
    assert read == "somebody else reads what an activation function would overwrite"
    assert nothing.startswith("no activation function")
