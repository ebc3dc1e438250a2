"""MLPerf LoadGen on an ONNX file of the benchmark's model, in ONNX Runtime. Prints one JSON line.

python load_generator.py FILE SingleStream|Offline BATCH SECONDS

A sample of LoadGen's is a batch here.
"""

import json
import sys
import tempfile
from pathlib import Path

import mlperf_loadgen as lg
import onnxruntime

from benchmarks.bert import token_ids

file, scenario, batch, seconds = sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4])
session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
ids = token_ids()
inputs = [{"ids": ids[k * batch : (k + 1) * batch]} for k in range(8)]


def issue(queries):
    for query in queries:
        session.run(None, inputs[query.index])
        lg.QuerySamplesComplete([lg.QuerySampleResponse(query.id, 0, 0)])


for k in range(10):
    session.run(None, inputs[k % 8])
settings = lg.TestSettings()
settings.scenario = getattr(lg.TestScenario, scenario)
settings.mode = lg.TestMode.PerformanceOnly
settings.min_duration_ms = settings.max_duration_ms = int(seconds * 1000)
settings.min_query_count = 1
if scenario == "Offline":
    # One query holds all samples: as many as take the time that was asked for.
    settings.offline_expected_qps = 1000 / batch
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
told = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
if scenario == "Offline":
    print(json.dumps({"samples_per_s": float(told["Samples per second"]) * batch}))
else:
    nanoseconds = {key.split()[0]: value for key, value in told.items() if "percentile latency" in key}
    print(
        json.dumps(
            {name: float(nanoseconds[q]) / 1e6 for name, q in (("p50_ms", "50.00"), ("p90_ms", "90.00"))}
        )
    )
