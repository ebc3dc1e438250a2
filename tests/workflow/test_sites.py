"""Two projects that measure apart, as two machines do, and one decision: by real Snakemake runs."""

import re
import shutil

import pytest

from projects import Project

MATRIX = {"models": ["lenet-300-100"], "devices": ["cpu"], "runtimes": ["torch"], "batch_sizes": [8]}
STUDY = {"matrix": MATRIX, "site": "office"}
# Trained from other first weights, as it would be on a machine whose arithmetic differs.
MODEL = {
    "task": "classification",
    "data": "digits",
    "sources": {"torch": {"zoo": "lenet-300-100"}},
    "training": {"epochs": 5, "seed": 1},
}
DEVICE = {"accelerator": "cpu", "runtimes": {"torch": "torch-cpu"}}


def rules_of(said):
    """The rules whose jobs were run."""
    return set(re.findall(r"^(?:local)?rule (\w+):", said, re.MULTILINE))


@pytest.fixture(scope="module")
def office(tmp_path_factory, first_run) -> Project:
    """Where the decision is made: a run of a study with one thread, and its export with weights."""
    project = Project(tmp_path_factory.mktemp("sites") / "an office")
    shutil.copytree(first_run[1], project.directory / "results")
    project.configure(STUDY, devices={"cpu": DEVICE | {"threads": 1}})
    project.run("export", "--config", "to=../office.zip", "artifacts=true")
    return project


@pytest.fixture(scope="module")
def workshop(office, first_run) -> Project:
    """Another machine, with two threads; it trains its network itself."""
    project = Project(office.directory.parent / "a workshop")
    known = shutil.ignore_patterns("models")
    shutil.copytree(first_run[1], project.directory / "results", ignore=known)
    configure_workshop(project)
    project.run("export", "--config", "to=../workshop.zip")
    return project


def configure_workshop(project, **more):
    project.configure(
        {"matrix": MATRIX, "site": "workshop"} | more,
        devices={"cpu": DEVICE | {"threads": 2}},
        models={"lenet-300-100": MODEL},
    )


def configure_office(office, **more):
    office.configure(STUDY | more, devices={"cpu": DEVICE | {"threads": 1}})


def test_weights_that_each_site_has_trained_for_itself_are_not_compared(office, workshop):
    configure_office(office, sites=["../workshop.zip"])
    said = office.run("reports/combinations.csv")
    assert {"import_workshop", "write_plan", "decide"} <= rules_of(said)
    # What was measured here stays as it was.
    assert "profile_cpu_torch" not in rules_of(said)
    table = office.table().set_index("device")
    assert table["status"].to_dict() == {"cpu": "ok", "cpu@workshop": "skipped"}
    assert "lenet-300-100 has weights" in table.loc["cpu@workshop", "reason"]
    assert "at workshop" in table.loc["cpu@workshop", "reason"]
    assert "artifacts=true" in table.loc["cpu@workshop", "reason"]
    assert (table["verdict"] == "not_measured").to_dict() == {"cpu": False, "cpu@workshop": True}


def test_with_the_weights_of_the_one_site_the_other_trains_nothing_and_both_are_compared(office, workshop):
    configure_workshop(workshop, artifacts_from="../office.zip")
    said = workshop.run("export", "--config", "to=../workshop.zip")
    assert "take_artifact" in rules_of(said)
    assert "prepare_model" not in rules_of(said)
    # Other weights: measured again.
    assert "profile_cpu_torch" in rules_of(said)
    names = ("card.json", "weights.safetensors", "evaluation.npz")
    there, here = (project.directory / "results/models/lenet-300-100" for project in (office, workshop))
    assert [(there / name).read_bytes() for name in names] == [(here / name).read_bytes() for name in names]

    # A changed file is merged again, though its name and the config are the same.
    assert "import_workshop" in rules_of(office.run())
    table = office.table()
    assert table[["device", "site", "status"]].to_numpy().tolist() == [
        ["cpu", "office", "ok"],
        ["cpu@workshop", "workshop", "ok"],
    ]
    assert (table["throughput_samples_per_s"] > 0).all()
    # Whatever the decision says of them on this machine, it has compared both.
    assert "not_measured" not in set(table["verdict"])
    page = (office.directory / "reports/hardware-selection.html").read_text()
    assert "<b>workshop</b>: one row of cpu" in page
    # The conditions under which both were measured, side by side.
    assert re.search(r"cpu@workshop · torch</th>.*?<td>intra_op 2,", page)
    assert "Nothing to be done" in office.run()

    # What was damaged after it was laid down is laid down again.
    (record,) = (office.directory / "results/profiles/cpu@workshop").glob("**/round0/bs8.json")
    content = record.read_text()
    record.write_text(content[:100])
    assert "import_workshop" in rules_of(office.run())
    assert record.read_text() == content


def test_a_site_that_measures_nothing_decides_over_others(office, workshop, tmp_path):
    laptop = Project(tmp_path / "a laptop")
    laptop.configure({"sites": ["../office.zip", "../workshop.zip"]})
    config = laptop.directory / "config/config.yaml"
    config.write_text(re.sub(r"^matrix:\n(  .*\n)+", "", config.read_text(), flags=re.MULTILINE))
    for name in ("office.zip", "workshop.zip"):
        shutil.copy(office.directory.parent / name, tmp_path / name)
    said = laptop.run("reports/hardware-selection.html")
    assert not any(rule.startswith(("profile_", "confirm_", "prepare_")) for rule in rules_of(said))
    table = laptop.table()
    assert table["device"].tolist() == ["cpu@office", "cpu@workshop"]
    assert "not_measured" not in set(table["verdict"])


def test_a_damaged_export_stops_the_run_before_its_first_job(office, workshop):
    path = office.directory.parent / "workshop.zip"
    content = path.read_bytes()
    try:
        path.write_bytes(content[:-100])
        said = office.run(fails=True)
    finally:
        path.write_bytes(content)
    assert "config/config.yaml:" in said
    assert re.search(r"sites\[0\] is '../workshop.zip': no export .* copy the file again", said)
    assert rules_of(said) == set()
