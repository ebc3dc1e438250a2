"""What a cluster lacks is said before a job waits for it for ever; sinfo's output is that of SLURM 22.05."""

import pytest

from hwfit.slurm_cluster import candidates_of, check, longest_minutes, minutes_of, parse
from hwfit.slurm_sections import Slurm

SINFO = """cpu|cpu*|(null)|(null)|64|256000|2-00:00:00
gpu|gpu|gpu:a100:4(S:0-1)|a100,nvme|128+|512000+|1-00:00:00
gpu|gpu|gpu:h100:8|h100,nvme|96|1024000|1-00:00:00
debug|debug|npu:2|(null)|8|32000|30:00
long|long|(null)|(null)|64|256000|infinite
a line that is none
"""
NODES = list(parse(SINFO.splitlines()))


def problems(**asked):
    return list(check("dev", Slurm.model_validate(asked), NODES))


@pytest.mark.parametrize(
    "asked",
    [
        {},
        {"partition": "gpu", "gres": "gpu:1"},
        {"partition": "gpu", "gres": "gpu:h100:8", "constraint": "h100&nvme", "cpus": 96},
        {"partition": "cpu,gpu", "gres": "gpu:a100:4"},
        {"partition": "debug", "gres": "npu:2", "runtime_minutes": 30},
        {"partition": "long", "runtime_minutes": 500_000},
        {"mem_mb": 256_000},
    ],
)
def test_what_the_cluster_has_is_no_problem(asked):
    assert problems(**asked) == []


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (
            {"partition": "gpus"},
            "devices.yaml: dev.slurm.partition is 'gpus', which the cluster does not have; it has: cpu, gpu, "
            "debug, long; did you mean 'gpu'?",
        ),
        (
            {"gres": "gpu:1"},
            "devices.yaml: dev.slurm.gres is 'gpu:1', which no node of cpu has; they have: none",
        ),
        (
            {"partition": "gpu", "gres": "gpu:v100:1"},
            "devices.yaml: dev.slurm.gres is 'gpu:v100:1', which no node of gpu has; they have: gpu:a100:4, "
            "gpu:h100:8",
        ),
        (
            {"partition": "gpu", "gres": "gpu:a100:8"},
            "devices.yaml: dev.slurm.gres is 'gpu:a100:8', which no node of gpu has; they have: gpu:a100:4, "
            "gpu:h100:8",
        ),
        (
            {"partition": "gpu", "constraint": "nvme&v100"},
            "devices.yaml: dev.slurm.constraint is 'nvme&v100', and no node of gpu has the feature 'v100'; "
            "they have: a100, h100, nvme",
        ),
        ({"cpus": 65}, "devices.yaml: dev.slurm.cpus is 65, and no node of cpu has more than 64"),
        (
            {"mem_mb": 300_000},
            "devices.yaml: dev.slurm.mem_mb is 300000, and no node of cpu has more than 256000",
        ),
        (
            {"partition": "debug", "runtime_minutes": 31},
            "devices.yaml: dev.slurm.runtime_minutes is 31; the longest allowed there is 30",
        ),
    ],
)
def test_what_no_node_has_is_told_with_what_there_is(asked, said):
    assert problems(**asked) == [said]


@pytest.mark.parametrize(
    ("partition", "longest"), [("gpu", 1440), ("cpu,debug", 2880), ("long", None), ("cpu,long", None)]
)
def test_the_longest_limit_is_that_of_the_partitions_that_are_named(partition, longest):
    assert longest_minutes(candidates_of(Slurm(partition=partition), NODES)) == longest


def test_a_cluster_without_a_default_partition_wants_one_named():
    nodes = [each for each in NODES if not each.is_default]
    (said,) = check("dev", Slurm(), nodes)
    assert said.endswith("lacks `partition`, and the cluster has no default one; it has: gpu, debug, long")


@pytest.mark.parametrize(
    ("text", "minutes"), [("1-00:00:00", 1440), ("30:00", 30), ("1:30:00", 90), ("infinite", None)]
)
def test_sinfos_times(text, minutes):
    assert minutes_of(text) == minutes
