"""What a careful person writes by hand: load, warm up, time each call. Prints one JSON line.

python bare_loop.py BATCH SECONDS
"""

import json
import sys
import time

import numpy as np
import torch

from benchmarks.bert import load, token_ids

batch, seconds = int(sys.argv[1]), float(sys.argv[2])
began = time.perf_counter()
model = load().eval()
ids = torch.from_numpy(token_ids())
inputs = [ids[k * batch : (k + 1) * batch] for k in range(8)]
times = []
with torch.inference_mode():
    for k in range(10):
        model(inputs[k % 8])
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        start = time.perf_counter()
        model(inputs[len(times) % 8])
        times.append(time.perf_counter() - start)
values = np.array(times) * 1e3
figures = {
    "p50_ms": float(np.median(values)),
    "p90_ms": float(np.quantile(values, 0.9)),
    "samples": len(values),
}
print(json.dumps(figures | {"wall_s": time.perf_counter() - began}))
