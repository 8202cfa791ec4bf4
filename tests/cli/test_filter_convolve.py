"""``convkit filter`` and ``convkit convolve`` on real and on wrong files."""

from __future__ import annotations

import json
import os

import numpy as np
import pytest

import convkit as ck
from convkit import data
from convkit.cli.fitting import fitted
from convkit.cli.named import KERNEL_NAMES, named


def test_a_picture_is_filtered_rounded_and_kept(convkit, here):
    result = convkit("filter", "photo.png", "-k", "gaussian", "--sigma", "1.5", "-o", "out.png")
    assert result.exit_code == 0, result.output
    assert result.output.startswith("photo.png 60x80 uint8 with gaussian 13x13 -> out.png 60x80 uint8 in ")
    photo = data.read("photo.png").array
    smooth = ck.correlate(photo, ck.kernels.gaussian(1.5), mode="same", boundary="symmetric")
    np.testing.assert_array_equal(data.read("out.png").array, np.rint(smooth).clip(0, 255).astype(np.uint8))


def test_colour_is_filtered_channel_by_channel(convkit, here):
    assert convkit("filter", "flower.png", "-k", "emboss", "-o", "out.png").exit_code == 0
    flower, out = data.read("flower.png").array, data.read("out.png").array
    for channel in range(3):
        one = ck.correlate(flower[..., channel], ck.kernels.emboss(), mode="same", boundary="symmetric")
        np.testing.assert_array_equal(out[..., channel], one.clip(0, 255).astype(np.uint8))


def test_transparency_is_no_brightness(convkit, here):
    alpha = np.arange(1200, dtype=np.uint16).reshape(30, 40, 1).astype(np.uint8)
    data.write("clear.png", np.concatenate([data.read("flower.png").array, alpha], axis=-1))
    assert convkit("filter", "clear.png", "-k", "box", "-o", "out.png").exit_code == 0
    np.testing.assert_array_equal(data.read("out.png").array[..., 3:], alpha)
    result = convkit("filter", "clear.png", "-k", "box", "--mode", "valid", "-o", "out.png")
    assert "transparency was left out" in result.stderr
    assert data.read("out.png").array.shape == (28, 38, 3)


def test_what_is_clipped_is_said_and_can_be_kept(convkit, here):
    result = convkit("filter", "photo.png", "-k", "sobel-x", "-o", "out.png")
    assert "% of the values lay outside uint8 and were clipped" in result.stderr
    exact = ck.correlate(data.read("photo.png").array, named("sobel-x"), mode="same", boundary="symmetric")
    assert convkit("filter", "photo.png", "-k", "sobel-x", "--dtype", "float32", "-o", "out.npy").exit_code == 0
    np.testing.assert_array_equal(np.load("out.npy"), exact.astype(np.float32))
    result = convkit("filter", "photo.png", "-k", "sobel-x", "--scale", "signed", "-o", "out.png", "--json")
    assert json.loads(result.stdout)["clipped"] == 0
    shown = data.read("out.png").array
    assert abs(int(shown[exact == 0][0]) - 128) <= 1
    assert shown[np.unravel_index(exact.argmax(), exact.shape)] > 128


def test_sixteen_bits_stay_sixteen_bits(convkit, here):
    assert convkit("filter", "deep.tiff", "-k", "box", "-o", "out.tiff").exit_code == 0
    out = data.read("out.tiff").array
    assert out.dtype == np.uint16
    assert out.max() > 255


def test_a_sound_keeps_rate_encoding_and_channels(convkit, here):
    assert convkit("filter", "tone.wav", "-k", "box", "--size", "5", "-o", "out.wav").exit_code == 0
    out, tone = data.read("out.wav"), data.read("tone.wav").array
    assert (out.rate, out.encoding, out.array.shape) == (8000, "PCM_16", (400, 2))
    for channel in range(2):
        mean = ck.correlate(tone[:, channel], np.full(5, 0.2), mode="same", boundary="symmetric")
        np.testing.assert_allclose(out.array[:, channel], mean, atol=1e-4)


def test_typed_kernels_operations_and_boundaries(convkit, here):
    x = np.arange(1, 6)
    for operation, verb in (("convolution", ck.convolve), ("correlation", ck.correlate)):
        for boundary in ("zero", "wrap"):
            options = ["--operation", operation, "--boundary", boundary, "--mode", "same"]
            assert convkit("filter", "table.csv", "-k", "1,0,-2", *options, "-o", "out.csv").exit_code == 0
            expected = verb(x, np.array([1, 0, -2]), mode="same", boundary=boundary)
            np.testing.assert_array_equal(data.read("out.csv").array, expected)


def test_two_files_into_a_third(convkit, here):
    result = convkit("convolve", "table.csv", "kernel.npy", "-o", "out.npz")
    assert result.exit_code == 0, result.output
    np.testing.assert_array_equal(data.read("out.npz").array, [1, 4, 8, 12, 16, 14, 5])


def test_numbers_typed_and_printed(convkit):
    assert convkit("convolve", "1,2,3,4", "1,1,1").output == "[1 3 6 9 7 4]\n"
    assert json.loads(convkit("convolve", "-1,2,-3", "1,1", "--json").output) == [-1, 1, -1, -3]
    assert json.loads(convkit("convolve", "1,2;3,4", "0,1;1,0", "--mode", "valid", "--json").output) == [[5]]
    assert json.loads(convkit("convolve", "1,2", "1j", "--json").output) == [[0.0, 1.0], [0.0, 2.0]]
    strided = convkit("convolve", "1,2,3,4,5", "1,2", "--stride", "2", "--dilation", "2", "--json").output
    assert json.loads(strided) == ck.convolve(np.arange(1, 6), np.array([1, 2]), stride=2, dilation=2).tolist()


def test_a_sound_with_an_echo_and_two_rates(convkit, here):
    data.write("echo.wav", data.Content(np.array([1.0, 0, 0.5]), "sound", 8000, "DOUBLE"))
    assert convkit("convolve", "tone.wav", "echo.wav", "-o", "out.wav").exit_code == 0
    assert data.read("out.wav").array.shape == (402, 2)
    data.write("other.wav", data.Content(np.array([1.0, 0, 0.5]), "sound", 44100, "DOUBLE"))
    result = convkit("convolve", "tone.wav", "other.wav", "-o", "out2.wav")
    assert result.exit_code == 1
    assert "8000 == 44100 is false" in result.stderr
    assert not (here / "out2.wav").exists()


WRONG = [
    (("filter", "none.png", "-k", "box", "-o", "o.png"), "file.not-found"),
    (("filter", "cut.png", "-k", "box", "-o", "o.png"), "file.broken"),
    (("filter", "text.npy", "-k", "1,2", "-o", "o.npy"), "file.wrong-format"),
    (("filter", "empty.csv", "-k", "1,2", "-o", "o.csv"), "file.empty"),
    (("filter", "words.csv", "-k", "1,2", "-o", "o.csv"), "file.not-a-number"),
    (("filter", "silent.wav", "-k", "box", "-o", "o.wav"), "file.empty"),
    (("filter", "photo.png", "-k", "box", "-o", "folder"), "file.is-a-folder"),
    (("filter", "photo.png", "-k", "box", "-o", "no/o.png"), "file.no-folder"),
    (("filter", "photo.png", "-k", "box", "-o", "o.doc"), "file.unknown-suffix"),
    (("filter", "photo.png", "-k", "box", "--dtype", "float64", "-o", "o.png"), "file.cannot-hold"),
    (("filter", "photo.png", "-k", "bocks", "-o", "o.png"), "option.unknown-value"),
    (("filter", "photo.png", "-k", "sobel-x", "--sigma", "2", "-o", "o.png"), "option.not-for-this-kernel"),
    (("filter", "photo.png", "-k", "1,2;3,4", "--size", "2", "-o", "o.png"), "option.not-for-a-file"),
    (("filter", "photo.png", "-k", "1,2;3", "-o", "o.png"), "option.bad-literal"),
    (("filter", "photo.png", "-k", "1,2,3", "-o", "o.png"), "shape.rank-mismatch"),
    (("filter", "table.csv", "-k", "emboss", "-o", "o.csv"), "option.two-axes-only"),
    (("filter", "photo.png", "-k", "box", "--axes", "5", "-o", "o.png"), "option.no-such-axis"),
    (("filter", "photo.png", "-k", "box", "--axes", "a", "-o", "o.png"), "option.not-a-whole-number"),
    (("filter", "photo.png", "-k", "box", "--stride", "-1", "-o", "o.png"), "option.too-small"),
    (("filter", "photo.png", "-k", "box", "--stride", "x", "-o", "o.png"), "option.not-a-whole-number"),
    (("filter", "photo.png", "-k", "box", "--size", "0", "-o", "o.png"), "option.too-small"),
    (("filter", "photo.png", "-k", "box", "--dtype", "float23", "-o", "o.png"), "option.unknown-value"),
    (
        ("filter", "photo.png", "-k", "box", "--size", "99", "--mode", "valid", "-o", "o.png"),
        "shape.kernel-does-not-fit",
    ),
    (("convolve", "1,2,x", "1", "-o", "o.npy"), "file.unknown-suffix"),
    (("convolve", "1,,2", "1"), "option.bad-literal"),
]


@pytest.mark.parametrize(("arguments", "code"), WRONG)
def test_wrong_input_says_why_and_leaves_nothing(convkit, here, arguments, code):
    whole = (here / "photo.png").read_bytes()
    (here / "cut.png").write_bytes(whole[: len(whole) // 2])
    (here / "text.npy").write_text("1 2 3")
    (here / "empty.csv").touch()
    (here / "words.csv").write_text("time,value\n1,2\n")
    data.write("silent.wav", np.zeros(0))
    (here / "folder").mkdir()
    before = sorted(os.listdir(here))
    result = convkit(*arguments)
    assert result.exit_code == 1
    lines = result.stderr.splitlines()
    assert lines[0].startswith(f"ConvError[{code}]: ")
    assert [line[:6] for line in lines[1:]] == ["  rule", "  try "]
    assert sorted(os.listdir(here)) == before


def test_a_large_kernel_is_no_mistake(convkit, here):
    assert convkit("filter", "photo.png", "-k", "box", "--size", "201", "-o", "out.png").exit_code == 0
    photo = data.read("photo.png").array
    mean = ck.correlate(photo, np.full((201, 201), 1 / 201**2), mode="same", boundary="symmetric")
    assert np.abs(data.read("out.png").array - mean).max() <= 0.5 + 1e-6


def test_the_old_output_survives_a_failure(convkit, here, monkeypatch):
    (here / "out.npy").write_bytes(b"old")

    def full(*arguments, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "save", full)
    result = convkit("filter", "photo.png", "-k", "box", "-o", "out.npy")
    assert result.exit_code == 1
    assert "file.unwritable" in result.stderr
    assert (here / "out.npy").read_bytes() == b"old"


def test_too_little_memory_is_said(convkit, here, monkeypatch):
    def huge(*arguments, **options):
        raise MemoryError

    monkeypatch.setattr(ck, "correlate", huge)
    result = convkit("filter", "photo.png", "-k", "box", "-o", "out.npy")
    assert result.exit_code == 1
    assert "file.no-memory" in result.stderr


@pytest.mark.parametrize("name", KERNEL_NAMES)
def test_every_named_kernel(name):
    kernel = named(name)
    assert kernel.ndim == 2
    assert named(name, rank=1).ndim == 1 if name not in ("emboss", "motion-blur") else True
    if name in ("box", "binomial", "gaussian", "motion-blur", "sharpen", "unsharp", "emboss", "identity"):
        assert kernel.sum() == pytest.approx(1)
    else:
        assert kernel.sum() == pytest.approx(0)


def test_fitting():
    values, clipped = fitted(np.array([-1.0, 0.5, 1.5, 2.5, 255.4, 256.0, np.nan]), "uint8")
    assert values.tolist() == [0, 0, 2, 2, 255, 255, 0]
    assert clipped == 3 / 7  # -1, 256, and NaN, which no integer can be
    assert fitted(np.array([-300, 5, 300]), "int8")[0].tolist() == [-128, 5, 127]
    assert fitted(np.array([1e30]), "int64")[0][0] > 9.2e18
    assert fitted(np.array([2.0, 4.0, 3.0]), "uint8", "stretch")[0].tolist() == [0, 255, 128]
    assert fitted(np.array([7.0, 7.0]), "uint8", "stretch")[0].tolist() == [0, 0]
    assert fitted(np.array([1.25]), "float32") == (np.float32(1.25), 0.0)
