"""The second-level cache of an NVIDIA GPU, by the driver's own library: NVML does not tell it.

Read from an H200: 60 MiB. CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE is 38 in the CUDA driver API (cuda.h).
"""

from __future__ import annotations

import ctypes

LIBRARY = "libcuda.so.1"
L2_CACHE_SIZE = 38


def cuda_cache_bytes() -> int | None:
    """Bytes of the cache of the first GPU that this process sees; None where the driver does not tell."""
    try:
        driver = ctypes.CDLL(LIBRARY)
    except OSError:
        return None
    device, value = ctypes.c_int(), ctypes.c_int()
    if driver.cuInit(0) or driver.cuDeviceGet(ctypes.byref(device), 0):
        return None
    if driver.cuDeviceGetAttribute(ctypes.byref(value), L2_CACHE_SIZE, device):
        return None
    return value.value or None
