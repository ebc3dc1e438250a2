"""The MLflow UI opens on a sweep's table and curves, and the notes tell the answer."""

import json

import pytest

from hwfit.tracking import find_page
from hwfit.tracking.view import COLUMNS, CURVES, NOTE, VIEW
from tables import make_recommendation
from tracked import EXPERIMENT, Sweep, small_table


@pytest.fixture
def sweep(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return Sweep(tmp_path, small_table(models=("lenet-5", "minilm"), runtimes=("torch",)))


def page_of(sweep, name="default", project="mine"):
    return find_page(sweep.uri, EXPERIMENT, name, project)


def views(sweep):
    """The views by their keys."""
    tags = sweep.experiment().tags
    return {
        name.removeprefix(VIEW): json.loads(value) for name, value in tags.items() if name.startswith(VIEW)
    }


def key_of(page):
    return page.partition("viewStateShareKey=")[2].partition("&")[0]


def test_the_sweeps_page_presets_the_columns_the_order_and_the_runs(sweep):
    sweep.log()
    page = page_of(sweep)
    assert page.startswith(f"#/experiments/{sweep.experiment().experiment_id}/runs?")
    view = views(sweep)[key_of(page)]
    assert view["selectedColumns"] == list(COLUMNS)
    assert (view["orderByKey"], view["orderByAsc"]) == ("metrics.`throughput_samples_per_s`", False)
    assert len(sweep.runs(query=view["searchFilter"])) == 4


def test_each_column_of_the_table_is_one_that_runs_have(sweep):
    sweep.log()
    runs = sweep.children().values()
    known = {f"metrics.`{name}`" for run in runs for name in run.data.metrics}
    known |= {f"params.`{name}`" for run in runs for name in run.data.params}
    known |= {f"tags.`{name}`" for run in runs for name in run.data.tags}
    # Not measured on this made-up device.
    absent = {"metrics.`cost_per_million`", "metrics.`energy_j_per_sample`", "tags.`energy_scope`"}
    assert {column for column in COLUMNS if not column.startswith("attributes")} - known == absent


def test_a_models_curves_group_its_cells_runs_over_batch_size(sweep):
    sweep.log()
    curves = [view for view in views(sweep).values() if view.get("groupBy")]
    assert len(curves) == 2
    for view in curves:
        runs = sweep.runs(query=view["searchFilter"])
        assert len({run.data.tags["model"] for run in runs}) == 1
        assert len({run.data.tags["cell"] for run in runs}) == 1
        assert [chart["metricKey"] for chart in view["compareRunCharts"]] == list(CURVES)
    client = sweep.client()
    for run in sweep.children().values():
        (point,) = client.get_metric_history(run.info.run_id, "throughput_samples_per_s")
        assert point.step == int(run.data.params["batch_size"])


def test_what_left_the_matrix_leaves_the_page(sweep):
    sweep.log()
    sweep.log(table=sweep.table.iloc[:3])
    view = views(sweep)[key_of(page_of(sweep))]
    assert len(sweep.runs(query=view["searchFilter"])) == 3


def test_the_notes_tell_the_answer_of_every_model_and_lead_to_the_views(sweep):
    recommendation = make_recommendation(sweep.table)
    for entry in recommendation["models"]:
        entry["summary"] = f"Run {entry['model']} on cpu."
    sweep.log(recommendation=recommendation)
    sweep.log(sweep="second", recommendation=recommendation)
    notes = [run.data.tags[NOTE] for run in sweep.runs(query="tags.`hwfit.kind` = 'sweep'")]
    whole = sweep.experiment().tags[NOTE]
    for note in notes:
        assert "- Run lenet-5 on cpu." in note
        assert "- Run minilm on cpu." in note
    for key in views(sweep):
        assert f"viewStateShareKey={key}" in whole
    assert "Sweep default" in whole
    assert "Sweep second" in whole


def test_a_note_that_a_person_wrote_stays(sweep):
    sweep.log()
    sweep.client().set_experiment_tag(sweep.experiment().experiment_id, NOTE, "Ours. Ask Ada.")
    sweep.log(table=sweep.table.iloc[:3])
    assert sweep.experiment().tags[NOTE] == "Ours. Ask Ada."


def test_views_of_two_projects_are_two(sweep):
    sweep.log()
    sweep.log(project="another")
    pages = {page_of(sweep, project=project) for project in ("mine", "another")}
    assert len(pages) == 2
    assert {key_of(page) for page in pages} <= set(views(sweep))


def test_without_a_logged_sweep_the_page_is_the_table_of_all_runs(sweep):
    sweep.log()
    page = page_of(sweep, "never run")
    assert page == f"#/experiments/{sweep.experiment().experiment_id}/runs"


def test_many_models_with_long_answers_fit_into_mlflows_tags(sweep):
    recommendation = {"models": [{"summary": f"Run model {i} on " + "x" * 300} for i in range(100)]}
    sweep.log(recommendation=recommendation)
    assert sweep.parent().data.tags[NOTE].endswith("is the batch size.")
