"""The energy that an external meter tells: any command that prints watts."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hwfit.worker.meters import Command, find

# Goes on printing; each line is flushed.
GOES_ON = "while :; do echo {watts}; sleep 0.02; done"
SECONDS = 0.6


def measured(command, interval_s=0.05, seconds=SECONDS):
    """The reading of a command around a short sleep."""
    (meter,), absences = find("tpu:host:/dev/accel0", command=Command(command, "node", interval_s))
    assert absences == []
    with meter:
        time.sleep(seconds)
    return meter.reading()


def codes(reading):
    assert reading.energy_j is None
    return [flag.code for flag in reading.flags]


@pytest.mark.parametrize(
    "command",
    [GOES_ON.format(watts=48.5), "echo 48.5", ["echo", "48.5"]],
    ids=["goes on", "prints once", "without a shell"],
)
def test_a_command_that_prints_watts_is_a_meter(command):
    reading = measured(command)
    assert (reading.source, reading.scope) == ("sampled:command", "node")
    assert reading.energy_j == pytest.approx(48.5 * reading.seconds)
    assert reading.flags == ()
    assert reading.seconds >= SECONDS
    assert "command" not in reading.details, "a command may hold a password"
    assert reading.details["samples"] >= 5


def test_a_changing_power_gives_the_energy_below_it(tmp_path):
    # It prints ten watts more for each second that has passed since the beginning of the test.
    code = (
        "import sys, time\nwhile True: print(100 + 10 * (time.monotonic() - float(sys.argv[1])), flush=True)"
    )
    script = tmp_path / "meter.py"
    script.write_text(code + "; time.sleep(0.02)")
    begun = time.monotonic()
    (meter,), _ = find(
        "cpu:host:x:2", command=Command([sys.executable, str(script), str(begun)], "board", 0.05)
    )
    with meter:
        start = time.monotonic() - begun
        time.sleep(SECONDS)
        end = time.monotonic() - begun
    reading = meter.reading()
    assert reading.scope == "board"
    assert reading.energy_j == pytest.approx(100 * (end - start) + 5 * (end**2 - start**2), rel=0.01)


@pytest.mark.parametrize(
    ("command", "code", "said"),
    [
        ("echo on fire", "energy_command_failed", "'on fire'"),
        (GOES_ON.format(watts="48.5 W"), "energy_command_failed", "without a unit"),
        ("echo no such meter >&2; exit 3", "energy_command_failed", "ended with 3 and said: no such meter"),
        ("true", "energy_command_failed", "printed no number"),
        ("echo 5; sleep 0.1; echo 5; sleep 0.1", "energy_command_failed", "printed 2 lines and ended"),
        (["no-such-command"], "energy_command_failed", "cannot be started"),
        (GOES_ON.format(watts=-3), "energy_jump", "-3 W"),
        (GOES_ON.format(watts="nan"), "energy_jump", "nan W"),
        (GOES_ON.format(watts=0), "energy_frozen", "0 W"),
    ],
)
def test_a_command_that_is_no_meter_leaves_no_energy(command, code, said):
    reading = measured(command)
    assert codes(reading) == [code]
    assert said in reading.flags[0].message


def test_lines_that_come_in_batches_leave_a_gap(tmp_path):
    batches = "while :; do for i in 1 2 3 4 5; do echo 48; done; sleep 1.3; done"
    assert codes(measured(batches, seconds=1.5)) == ["energy_gap"]


def test_a_run_shorter_than_ten_intervals_is_too_short():
    assert codes(measured("echo 48", interval_s=0.1, seconds=0.2)) == ["energy_too_short"]


def test_nothing_of_the_command_is_left(tmp_path):
    pids = tmp_path / "pids"
    measured(f"echo $$ >> {pids}; sleep 1000 & echo $! >> {pids}; {GOES_ON.format(watts=5)}")
    written = [int(line) for line in pids.read_text().split()]
    assert len(written) == 2
    deadline = time.monotonic() + 10
    while (left := [pid for pid in written if is_running(pid)]) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert left == []


METERED = """
import sys, time
from hwfit.worker.meters import Command, find
(meter,), _ = find("cpu:host:x:2", command=Command(sys.argv[1], "node", 0.05))
with meter:
    time.sleep(60)
"""


def test_a_command_ends_when_what_it_meters_is_killed(tmp_path):
    pids = tmp_path / "pids"
    command = f"echo $$ > {pids}; {GOES_ON.format(watts=5)}"
    worker = subprocess.Popen(
        [sys.executable, "-c", METERED, command], env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    )
    deadline = time.monotonic() + 20
    while not (pids.exists() and pids.read_text().strip()) and time.monotonic() < deadline:
        time.sleep(0.01)
    meter = int(pids.read_text())
    worker.kill()
    worker.wait()
    while is_running(meter) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not is_running(meter)


def test_what_a_command_complains_of_is_kept_without_a_password():
    reading = measured("echo cannot reach http://me:hunter2@meter/ password=hunter2 >&2; exit 6")
    assert "hunter2" not in reading.flags[0].message
    assert "cannot reach http://***@meter/" in reading.flags[0].message


def is_running(pid):
    """Whether a process does anything still; one that nobody has waited for does not."""
    try:
        os.kill(pid, 0)
        return " Z " not in Path(f"/proc/{pid}/stat").read_text()
    except (ProcessLookupError, FileNotFoundError):
        return False
