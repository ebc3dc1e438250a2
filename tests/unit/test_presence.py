"""What a device's probe answers, and the files behind a model: where one changes, it is measured again."""

from __future__ import annotations

from pathlib import Path

import pytest

from hwfit.presence import files_behind, presence
from hwfit.sections import Model


def test_a_recorded_device_is_another_than_the_one_that_is_here(monkeypatch: pytest.MonkeyPatch) -> None:
    here = presence("cpu", 0)
    monkeypatch.setenv("HWFIT_RECORDED", "elsewhere/results")
    assert presence("cpu", 0) != here
    monkeypatch.delenv("HWFIT_RECORDED")
    assert presence("cpu", 0) == here


def test_every_file_of_a_folder_counts_but_what_is_hidden(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("config.json", "model.safetensors", "code/net.py", ".cache/lock", ".git/HEAD", "../x.npz"):
        path = tmp_path / "m" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    sources = {"torch": {"huggingface": "m"}, "tensorflow": {"huggingface": "m"}}
    model = Model(task="generation", data="x.npz", sources=sources, files=["x.npz"])
    assert files_behind(model) == ["m/code/net.py", "m/config.json", "m/model.safetensors", "x.npz"]


def test_a_callables_module_counts_where_it_lies_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").touch()
    sources = {"torch": {"callable": "mine:net"}, "tensorflow": {"callable": "elsewhere:net"}}
    assert files_behind(Model(task="features", data="x.npz", sources=sources)) == ["mine.py"]
