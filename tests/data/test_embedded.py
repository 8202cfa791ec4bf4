"""The embedded data equal the originals that they were cut from."""

from __future__ import annotations

import importlib.util
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest

from convkit import data

TOOL = Path(__file__).resolve().parents[2] / "tools" / "embed_data.py"


@pytest.fixture(scope="module")
def tool():
    spec = importlib.util.spec_from_file_location("embed_data", TOOL)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_files_equal_what_the_tool_makes(tool):
    for name, content in tool.arrays().items():
        with np.load(str(files("convkit.data").joinpath(name))) as stored:
            assert sorted(stored.files) == sorted(content)
            for key, array in content.items():
                np.testing.assert_array_equal(stored[key], array, err_msg=f"{name}:{key}")


def test_files_equal_scikit_learns_originals():
    from sklearn.datasets import load_digits, load_sample_image

    original = load_digits()
    d = data.digits()
    pictures = np.concatenate([d.train_images, d.test_images])
    labels = np.concatenate([d.train_labels, d.test_labels])
    ours = sorted((label, picture.tobytes()) for label, picture in zip(labels, pictures, strict=True))
    theirs = sorted(
        (label, picture.astype(np.uint8).tobytes())
        for label, picture in zip(original.target, original.images, strict=True)
    )
    assert ours == theirs
    flower = load_sample_image("flower.jpg")
    np.testing.assert_array_equal(data.photograph("colour"), flower[130:226, 190:318])
    temple = load_sample_image("china.jpg")[60:316, 120:376].astype(float)
    luma = temple @ [0.299, 0.587, 0.114]
    assert np.abs(data.photograph() - luma).max() <= 0.5 + 1e-9


def test_the_split_is_fixed_a_fifth_and_balanced():
    d = data.digits()
    counts = np.bincount(d.test_labels)
    assert counts.tolist() == [35, 36, 35, 36, 36, 36, 36, 35, 34, 36]
    assert (d.train_labels.size, d.test_labels.size) == (1442, 355)
    again = data.digits()
    np.testing.assert_array_equal(d.test_images, again.test_images)


def test_photograph_names_its_choices():
    from convkit.errors import OptionError

    with pytest.raises(OptionError, match='colours="colour"'):
        data.photograph("color")
