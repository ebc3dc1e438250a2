"""Memory that was freed stays with the process, so that the next call finds it mapped.

glibc gives the top of its heap back to the kernel when enough is free there, and large blocks at once; the
next call faults every page in again, and the kernel clears each. Torch in inference mode frees activations as
it goes, which makes it the worst case. Sets M_TRIM_THRESHOLD and M_MMAP_THRESHOLD (mallopt(3)). It holds for
the whole process and is not taken back; what hwfit gives back between phases (malloc_trim) still goes.

Run on: CPU, glibc 2.36.
"""

from __future__ import annotations

import ctypes
from typing import Any

from hwfit.worker.errors import Unsupported

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
# No end: the top of the heap is never given back by itself.
NEVER = -1
# The most that glibc takes on 64 bits: larger blocks are mapped anew each time.
LARGEST_HEAP_BLOCK = 32 * 2**20


def keep(session: Any) -> None:
    """Set the thresholds. Raises Unsupported where libc has no mallopt, or does not take them."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError) as error:
        raise Unsupported("this libc has no mallopt: it is glibc's") from error
    # Each returns 1 where it was taken.
    if not (mallopt(M_TRIM_THRESHOLD, NEVER) and mallopt(M_MMAP_THRESHOLD, LARGEST_HEAP_BLOCK)):
        raise Unsupported("this libc's mallopt takes no thresholds")


torch = tensorflow = mindspore = onnxruntime = openvino = keep
