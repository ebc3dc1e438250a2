"""MLPerf LoadGen's SingleStream scenario on the benchmark's model. Prints one JSON line.

python load_generator.py BATCH SECONDS
"""

import json
import sys
import tempfile
from pathlib import Path

import mlperf_loadgen as lg
import torch

from benchmarks.bert import load, token_ids

batch, seconds = int(sys.argv[1]), float(sys.argv[2])
model = load().eval()
ids = torch.from_numpy(token_ids())
inputs = [ids[k * batch : (k + 1) * batch] for k in range(8)]


@torch.inference_mode()
def issue(queries):
    for query in queries:
        model(inputs[query.index])
        lg.QuerySamplesComplete([lg.QuerySampleResponse(query.id, 0, 0)])


with torch.inference_mode():
    for k in range(10):
        model(inputs[k % 8])
settings = lg.TestSettings()
settings.scenario = lg.TestScenario.SingleStream
settings.mode = lg.TestMode.PerformanceOnly
settings.min_duration_ms = settings.max_duration_ms = int(seconds * 1000)
settings.min_query_count = 1
with tempfile.TemporaryDirectory() as directory:
    log = lg.LogSettings()
    log.log_output = lg.LogOutputSettings()
    log.log_output.outdir = directory
    log.log_output.copy_summary_to_stdout = False
    system = lg.ConstructSUT(issue, lambda: None)
    library = lg.ConstructQSL(8, 8, lambda indices: None, lambda indices: None)
    lg.StartTestWithLogSettings(system, library, settings, log)
    lg.DestroyQSL(library)
    lg.DestroySUT(system)
    lines = (Path(directory) / "mlperf_log_summary.txt").read_text().splitlines()
told = dict(line.split(":", 1) for line in lines if ":" in line)
told = {key.strip(): value.strip() for key, value in told.items()}
p50 = next(float(value) for key, value in told.items() if key.startswith("50.00 percentile"))
p90 = next(float(value) for key, value in told.items() if key.startswith("90.00 percentile"))
print(json.dumps({"p50_ms": p50 / 1e6, "p90_ms": p90 / 1e6}))
