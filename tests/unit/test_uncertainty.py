"""Doubt beyond all measure is doubt, and no error."""

import math

import pytest

from hwfit.uncertainty import Spread, draws, estimate


@pytest.mark.parametrize("within", [0.01, 332.6, 1e6])
def test_a_median_of_which_nothing_is_known_has_an_interval_that_is_a_number(within):
    found = estimate([0.13], [within], Spread(0.05, 4))
    low, high = found.interval()
    assert 0 < low < 0.13 < high < math.inf
    assert (draws([found], 100, 0) > 0).all()


def test_the_interval_of_what_is_known_is_left_as_it_is():
    low, high = estimate([10.0], [0.01], Spread(0.05, 1000)).interval()
    assert math.log(high / low) == pytest.approx(2 * 1.9623 * 0.05, rel=0.001)
