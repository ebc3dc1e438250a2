"""The table of published peaks: every figure is dense, has a source, and is found by the driver's name."""

import pytest

from hwfit.published import doubts, published_of, table, unbelievable

ENTRIES = {entry.name: entry for entry in table()}


@pytest.mark.parametrize("name", ENTRIES)
def test_no_entry_mixes_sparse_with_dense(name):
    assert doubts(ENTRIES[name]) == []


def changed(name, **changes):
    """An entry with some of its fields changed; of figures, some."""
    entry = ENTRIES[name]
    merged = {
        field: getattr(entry, field) | value if isinstance(value, dict) else value
        for field, value in changes.items()
    }
    return entry.model_copy(update=merged)


def doubled(name):
    """An entry whose every matrix figure is the one with sparsity, and that knows of no other."""
    entry = ENTRIES[name]
    dense = {n: v if n == "float32" else 2 * v for n, v in entry.dense_tflops.items()}
    return entry.model_copy(update={"dense_tflops": dense, "sparse_tflops": {}, "derived": []})


@pytest.mark.parametrize("name", [name for name, entry in ENTRIES.items() if entry.has_sparsity])
def test_an_entry_of_figures_with_sparsity_alone_is_caught(name):
    assert doubts(doubled(name))


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        (changed("H100 SXM", dense_tflops={"bfloat16": 1979}), "not twice 1979"),
        (changed("H100 SXM", dense_tflops={"bfloat16": 1979, "float16": 1979}), "not what its units do"),
        # Another card's figure, which is a sparse one as well.
        (changed("H100 SXM", dense_tflops={"bfloat16": 1513, "float16": 1513}), "not what its units do"),
        (changed("H100 SXM", dense_tflops={"tf32": 989}), "tf32: 989 beside 989.5"),
        (
            changed("GeForce RTX 3090", dense_tflops={"bfloat16": 142, "float16": 142}),
            "not what its units do",
        ),
        (changed("Instinct MI300X", dense_tflops={"float16": 2615}), "differ"),
        (changed("T4", sparse_tflops={"int8": 260}), "has no sparsity"),
        (changed("B200", sparse_tflops={"int8": 4500}), "not twice 4500"),
    ],
    ids=lambda value: value if isinstance(value, str) else value.name,
)
def test_known_mistakes_are_caught(entry, said):
    assert any(said in doubt for doubt in doubts(entry))


def test_every_figure_has_a_document_an_address_and_where_it_was_read():
    for entry in ENTRIES.values():
        assert entry.source.document
        assert entry.source.url.startswith("https://")
        assert entry.read_in, entry.name
    assert len(ENTRIES) == len(table())


@pytest.mark.parametrize(
    ("told", "name"),
    [
        ("NVIDIA H100 80GB HBM3", "H100 SXM"),
        ("NVIDIA H100 PCIe", "H100 PCIe"),
        ("NVIDIA H200", "H200"),
        ("NVIDIA A100-SXM4-80GB", "A100 SXM4 80 GB"),
        ("A100-SXM4-40GB", "A100 SXM4 40 GB"),
        ("NVIDIA A100 80GB PCIe", "A100 PCIe 80 GB"),
        ("NVIDIA A10", "A10"),
        ("Tesla T4", "T4"),
        ("NVIDIA L4", "L4"),
        ("NVIDIA L40S", "L40S"),
        ("NVIDIA GeForce RTX 4090", "GeForce RTX 4090"),
        ("v5litepod-8", "TPU v5e"),
        # What is another chip, or a part of one.
        ("NVIDIA A10G", None),
        ("NVIDIA L40", None),
        ("NVIDIA H100 NVL", None),
        ("NVIDIA GeForce RTX 3090 Ti", None),
        ("NVIDIA A100-SXM4-80GB MIG 3g.40gb", None),
        ("AMD EPYC, 2 cores", None),
        ("", None),
        (None, None),
    ],
)
def test_a_device_is_found_by_the_name_its_driver_tells(told, name):
    found = published_of(told)
    assert (found.name if found else None) == name


def test_a_peak_above_the_published_one_is_not_believable():
    h100 = ENTRIES["H100 SXM"]
    measured = {"matmul_bfloat16_gflops": 700e3, "matmul_float16_gflops": 1500e3, "memory_copy_gb_s": 2900.0}
    told = unbelievable(measured | {"memory_read_gb_s": 9000.0, "matmul_other_gflops": 1e9}, h100)
    assert told == {
        "matmul_float16_gflops": pytest.approx(1500 / 989.5),
        "memory_read_gb_s": pytest.approx(9000 / 3350),
    }
