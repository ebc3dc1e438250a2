"""Memory that was freed stays with the process, so that the next call finds it mapped.

glibc gives the top of its heap back to the kernel when twice its largest block is free there, and blocks
above 32 MB at once; the next call faults every page in again, and the kernel clears each. Torch in inference
mode frees activations as it goes, which makes it the worst case. Turns both off, by M_TRIM_THRESHOLD and
M_MMAP_MAX (mallopt(3)). It holds for the whole process and is not taken back; what hwfit gives back between
phases (malloc_trim) still goes. The peak may rise, since holes in the heap are kept too.

Torch faulted 83,000 pages a call in EfficientNet-Lite0 at batch 8 without it, half of its processor time, and
7,000 in DenseNet-121 at batch 1 with two threads, 57 with one: so whether it pays is to be measured.

Run on: CPU, glibc 2.36.
"""

from __future__ import annotations

import ctypes
from typing import Any

from hwfit.worker.errors import Unsupported

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4
# The top of the heap is never given back by itself, and blocks of any size come from the heap.
NEVER, NONE = -1, 0


def keep(session: Any) -> None:
    """Set the thresholds. Raises Unsupported where libc has no mallopt, or does not take them."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError) as error:
        raise Unsupported("this libc has no mallopt: it is glibc's") from error
    # Each returns 1 where it was taken.
    if not (mallopt(M_TRIM_THRESHOLD, NEVER) and mallopt(M_MMAP_MAX, NONE)):
        raise Unsupported("this libc's mallopt does not take the settings")


torch = tensorflow = mindspore = onnxruntime = openvino = keep
