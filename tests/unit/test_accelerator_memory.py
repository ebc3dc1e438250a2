"""On an accelerator the memory of a row is the model's, and not that of hwfit's own kernels."""

import gc
import weakref

from hwfit.worker.conditions import Conditions


class Operands:
    """What a kernel holds of a device's memory."""


def test_the_reference_kernel_holds_nothing_between_its_two_windows():
    held: list[weakref.ref] = []

    def make_reference():
        operands = Operands()
        held.append(weakref.ref(operands))
        return lambda: operands

    with Conditions(make_reference, window_s=0):
        gc.collect()
        assert [ref() for ref in held] == [None]
    assert len(held) == 2
