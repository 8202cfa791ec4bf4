"""Small data sets on disk, in every format: stripes that lie, stand, or cross."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np
from PIL import Image

CLASSES = ("across", "down", "grid")


def stripes(count: int, *, size=(12, 10), channels=1, classes=3, seed=0):
    """Pictures (count, rows, columns, channels) and labels: bright lines every third row, column, or both."""
    chance = np.random.default_rng(seed)
    labels = np.arange(count) % classes
    images = chance.integers(0, 60, (count, *size, channels))
    for image, label in zip(images, labels):
        phase = chance.integers(3)
        if label in (0, 2):
            image[phase::3] += 150
        if label in (1, 2):
            image[:, phase::3] += 45 if label == 2 else 150
    return images.astype(np.uint8), labels.astype(np.uint8)


def idx(array: np.ndarray, kind: int = 8) -> bytes:
    """An array as an IDX file."""
    return struct.pack(f">HBB{array.ndim}I", 0, kind, array.ndim, *array.shape) + array.tobytes()


def write_idx(folder: Path, *, train=90, test=30, packed="yes", classes=3, size=(12, 10)) -> Path:
    """MNIST's four files (or two, where a part is empty)."""
    folder.mkdir(parents=True, exist_ok=True)
    for part, count, seed in (("train", train, 1), ("t10k", test, 2)):
        if not count:
            continue
        images, labels = stripes(count, seed=seed, classes=classes, size=size)
        for what, content in (("images-idx3", idx(images[..., 0])), ("labels-idx1", idx(labels))):
            name = f"{part}-{what}-ubyte"
            if packed == "yes":
                (folder / f"{name}.gz").write_bytes(gzip.compress(content, mtime=0))
            else:
                (folder / name).write_bytes(content)
    return folder


def write_cifar(folder: Path, *, per_file=20, names="yes", hundred="no") -> Path:
    """CIFAR's binary files."""
    folder.mkdir(parents=True, exist_ok=True)
    files = (
        ("train.bin", "test.bin") if hundred == "yes" else ("data_batch_1.bin", "data_batch_2.bin", "test_batch.bin")
    )
    for seed, name in enumerate(files):
        images, labels = stripes(per_file, size=(32, 32), channels=3, classes=10, seed=seed)
        planes = images.transpose(0, 3, 1, 2).reshape(per_file, -1)
        columns = [labels[:, None] // 5, labels[:, None]] if hundred == "yes" else [labels[:, None]]
        (folder / name).write_bytes(np.concatenate([*columns, planes], axis=1).tobytes())
    if names == "yes" and hundred == "no":
        (folder / "batches.meta.txt").write_text("\n".join(f"name{i}" for i in range(10)) + "\n\n")
    return folder


def write_folder(
    folder: Path, *, parts=("train", "test"), count=12, size=(12, 10), mode="L", suffix="png", seed=0
) -> Path:
    """A folder a class, below a folder a part; without parts where ``parts`` is ``("",)``."""
    for number, part in enumerate(parts):
        images, labels = stripes(count * 3, size=size, seed=seed + number)
        for i, (image, label) in enumerate(zip(images, labels)):
            place = folder / part / CLASSES[label]
            place.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image[..., 0]).convert(mode).save(place / f"{i:03d}.{suffix}")
    return folder
