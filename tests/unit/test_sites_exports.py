"""An export: what is in it, and that nothing of a damaged or hostile one is taken over."""

import json
import zipfile
from hashlib import sha256

import pytest

from hwfit.__main__ import main
from hwfit.archive import write_archive
from hwfit.collect import read_rows
from hwfit.records import read_json, write_json
from hwfit.sites.lay import import_site, take_artifact
from hwfit.sites.read import Export, ExportError
from hwfit.sites.write import write_export
from sites import export_of, measure, merge_into

MATRIX = {"models": ["net"], "devices": ["cpu"], "runtimes": ["torch"], "batch_sizes": [1]}
RECORD = "profiles/cpu/torch/net/baseline/single_stream/round0/bs1.json"


@pytest.fixture
def export(tmp_path):
    return export_of(tmp_path / "there", matrix=MATRIX)


def rewritten(path, changes=None, manifest=None):
    """The same file with members of other content, its manifest as it was but for what is told."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    members |= changes or {}
    told = json.loads(members["export.json"]) | (manifest or {})
    members["export.json"] = json.dumps(told).encode()
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def with_member(path, name, content=b"x"):
    """The same file with one member more, which the manifest knows."""
    members = dict(Export.open(path).members)
    members[name] = {"sha256": sha256(content).hexdigest(), "bytes": len(content)}
    return rewritten(path, {name: content}, {"members": members})


def test_it_holds_records_samples_cards_and_what_was_found_of_devices(export):
    opened = Export.open(export)
    assert (opened.site, opened.has_artifacts) == ("gpu-box", False)
    assert {
        "plan.json",
        "order.csv",
        RECORD,
        RECORD.replace(".json", ".npz"),
        "devices/cpu/inventory.json",
        "devices/cpu/probe.json",
        "confirmations/cpu.json",
        "models/net/card.json",
    } == set(opened.members)
    opened.require_intact(opened.members)


def test_the_same_records_give_the_same_bytes(tmp_path):
    one, two = (export_of(tmp_path / name, matrix=MATRIX) for name in ("one", "two"))
    there = read_json(tmp_path / "one/results/plan.json")
    write_export(there, tmp_path / "again.zip", directory=tmp_path / "one")
    assert (tmp_path / "again.zip").read_bytes() == one.read_bytes()
    assert Export.open(one).digest != Export.open(two).digest or one.read_bytes() == two.read_bytes()


def test_with_artifacts_it_brings_weights_to_where_they_would_be_made(tmp_path):
    there, here = tmp_path / "there", tmp_path / "here"
    measure(there, matrix=MATRIX)
    write_export(read_json(there / "results/plan.json"), there / "x.zip", True, there)
    left_over = here / "results/models/net/left-over.npz"
    left_over.parent.mkdir(parents=True)
    left_over.write_text("of what was made here")
    take_artifact(there / "x.zip", "models/net", here)
    found = {path.name: path.read_bytes() for path in left_over.parent.iterdir()}
    assert found == {path.name: path.read_bytes() for path in (there / "results/models/net").iterdir()}
    assert set(found) == {"card.json", "weights.safetensors"}


def test_without_artifacts_it_brings_none(export, tmp_path):
    with pytest.raises(ExportError, match="artifacts=true"):
        take_artifact(export, "models/net", tmp_path)


def test_what_was_merged_into_a_plan_is_not_exported_again(tmp_path, export):
    here = tmp_path / "here"
    measure(here, site="office", matrix=MATRIX)
    write_json(here / "results/plan.json", merge_into(here, export))
    write_export(read_json(here / "results/plan.json"), tmp_path / "x.zip", directory=here)
    opened = Export.open(tmp_path / "x.zip")
    assert opened.devices == ["cpu"]
    assert not any("gpu-box" in name for name in opened.members)


def test_a_combination_without_a_record_says_why_wherever_it_is_merged(tmp_path):
    """As where a search gave it up: what that rests on is at its site."""
    there, here = tmp_path / "there", tmp_path / "here"
    measure(there, matrix=MATRIX | {"batch_sizes": [1, 8]})
    (there / "results" / RECORD).unlink()
    write_export(read_json(there / "results/plan.json"), there / "x.zip", directory=there)
    measure(here, site="here", matrix=MATRIX)
    _, without, measured = merge_into(here, there / "x.zip")["combinations"]
    assert without["status"] == "crashed"
    assert without["reason"].endswith("bs1.json: not there")
    assert measured["status"] == ""


def test_a_site_without_a_name_is_asked_for_one(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    measure(tmp_path, site="here", matrix=MATRIX)
    assert main(["export", "--to", "x.zip"]) == 1
    assert "site: gpu-box" in capsys.readouterr().err
    assert not (tmp_path / "x.zip").exists()


def test_where_nothing_was_measured_there_is_nothing_to_export(tmp_path):
    plan = measure(tmp_path, matrix=MATRIX).to_dict()
    for path in (tmp_path / "results/profiles").glob("**/bs*.json"):
        path.unlink()
    with pytest.raises(ExportError, match="nothing was measured"):
        write_export(plan, tmp_path / "x.zip", directory=tmp_path)


def test_importing_again_leaves_nothing_of_what_was_imported_before(tmp_path):
    there, here = tmp_path / "there", tmp_path / "here"
    import_site(export_of(there, matrix=MATRIX | {"batch_sizes": [1, 8]}), here)
    assert len(list((here / "results/profiles").glob("**/bs*.json"))) == 2
    (there / "results/profiles" / RECORD.removeprefix("profiles/").replace("bs1", "bs8")).unlink()
    import_site(export_of(there, matrix=MATRIX), here)
    assert [path.name for path in (here / "results/profiles").glob("**/bs*.json")] == ["bs1.json"]


@pytest.mark.parametrize("content", ["{", "[]", '{"schema_version": 0, "device": "cpu"}', "NaN"])
def test_a_record_that_was_broken_at_its_site_is_a_row_that_says_so(tmp_path, capsys, content):
    there, here = tmp_path / "there", tmp_path / "here"
    measure(there, matrix=MATRIX)
    (there / "results" / RECORD).write_text(content)
    write_export(read_json(there / "results/plan.json"), there / "x.zip", directory=there)
    measure(here, site="here", matrix=MATRIX)
    _, theirs = read_rows(merge_into(here, there / "x.zip"), here)
    assert theirs.status == "crashed"
    assert "no record that can be read" in theirs.reason
    assert "left out, since it was damaged at gpu-box" in capsys.readouterr().err


def test_an_archive_of_measurements_is_no_export(tmp_path):
    measure(tmp_path, matrix=MATRIX)
    write_archive(read_json(tmp_path / "results/plan.json"), tmp_path / "measurements.zip", tmp_path)
    with pytest.raises(ExportError, match="no export that `snakemake export` wrote"):
        Export.open(tmp_path / "measurements.zip")


@pytest.mark.parametrize("share", [0.0, 0.5, 0.99])
def test_a_file_that_was_cut_short_is_refused(export, share):
    content = export.read_bytes()
    export.write_bytes(content[: int(share * len(content))])
    with pytest.raises(ExportError, match="copy the file again"):
        Export.open(export)


@pytest.mark.parametrize("content", [b'{"status": "ok"}', b""], ids=["edited", "empty"])
def test_a_member_that_is_not_what_was_written_is_refused_by_name(export, content):
    rewritten(export, {RECORD: content})
    with pytest.raises(ExportError, match=f"{RECORD} is damaged"):
        Export.open(export).require_intact([RECORD])


def test_a_flipped_bit_is_found(export):
    content = bytearray(export.read_bytes())
    with zipfile.ZipFile(export) as archive:
        start = archive.getinfo(RECORD.replace(".json", ".npz")).header_offset
    content[start + 150] ^= 1
    export.write_bytes(content)
    opened = Export.open(export)
    with pytest.raises(ExportError, match="copy the file again"):
        opened.require_intact(opened.members)


@pytest.mark.parametrize("key", ["schema_version", "record_schema_version"])
def test_a_file_of_another_version_says_which_and_what_to_do(export, key):
    rewritten(export, manifest={key: 99})
    with pytest.raises(ExportError, match=f"{key} is 99, and this hwfit reads 1; export again"):
        Export.open(export)


@pytest.mark.parametrize(
    "name",
    [
        "../outside.json",
        "/etc/passwd",
        "profiles/../../outside.json",
        "profiles/cpu/./x",
        "profiles\\..\\outside",
        "profiles//x",
        "profiles/cpu/..",
        "profiles/a\nb",
        "..",
    ],
)
def test_a_name_that_leads_elsewhere_is_refused(export, name):
    with_member(export, name)
    with pytest.raises(ExportError, match="do not trust the file"):
        Export.open(export)


def test_a_member_larger_than_it_says_is_read_no_further(export):
    members = dict(Export.open(export).members)
    members[RECORD] = members[RECORD] | {"bytes": 10}
    rewritten(export, manifest={"members": members})
    with pytest.raises(ExportError, match="is damaged"):
        Export.open(export).read(RECORD)


def test_records_that_would_fill_the_memory_are_refused(export):
    members = dict(Export.open(export).members)
    members[RECORD] = members[RECORD] | {"bytes": 2**40}
    rewritten(export, manifest={"members": members})
    with pytest.raises(ExportError, match="would take 1099511627776 bytes"):
        Export.open(export).read(RECORD)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"device": "gpu9"}, "what it does not define"),
        ({"device": "../.."}, "what it does not define"),
        ({"scenario": "../../x"}, "what it does not define"),
        ({"runtime": "a/b"}, "what it does not define"),
        ({"batch_size": "1/../x"}, "batch size"),
        ({"status": "fine"}, "status 'fine'"),
        ({"status": "ok"}, "status 'ok'"),
    ],
)
def test_a_plan_that_names_what_it_does_not_define_is_refused(tmp_path, change, said):
    there = tmp_path / "there"
    export = export_of(there, matrix=MATRIX)
    plan = json.loads(Export.open(export).read("plan.json"))
    plan["combinations"][0] |= change
    with_member(export, "plan.json", json.dumps(plan).encode())
    with pytest.raises(ExportError, match=said):
        _ = Export.open(export).plan


def test_a_key_of_a_newer_hwfit_is_named_with_the_version_that_wrote_it(export):
    plan = json.loads(Export.open(export).read("plan.json"))
    plan["study"]["config"]["of_tomorrow"] = 1
    with_member(export, "plan.json", json.dumps(plan).encode())
    with pytest.raises(ExportError, match=r"config.of_tomorrow.*written by hwfit"):
        _ = Export.open(export).plan


def test_records_of_a_device_that_the_plan_lacks_are_left_out(export, tmp_path):
    with_member(export, "profiles/gpu9/torch/net/baseline/single_stream/round0/bs1.json", b"{}")
    import_site(export, tmp_path / "here")
    assert [p.name for p in (tmp_path / "here/results/profiles").iterdir()] == ["cpu@gpu-box"]


@pytest.mark.parametrize(
    "told",
    [
        {"contenders": [{"cell": {"model": "net", "device": "gpu0"}, "batch_size": 1, "rounds": [1]}]},
        {"contenders": [{"cell": "net", "batch_size": 1, "rounds": [1]}]},
        {"contenders": [{"batch_size": 1, "rounds": ["one"]}]},
        {"contenders": 7},
        [],
    ],
)
def test_rounds_that_are_not_told_as_they_are_written_confirm_nothing(export, tmp_path, told):
    with_member(export, "confirmations/cpu.json", json.dumps(told).encode())
    import_site(export, tmp_path / "here")
    assert read_json(tmp_path / "here/results/confirmations/cpu@gpu-box.json") == {"contenders": []}


def test_rounds_of_another_site_never_confirm_a_row_of_this_one(export, tmp_path):
    cell = {"model": "net", "device": "cpu", "runtime": "torch"}
    cell |= {"optimization": "baseline", "scenario": "single_stream"}
    told = {"contenders": [{"cell": cell, "batch_size": 1, "rounds": [0]}]}
    with_member(export, "confirmations/cpu.json", json.dumps(told).encode())
    here = tmp_path / "here"
    measure(here, site="here", matrix=MATRIX)
    ours, theirs = read_rows(merge_into(here, export), here)
    assert (ours.confirmed, theirs.confirmed) == (False, True)
