"""What was chosen becomes a version of a registered model, once for the same files and launch code."""

import mlflow
import pandas as pd
import pytest
from mlflow import MlflowClient

from hwfit.records import Cell
from hwfit.tracking import TrackingError, register_chosen
from studies import make_plan
from tables import make_row
from tracked import EXPERIMENT, Server, Sweep, free_port, make_card, small_table, write_empty_store

LAUNCH = {"code": "print('launched')\n", "python": None, "environment": "torch-cpu"}


def make_entry(optimization="baseline", batch_size=8, **changes):
    """The answer of a recommendation for the model `net`."""
    row = make_row("net", "cpu", "torch", optimization, batch_size) | {"verdict": "chosen", "reason": ""}
    entry = {"model": "net", "scenario": "single_stream", "verdict": "chosen", "chosen": row}
    return entry | {"summary": "Run net on cpu.", "launch": LAUNCH} | changes


class Registered:
    """A project with weights, and a store to register them in."""

    def __init__(self, directory):
        self.directory, self.uri = directory, write_empty_store(directory)
        self.plan = make_plan(
            matrix={"models": ["net"], "devices": ["cpu"], "optimizations": ["baseline", "prune50"]}
        )
        for cell in self.plan.cells:
            self.write_weights(cell, "weights")

    def write_weights(self, cell, content):
        folder = self.directory / self.plan.weights_directory(cell)
        make_card(folder, "net")
        (folder / "weights.safetensors").write_text(content)
        (folder / "evaluation.npz").write_text("not to be registered")

    def register(self, *entries, uri=None):
        return register_chosen(
            uri=uri or self.uri,
            experiment=EXPERIMENT,
            sweep="default",
            project="mine",
            plan=self.plan.to_dict(),
            recommendation={"models": list(entries)},
        )

    @property
    def client(self):
        return MlflowClient(self.uri)

    def versions(self, name="net"):
        found = self.client.search_model_versions(f"name = '{name}'")
        return sorted(found, key=lambda version: int(version.version))

    def files(self, version):
        root = self.directory / "results/mlartifacts" / version.source.removeprefix("mlflow-artifacts:/")
        return {str(path.relative_to(root)): path.read_text() for path in root.rglob("*") if path.is_file()}


@pytest.fixture
def registered(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    # A SQLite store must not ask another one, which this would make in the working directory.
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    table = small_table(models=("net",), runtimes=("torch",), optimizations=("baseline", "prune50"))
    offline = table[table["optimization"] == "baseline"].assign(scenario="offline")
    Sweep(tmp_path, pd.concat([table, offline])).log()
    return Registered(tmp_path)


def test_the_chosen_files_their_cards_and_the_launch_code_become_a_version(registered):
    (line,) = registered.register(make_entry())
    assert (line["version"], line["is_new"]) == (1, True)
    assert "models:/net@chosen" in line["said"]
    (version,) = registered.versions()
    files = registered.files(version)
    assert set(files) == {"weights.safetensors", "card.json", "model/card.json", "launch.py"}
    assert files["launch.py"] == LAUNCH["code"]
    assert version.description == "Run net on cpu."
    told = {"device": "cpu", "runtime": "torch", "optimization": "baseline", "batch_size": "8"}
    assert told.items() <= version.tags.items()
    assert version.tags["verdict"] == "chosen"
    assert registered.client.get_model_version_by_alias("net", "chosen").version == version.version
    assert not (registered.directory / "mlflow.db").exists()
    assert not (registered.directory / "mlruns").exists()


def test_registering_twice_adds_no_second_version(registered):
    registered.register(make_entry())
    (line,) = registered.register(make_entry())
    assert (line["version"], line["is_new"]) == (1, False)
    assert "before" in line["said"]
    assert len(registered.versions()) == 1


def test_the_same_choice_measured_again_brings_its_tags_up_to_date(registered):
    registered.register(make_entry())
    entry = make_entry(verdict="provisional", summary="Run net, perhaps.")
    entry["chosen"]["latency_p50_ms"] = 4.25
    registered.register(entry)
    (version,) = registered.versions()
    assert version.tags["latency_p50_ms"] == "4.25"
    assert version.tags["verdict"] == "provisional"
    assert version.description == "Run net, perhaps."
    assert registered.client.get_model_version_by_alias("net", "provisional").version == version.version


def test_another_choice_or_other_weights_are_a_new_version_that_the_alias_moves_to(registered):
    registered.register(make_entry())
    registered.register(make_entry("prune50"))
    registered.register(make_entry("prune50", batch_size=1, launch=LAUNCH | {"code": "print(1)\n"}))
    (cell,) = [
        cell for cell in registered.plan.cells if "prune" in cell.optimization and cell.runtime == "torch"
    ]
    registered.write_weights(cell, "trained again")
    (line,) = registered.register(make_entry("prune50"))
    assert [int(version.version) for version in registered.versions()] == [1, 2, 3, 4]
    assert registered.client.get_model_version_by_alias("net", "chosen").version == line["version"]


def test_each_scenario_has_an_alias_of_its_own(registered):
    entry = make_entry(scenario="offline")
    entry["chosen"]["scenario"] = "offline"
    registered.register(make_entry(), entry)
    client = registered.client
    assert client.get_model_version_by_alias("net", "chosen").version == 1
    assert client.get_model_version_by_alias("net", "chosen-offline").version == 2


def test_where_nothing_was_chosen_it_says_so_and_registers_the_others(registered):
    none = make_entry(verdict="none", chosen=None, launch=None, summary="Every combination breaks a limit.")
    lines = registered.register(none | {"model": "encoder"}, make_entry())
    assert lines[0]["said"] == (
        "encoder: nothing was chosen, and nothing is registered. Every combination breaks a limit."
    )
    assert lines[0]["version"] is None
    assert [model.name for model in registered.client.search_registered_models()] == ["net"]


def test_a_version_names_the_run_that_was_chosen(registered):
    registered.register(make_entry(batch_size=8))
    (version,) = registered.versions()
    run = registered.client.get_run(version.run_id)
    assert run.data.tags["hwfit.key"] == "cpu/torch/net/baseline/single_stream/bs8"
    assert version.tags["source_run"] == version.run_id


def test_a_choice_that_was_not_logged_is_not_registered(registered):
    with pytest.raises(TrackingError, match="track"):
        registered.register(make_entry(batch_size=32))
    assert registered.client.search_registered_models() == []


def test_a_model_that_a_broken_attempt_left_is_taken_up_again(registered):
    registered.register(make_entry())
    registered.client.delete_model_version("net", "1")
    registered.register(make_entry())
    models = registered.client.search_logged_models(["1"], "tags.`hwfit.kind` = 'chosen'")
    assert len(models) == 1
    assert [int(version.version) for version in registered.versions()] == [2]


def test_a_composite_brings_the_files_of_each_member(registered):
    from hwfit.tracking.register import files_of

    half = {"accelerator": "cpu", "runtimes": {"torch": "torch-cpu"}}
    plan = make_plan(
        matrix={"models": ["net"], "devices": ["both"]},
        devices={
            "left": half | {"cores": [0]},
            "right": half | {"cores": [1]},
            "both": {"members": ["left", "right"]},
        },
    )
    (cell,) = plan.cells
    files = files_of(cell, plan)
    assert {"members/left/weights.safetensors", "members/right/weights.safetensors"} <= set(files)


def test_it_works_over_http_and_what_was_registered_can_be_fetched(registered, tmp_path_factory, monkeypatch):
    registered.register(make_entry())
    place = tmp_path_factory.mktemp("fetched")
    with Server(registered.directory) as server:
        lines = registered.register(make_entry("prune50"), make_entry(), uri=server.address)
        assert [line["version"] for line in lines] == [2, 1]
        monkeypatch.setenv("MLFLOW_TRACKING_URI", server.address)
        mlflow.artifacts.download_artifacts("models:/net@chosen", dst_path=str(place))
    assert (place / "launch.py").read_text() == LAUNCH["code"]
    assert (place / "weights.safetensors").read_text() == "weights"


def test_a_registry_that_does_not_answer_is_one_message_without_credentials(registered):
    with pytest.raises(TrackingError) as raised:
        registered.register(make_entry(), uri=f"http://someone:secret-word@127.0.0.1:{free_port()}")
    assert "secret-word" not in str(raised.value)
    assert "register" in str(raised.value)


def test_cells_of_the_plan_are_those_of_the_entries():
    """The factory's row and the study's cell are the same."""
    row = make_entry()["chosen"]
    cell = Cell(**{name: row[name] for name in Cell.__dataclass_fields__})
    assert cell in make_plan().cells
