"""A user's folder of images is taken as it is, and measured again when it changes."""

from __future__ import annotations

import json

import numpy as np
from PIL import Image

NET = """
import torch

def net():
    \"\"\"Says which channel is brightest: what the folders are called by.\"\"\"
    return torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())
"""


def write_images(folder, count):
    random = np.random.default_rng(0)
    for channel, kind in enumerate(("a red one", "b green one", "c blue one")):
        (folder / kind).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            pixels = random.integers(0, 100, (20, 30, 3)).astype(np.uint8)
            pixels[..., channel] += 100
            Image.fromarray(pixels).save(folder / kind / f"picture {{{number}}}.png")


def test_a_folder_of_images_with_any_names_is_data_and_a_new_image_is_new_data(project):
    write_images(project.directory / "my photos", 3)
    (project.directory / "my photos" / "notes.txt").write_text("not an image")
    (project.directory / "mine.py").write_text(NET)
    model = {
        "task": "classification",
        "data": "my photos/",
        "image": {"size": 16},
        "sources": {"torch": {"callable": "mine:net"}},
    }
    matrix = {"models": ["mine"], "devices": ["cpu"], "runtimes": ["torch"], "batch_sizes": [4]}
    measurement = {"max_seconds": 0.5, "min_seconds": 0.2, "relative_ci": 0.5, "confirm_rounds": 0}
    project.configure({"matrix": matrix, "measurement": measurement}, models={"mine": model})
    project.run()
    (row,) = project.table().to_dict("records")
    assert (row["status"], row["accuracy"], row["fidelity"]) == ("ok", 1, 1)
    card = json.loads((project.directory / "results" / "models" / "mine" / "card.json").read_text())
    assert card["data_provenance"] == (
        "my photos: 9 of 9 images in 3 classes, 1 files skipped that are no images Pillow reads"
    )
    assert "Nothing to be done" in project.run("-n")
    write_images(project.directory / "my photos", 4)
    assert "read_own_data" in project.run("-n")
