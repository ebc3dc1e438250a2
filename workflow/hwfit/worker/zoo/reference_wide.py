"""One dense layer of 2896: as many weights as `reference_dense`, all in one, so that a process that loads
both tells what an allocator keeps of the room in which the largest was turned and copied.
"""

from __future__ import annotations

from hwfit.worker.zoo import layers

WIDTH = 2896
INPUT_SHAPE = (WIDTH,)
LAYERS = (layers.Dense("fc1", WIDTH, WIDTH),)
