"""optimum-benchmark on the benchmark's model, at its default settings. Prints one JSON line.

python peer.py DIRECTORY BATCH…
"""

import json
import sys
import time
from pathlib import Path

import numpy as np

from benchmarks.bert import SEQUENCE_LENGTH, load

directory = Path(sys.argv[1])


def main() -> None:
    from optimum_benchmark import Benchmark, BenchmarkConfig, InferenceConfig, ProcessConfig, PyTorchConfig

    if not (directory / "config.json").exists():
        load().bert.save_pretrained(directory)
    found = {}
    for batch in sys.argv[2:]:
        shapes = {"batch_size": int(batch), "sequence_length": SEQUENCE_LENGTH}
        start = time.perf_counter()
        report = Benchmark.launch(
            BenchmarkConfig(
                name=f"batch{batch}",
                launcher=ProcessConfig(device_isolation=False),
                scenario=InferenceConfig(memory=True, latency=True, input_shapes=shapes),
                backend=PyTorchConfig(
                    model=str(directory), device="cpu", task="text-classification", library="transformers"
                ),
            )
        )
        wall_s = time.perf_counter() - start
        values = np.array(report.forward.latency.values) * 1e3
        found[batch] = {
            "wall_s": wall_s,
            "p50_ms": float(np.median(values)),
            "p90_ms": float(np.quantile(values, 0.9)),
            "samples": len(values),
        }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
