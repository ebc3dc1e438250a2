"""The section `slurm` of a device: what may stand in it, since it becomes part of a command line."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from hwfit.config import ConfigError, read_study
from hwfit.slurm_sections import Slurm

OWN = Path(__file__).parents[2] / "config"
CPU = "cpu: {accelerator: cpu, runtimes: {torch: torch-cpu}"
GOOD = {
    "partition": "gpu,gpu-long",
    "account": "proj_1",
    "qos": "normal",
    "gres": "gpu:a100:2",
    "constraint": "skylake&nvme",
    "mem_mb": 64000,
    "cpus": 16,
    "runtime_minutes": 90,
    "modules": ["cuda/12.4", "gcc/13.2.0+x"],
}


def error_of(directory: Path, devices: str) -> str:
    (directory / "devices.yaml").write_text(devices)
    with pytest.raises(ConfigError) as raised:
        read_study({"matrix": {"models": ["mlp"], "devices": ["cpu"]}}, directory, OWN)
    return str(raised.value)


def test_what_a_cluster_is_asked_for_passes_as_it_is_written():
    assert Slurm.model_validate(GOOD).model_dump(exclude_none=True) == GOOD


@pytest.mark.parametrize("key", ["partition", "account", "qos", "gres", "constraint", "modules"])
@pytest.mark.parametrize(
    "evil",
    ["a b", "a;reboot", "$(id)", "`id`", "a'b", 'a"b', "a\nb", "--wrap=x", "a>b", "a\\b", "{a}", "", "é"],
)
def test_nothing_of_a_shell_gets_into_a_command_line(key, evil):
    with pytest.raises(ValidationError):
        Slurm.model_validate({key: [evil] if key == "modules" else evil})


@pytest.mark.parametrize("gres", ["gpu:a100:1,npu:1", "gpu:0", "gpu:1:2:3", "gpu:", ":1", "gpu:1\n"])
def test_a_gres_is_one_resource_with_a_count(gres):
    with pytest.raises(ValidationError):
        Slurm(gres=gres)


@pytest.mark.parametrize(
    ("gres", "count"), [(None, None), ("gpu", 1), ("gpu:a100", 1), ("npu:3", 3), ("gpu:a100:2", 2)]
)
def test_a_gres_says_how_many_a_job_is_given(gres, count):
    assert Slurm(gres=gres).gres_count == count


@pytest.mark.parametrize(
    ("section", "is_exclusive"),
    [
        ({}, True),
        ({"gres": "gpu:1"}, False),
        ({"gres": "gpu:1", "exclusive": True}, True),
        ({"exclusive": False}, False),
    ],
)
def test_a_node_is_the_jobs_own_where_no_gres_keeps_others_away(section, is_exclusive):
    assert Slurm.model_validate(section).is_exclusive == is_exclusive


def test_an_index_beyond_what_a_job_is_given_is_an_error(tmp_path):
    gpu = "gpu: {accelerator: cuda, index: 1, runtimes: {torch: torch-cuda}, slurm: {gres: 'gpu:1'}}"
    said = error_of(tmp_path, f"{CPU}}}\n{gpu}\n")
    assert "gpu.index is 1, and a job is given 1 ('gpu:1'); allowed: below 1" in said


def test_a_class_of_nodes_is_no_member_of_a_composite(tmp_path):
    half = "half-{0}: {{accelerator: cpu, cores: [{0}], runtimes: {{torch: torch-cpu}}, slurm: {{}}}}"
    pair = "pair: {members: [half-0, half-1]}"
    said = error_of(tmp_path, "\n".join([f"{CPU}}}", half.format(0), half.format(1), pair]))
    assert "pair.members[0] is 'half-0', a class of nodes (it has `slurm`)" in said
