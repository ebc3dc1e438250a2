"""What a device does at most in a runtime: matrix products in each number format, and moving memory.

A peak is the best of a few runs, so it is found by growing: a product that is too small does not fill a
large device, one that is too large takes minutes where a format is emulated. The next size is tried while
the last one gained, and while there is time.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from hwfit.worker import host
from hwfit.worker.errors import Unsupported
from hwfit.worker.gpu_cache import cuda_cache_bytes

# As the runtimes' kernels take them, fp32 first: the others are held against it.
FORMATS = ("float32", "tf32", "bfloat16", "float16", "int8")
# Rows and columns of the products.
SIZES = (256, 512, 1024, 2048, 4096, 8192)
# What a size must gain over the best one so far; two in a row that do not are the end.
GAIN = 1.03
# Nor is a size tried that would make a format take longer than this.
PATIENCE_S = 2.0
# Below this share of the fp32 product of the same size, whatever the size, a format is emulated: no peak.
EMULATED = 0.1
REPETITIONS, MOST_REPETITIONS = 5, 1000
# A device that was idle takes a while to raise its clocks.
LEAST_S, MOST_S = 0.1, 1.0
# What is moved must not lie in a cache: STREAM's rule is arrays of at least four times the last one
# (J. McCalpin, https://www.cs.virginia.edu/stream/ref.html). It has to fit into memory, too.
LEAST_BYTES = 256 * 2**20
CACHES = 4
SHARE_OF_MEMORY = 1 / 16
# An accelerator moves a small array in less time than it takes to be told to.
ACCELERATOR_BYTES = (LEAST_BYTES, 2**30)

Kernel = Callable[[], Any]


def measure(module: Any, accelerator: str, index: int) -> Iterator[dict[str, Any]]:
    """The peaks of a runtime on a device, again after each one: a format may end the process.

    Parameters
    ----------
    module : a runtime's, with `matmul_kernel` and `copy_kernel`

    Yields
    ------
    {"last_cache_mb", "peaks", "peaks_unread"}: peaks are "matmul_<format>_gflops" (of int8 in GOP/s, an
    operation being a multiplication or an addition in all of them), "memory_copy_gb_s" (every byte is read
    and written) and "memory_read_gb_s" (the weights of a product with one row); `peaks_unread` says why
    others are not there
    """
    cache = last_cache_bytes(accelerator)
    found: dict[str, Any] = {"last_cache_mb": cache and cache / 1e6, "peaks": {}, "peaks_unread": {}}
    tasks: dict[str, Callable[[], float]] = {}
    full: dict[int, float] = {}

    def product(number_format: str) -> float:
        rates = growing(
            lambda size: module.matmul_kernel(accelerator, index, number_format, size, size),
            SIZES,
            lambda size: 2 * size**3,
        )
        if number_format == "float32":
            full.update(rates)
        require_units(rates, full)
        return max(rates.values()) / 1e9

    def copying() -> float:
        sizes = moved_bytes(accelerator, cache)
        return best(lambda size: module.copy_kernel(accelerator, index, size), sizes, lambda size: 2 * size)

    def reading() -> float:
        # A product of one row reads each weight once, and does next to nothing with it.
        sizes = [round((size / 4) ** 0.5) // 256 * 256 for size in moved_bytes(accelerator, cache)]
        return best(
            lambda size: module.matmul_kernel(accelerator, index, "float32", 1, size),
            sizes,
            lambda size: 4 * size**2,
        )

    for name in FORMATS:
        # A format of NVIDIA's tensor cores alone.
        if name != "tf32" or accelerator == "cuda":
            tasks[f"matmul_{name}_gflops"] = lambda name=name: product(name)  # type: ignore[misc]
    tasks |= {"memory_copy_gb_s": copying, "memory_read_gb_s": reading}
    for name, task in tasks.items():
        # What a reader finds where the process does not come back from this one.
        found["peaks_unread"][name] = "the process ended while it was measured"
        yield found
        try:
            found["peaks"][name] = task()
            del found["peaks_unread"][name]
        except Exception as error:  # whatever a framework raises for what it cannot do
            found["peaks_unread"][name] = said(error)
    yield found


def growing(
    kernel_of: Callable[[int], Kernel], sizes: Iterable[int], work_of: Callable[[int], float]
) -> dict[int, float]:
    """Work a second of each size that was tried."""
    rates: dict[int, float] = {}
    began, failures = time.perf_counter(), 0
    for size in sizes:
        try:
            seconds = fastest(kernel_of(size))
        except Exception:  # out of memory, by whatever name
            if not rates:
                raise
            break
        rate = work_of(size) / seconds
        failures = 0 if rate > GAIN * max(rates.values(), default=0.0) else failures + 1
        rates[size] = rate
        # Twice the size is eight times the work.
        if failures == 2 or time.perf_counter() - began + 8 * REPETITIONS * seconds > PATIENCE_S:
            break
    return rates


def require_units(rates: dict[int, float], full: dict[int, float]) -> None:
    """Raises Unsupported where every size does far less than the same size in fp32: the format is emulated.

    One size is not enough: a small product may have waited for a core.
    """
    shares = {size: rate / full[size] for size, rate in rates.items() if size in full}
    if shares and max(shares.values()) < EMULATED:
        size = max(shares, key=shares.__getitem__)
        raise Unsupported(
            f"emulated: {rates[size] / 1e9:.3g} GFLOP/s at {size} x {size}, "
            f"{shares[size]:.1%} of the fp32 product"
        )


def best(kernel_of: Callable[[int], Kernel], sizes: Iterable[int], bytes_of: Callable[[int], float]) -> float:
    """The most GB/s of some sizes; a larger one that finds no room is left out."""
    rates: list[float] = []
    for size in sizes:
        try:
            rates.append(bytes_of(size) / fastest(kernel_of(size)) / 1e9)
        except Exception:  # out of memory, by whatever name
            if not rates:
                raise
    return max(rates)


def fastest(kernel: Kernel) -> float:
    """The shortest of a few runs in seconds, after one that is not counted: a peak is a best case."""
    kernel()
    began = time.perf_counter()
    times: list[float] = []
    while len(times) < MOST_REPETITIONS:
        start = time.perf_counter()
        kernel()
        end = time.perf_counter()
        times.append(end - start)
        if end - began > (LEAST_S if len(times) >= REPETITIONS else MOST_S):
            break
    return min(times)


def moved_bytes(accelerator: str, cache: float | None) -> tuple[int, ...]:
    """How much to move: more than caches hold, and not more than there is room for."""
    if accelerator != "cpu":
        return ACCELERATOR_BYTES
    wanted = max(LEAST_BYTES, round(CACHES * (cache or 0)))
    room = host.available_bytes()
    return (wanted if room is None else max(LEAST_BYTES, min(wanted, int(room * SHARE_OF_MEMORY))),)


def last_cache_bytes(accelerator: str) -> int | None:
    """The last cache before memory, of all cores this process may use; None where nothing tells it."""
    if accelerator == "cpu":
        return host.last_cache_bytes()
    return cuda_cache_bytes() if accelerator == "cuda" else None


def said(error: Exception) -> str:
    """The first line of an error that says something."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__
