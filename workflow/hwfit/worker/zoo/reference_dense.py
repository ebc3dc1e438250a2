"""Four dense layers of 1448: 33.6 MB of weights and hardly an activation, so that a process that loads it
tells what a runtime makes of a byte of weights. Its weights are not kept.
"""

from __future__ import annotations

from hwfit.worker.zoo import layers

WIDTH, DEPTH = 1448, 4
INPUT_SHAPE = (WIDTH,)
LAYERS = tuple(layers.Dense(f"fc{number}", WIDTH, WIDTH) for number in range(1, DEPTH + 1))
