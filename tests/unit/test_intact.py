"""A checkpoint or an artifact that was damaged is never measured as another network."""

import pytest

from hwfit.records import checksums, write_json
from hwfit.worker.errors import Incorrect
from hwfit.worker.job import require_intact


@pytest.fixture
def artifact(tmp_path):
    (tmp_path / "weights.safetensors").write_bytes(bytes(range(256)) * 8)
    write_json(tmp_path / "card.json", {"sha256": checksums(tmp_path, ["weights.safetensors"])})
    return tmp_path


def test_what_was_made_is_taken(artifact):
    require_intact(artifact)


@pytest.mark.parametrize("byte", [0, 777, 2047])
def test_a_flipped_bit_is_found(artifact, byte):
    path = artifact / "weights.safetensors"
    content = bytearray(path.read_bytes())
    content[byte] ^= 1
    path.write_bytes(content)
    with pytest.raises(Incorrect, match=r"weights\.safetensors has another checksum .* run again"):
        require_intact(artifact)


def test_so_is_a_file_cut_short_and_one_that_is_gone(artifact):
    path = artifact / "weights.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(Incorrect, match="another checksum"):
        require_intact(artifact)
    path.unlink()
    with pytest.raises(Incorrect, match="is not there"):
        require_intact(artifact)


def test_a_card_without_checksums_says_nothing(tmp_path):
    write_json(tmp_path / "card.json", {"status": "ok"})
    require_intact(tmp_path)
