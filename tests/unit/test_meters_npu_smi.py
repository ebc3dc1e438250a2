"""The energy of an Ascend NPU, by a script in place of its `npu-smi`."""

import pytest

from hwfit.worker.meters import find
from virtual_clock import metered

IDENTITY = "npu:host:/dev/davinci5"
# What the tool prints, as Ascend's command reference shows it; for a chip, and for a whole card.
CHIP = "\tNPU Real-time Power(W)         : {watts}\n"
CARD = """\tNPU ID                         : 0
\tChip Count                     : 1

\tChip ID                        : 0
\tNPU Real-time Power(W)         : {watts}

\tPower Dissipation(W)           : 16.9
\tChip Name                      : MCU
"""
DISSIPATION = "\tPower Dissipation(W)           : {watts}\n"
REMAP = """ Chip Physical ID            :5
 Chip Logic ID               :5
 NPU ID                      :2
 Chip ID                     :1
"""
TABLE = """\tNPU ID           Chip ID          Chip Logic ID    Chip Name
\t2                0                4                Ascend 310P3
\t2                1                5                Ascend 310P3
\t2                2                -                Mcu
"""
TABLE_WITH_PHYSICAL = """\tNPU ID  Chip ID  Chip Logic ID  Chip Phy-ID  Chip Name
\t1       1        5              3            Ascend910
\t2       1        3              5            Ascend910
\t2       2        -              -            Mcu
"""
SCRIPT = """#!/bin/sh
case "$*" in
"info -t phyid-remap -p 5") cat "{directory}/remap" ;;
"info -m") cat "{directory}/table" ;;
"info -t power -i 2 -c 1") cat "{directory}/power" ;;
*) echo "This device does not support querying $*."; exit 1 ;;
esac
"""


class FakeNpuSmi:
    """What the script prints from now on; a part that was never said fails."""

    def __init__(self, directory):
        self.directory = directory
        script = directory / "npu-smi"
        script.write_text(SCRIPT.format(directory=directory))
        script.chmod(0o755)

    def says(self, **parts):
        for name, text in parts.items():
            (self.directory / name).write_text(text)


@pytest.fixture
def npu(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    return FakeNpuSmi(tmp_path)


def found():
    (meter,), absences = find(IDENTITY)
    assert absences == []
    return meter


def reason():
    meters, (absence,) = find(IDENTITY)
    assert meters == []
    assert absence.source == "npu-smi"
    return absence.reason


@pytest.mark.parametrize("form", [CHIP, CARD, DISSIPATION], ids=["chip", "card", "older driver"])
def test_a_ramp_of_power_gives_the_energy_below_it(npu, form):
    npu.says(remap=REMAP, power=form.format(watts=60.0))
    reading, start, end = metered(found(), lambda at: npu.says(power=form.format(watts=f"{60 + 5 * at:.1f}")))
    assert (reading.source, reading.scope) == ("sampled:npu-smi", "board")
    assert reading.energy_j == pytest.approx(60 * (end - start) + 2.5 * (end**2 - start**2), rel=0.01)
    assert (reading.details["card"], reading.details["chip"]) == (2, 1)


@pytest.mark.parametrize("table", [TABLE, TABLE_WITH_PHYSICAL])
def test_without_the_query_by_number_the_table_tells_card_and_chip(npu, table):
    npu.says(table=table, power=CHIP.format(watts=60.0))
    assert found().details == {"card": 2, "chip": 1}


def test_a_constant_power_may_be_true(npu):
    npu.says(remap=REMAP, power=CHIP.format(watts=60.0))
    reading, _, _ = metered(found(), lambda at: None)
    assert reading.energy_j == pytest.approx(60 * reading.seconds)


@pytest.mark.parametrize(
    ("said", "code"),
    [
        (CHIP.format(watts="NA"), "energy_unsupported"),
        ("DrvMngGetConsoleLogLevel failed.\n", "energy_unsupported"),
        (CHIP.format(watts="-1.0"), "energy_jump"),
    ],
)
def test_an_npu_that_tells_no_power_in_the_middle_leaves_no_energy(npu, said, code):
    npu.says(remap=REMAP, power=CHIP.format(watts=60.0))
    reading, _, _ = metered(found(), lambda at: npu.says(power=said) if at > 4 else None)
    assert (reading.energy_j, [flag.code for flag in reading.flags]) == (None, [code])


def test_a_rating_is_no_measurement(npu):
    npu.says(remap=REMAP, power="\tRated Power Dissipation(W)     : 12.8\n")
    assert "12.8" in reason()


def test_an_npu_smi_that_fails_is_absent_with_its_word(npu):
    npu.says(remap=REMAP)
    assert "power" in reason()
    npu.says(remap="", table="nothing")
    assert "no chip with number 5" in reason()


def test_without_npu_smi_there_is_no_meter(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "not on the PATH" in reason()
