"""Sites in a config: what is wrong with them is said before any job starts."""

import re
from pathlib import Path

import pytest

from hwfit.config import Config, ConfigError
from hwfit.config_checks import check_config
from hwfit.records import read_json
from hwfit.sites.checks import require_intact
from hwfit.sites.read import Export
from hwfit.sites.write import write_export
from sites import measure
from studies import make_study

MATRIX = {"models": ["net"], "devices": ["cpu"], "runtimes": ["torch"], "batch_sizes": [1]}


@pytest.fixture(autouse=True)
def directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def exported(name="gpu-box.zip", with_artifacts=False, **measured):
    """An export in the working directory, by its name."""
    there = Path(f"of-{name}")
    measure(there, **{"matrix": MATRIX} | measured)
    write_export(read_json(there / "results/plan.json"), Path(name), with_artifacts, there)
    return name


def findings(**config):
    study = make_study()
    config = Config.model_validate({"matrix": MATRIX} | config)
    return [f"{path[0]} {text}" for path, text in check_config(config, study.devices, study.models)]


def test_a_good_export_is_fine():
    assert findings(sites=[exported()]) == []


def test_a_file_that_is_not_there_says_where_it_was_looked_for():
    (said,) = findings(sites=["gpu-box.zip"])
    assert re.search(r"is 'gpu-box.zip': looked for at /.*/gpu-box.zip: not there; copy it", said)


def test_what_is_no_export_is_refused(tmp_path):
    (tmp_path / "x.zip").write_text("a,b\n1,2\n")
    (said,) = findings(sites=["x.zip"])
    assert "no export that can be read" in said


def test_two_exports_of_one_site_are_refused():
    sites = [exported("a.zip"), exported("b.zip")]
    (said,) = findings(sites=sites)
    assert "comes from the site 'gpu-box', as sites[0] does" in said


def test_a_site_that_is_called_as_this_one_is_refused():
    (said,) = findings(site="gpu-box", sites=[exported()])
    assert "comes from the site 'gpu-box', as this one is called" in said


def test_a_price_is_for_a_device_that_there_is():
    (said,) = findings(sites=[exported()], cost={"site_prices": {"cpu@gpu-bix": 1.0}})
    assert "they have cpu@gpu-box; did you mean 'cpu@gpu-box'?" in said


def test_cost_may_be_sought_where_a_device_of_another_site_alone_has_a_price():
    cheap = {"cpu": {"accelerator": "cpu", "runtimes": {"torch": "torch-cpu"}, "price_per_hour": 1.0}}
    assert findings(sites=[exported(devices=cheap)], decision={"objective": "cost"}) == []


def test_a_limit_may_be_for_a_model_that_another_site_alone_has():
    wanted = {"per_model": {"encoder": {"objective": "latency"}}}
    elsewhere = exported(matrix=MATRIX | {"models": ["encoder"]})
    assert findings(sites=[elsewhere], decision=wanted) == []
    assert len(findings(decision=wanted)) == 1


def test_sites_may_stand_alone_and_nothing_may_not():
    study = make_study()
    alone = Config.model_validate({"sites": [exported()]})
    assert list(check_config(alone, study.devices, study.models)) == []
    ((_, said),) = check_config(Config(), study.devices, study.models)
    assert "`training` or `sites` may stand alone" in said


def test_a_damaged_record_is_found_before_any_job_starts(tmp_path):
    path = tmp_path / exported()
    content = bytearray(path.read_bytes())
    content[content.index(b"order.csv") + 20] ^= 255
    damaged = content.index(b"bs1.npz") + 60
    content[damaged] ^= 255
    path.write_bytes(content)
    config = Config.model_validate({"matrix": MATRIX, "sites": ["gpu-box.zip"]})
    with pytest.raises(ConfigError, match=r"sites\[0\] is 'gpu-box.zip': .*bs1.npz .*copy the file again"):
        require_intact(config)


def test_artifacts_are_taken_from_an_export_that_has_them():
    assert findings(artifacts_from=exported(with_artifacts=True)) == []


def test_an_export_without_artifacts_has_none_to_take():
    (said,) = findings(artifacts_from=exported())
    assert "written without artifacts; `snakemake export --config artifacts=true`" in said


def test_artifacts_are_of_the_models_that_are_asked_for():
    path = exported(with_artifacts=True)
    (said,) = findings(matrix=MATRIX | {"models": ["encoder"]}, artifacts_from=path)
    assert "has none of the models of the matrix; it has net" in said


def test_artifacts_of_another_network_of_that_name_are_refused():
    net = {"task": "features", "data": "digits", "sources": {"torch": {"zoo": "lenet-5"}}}
    (said,) = findings(artifacts_from=exported(with_artifacts=True, models={"net": net}))
    assert "has net as lenet-5 for features, and models.yaml as lenet-5 for classification" in said


def test_an_export_is_read_once_for_all_checks_until_it_changes():
    before = Export.open(exported())
    assert Export.open("gpu-box.zip") is before
    assert Export.open(exported(pace_ms=7.0)).digest != before.digest
