"""The time limit of a submitted job, from the config alone."""

from hwfit import walltime
from hwfit.recommendation import MOST_CONTENDERS
from hwfit.sections import Measurement


def measurement(**changes):
    return Measurement(**changes).model_dump()


def test_a_cells_limit_leaves_room_for_every_batch_size_and_one_that_hangs():
    told = measurement(max_seconds=10, energy_seconds=5, repeats=1, timeout_seconds=300)
    one = walltime.cell_minutes(told, "single_stream", [1], runtimes=1)
    three = walltime.cell_minutes(told, "single_stream", [1, 8, 32], runtimes=1)
    # A batch size: 60 + 2 x 10 + 5 s, twice. A start and an inventory twice: 180 + 600 s.
    assert one == walltime.in_minutes(780 + 170 + 300)
    assert three == walltime.in_minutes(780 + 3 * 170 + 300)


def test_longer_sampling_and_more_repeats_ask_for_more_time():
    usual = walltime.cell_minutes(measurement(), "single_stream", [1, 8], 1)
    for changes in ({"max_seconds": 60}, {"repeats": 9}, {"energy_seconds": 120}, {"timeout_seconds": 900}):
        assert walltime.cell_minutes(measurement(**changes), "single_stream", [1, 8], 1) > usual


def test_a_server_is_given_the_time_of_all_rates_that_it_tries():
    told = measurement(server_seconds=60, timeout_seconds=100)
    server, stream = (walltime.batch_seconds(told, name) for name in ("server", "single_stream"))
    assert server - stream == (1 + told["repeats"]) * 60 * walltime.SERVER_RATES


def test_a_confirmation_has_the_time_of_its_most_rounds():
    told = measurement(confirm_rounds=3)
    few = walltime.confirmation_minutes(told, {"single_stream": 2}, 1)
    assert walltime.confirmation_minutes(told, {"single_stream": 4}, 1) > few
    assert walltime.confirmation_minutes(measurement(most_confirm_rounds=3), {"single_stream": 2}, 1) < few


def test_as_many_contenders_are_reckoned_with_as_are_named():
    assert walltime.CONTENDERS == MOST_CONTENDERS
