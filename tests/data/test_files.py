"""User files: right ones come back as they were, wrong ones are refused, output is whole or absent."""

from __future__ import annotations

import builtins
import json
import os
from pathlib import Path

import numpy as np
import pytest

from convkit import data
from convkit.errors import FileError, MissingExtraError

IMAGE = np.arange(7 * 5, dtype=np.uint8).reshape(7, 5) * 7


def refused(path, code):
    with pytest.raises(FileError) as caught:
        data.read(path)
    assert caught.value.code == f"file.{code}"
    return caught.value


@pytest.mark.parametrize(
    ("name", "array"),
    [
        ("x.npy", np.array([[1.5, -2.0, 3.25]], dtype=np.float32)),
        ("x.npy", np.array([[1 + 2j, 3], [4, 5]])),
        ("x.npz", np.arange(6, dtype=np.int16).reshape(2, 3)),
        ("x.csv", np.array([0.1, -2.5, 1e300, np.inf])),
        ("x.csv", np.array([[1, 2, 3], [-4, 5, 6]])),
        ("x.wav", np.array([0.5, -0.25, 0.125])),
        ("x.wav", np.array([[0.5, -0.25], [0.125, 1.0], [0, 0.75]])),
        ("x.png", IMAGE),
        ("x.png", IMAGE.astype(np.uint16) * 257 + 3),
        ("x.png", np.stack([IMAGE, IMAGE // 2, 255 - IMAGE], axis=-1)),
        ("x.png", np.stack([IMAGE, IMAGE // 2, 255 - IMAGE, IMAGE + 1], axis=-1)),
        ("x.tiff", IMAGE.astype(np.float32) / 3 - 4),
        ("x.tif", IMAGE.astype(np.uint16) * 257 + 3),
    ],
)
def test_a_file_gives_back_what_was_written(tmp_path, name, array):
    data.write(tmp_path / name, array)
    back = data.read(tmp_path / name)
    np.testing.assert_array_equal(back.array, array)
    if not name.endswith(".wav"):
        assert back.array.dtype == array.dtype
    assert os.listdir(tmp_path) == [name]


def test_jpg_is_nearly_the_same(tmp_path):
    photo = data.photograph("colour")
    data.write(tmp_path / "x.jpg", photo)
    assert np.abs(data.read(tmp_path / "x.jpg").array.astype(int) - photo).mean() < 3


def test_sound_keeps_rate_and_encoding_and_clips(tmp_path):
    path = tmp_path / "x.wav"
    data.write(path, data.Content(np.array([0.5, 1.5, -1.5]), "sound", 8000, "PCM_16"))
    back = data.read(path)
    assert (back.rate, back.encoding) == (8000, "PCM_16")
    np.testing.assert_allclose(back.array, [0.5, 1, -1], atol=2**-15)
    data.write(path, np.array([1, -2, 3], dtype=np.int16))
    assert data.read(path).encoding == "PCM_16"
    np.testing.assert_array_equal(data.read(path).array * 2**15, [1, -2, 3])


def test_a_named_array_of_several(tmp_path):
    path = tmp_path / "x.npz"
    np.savez(path, a=[1, 2], b=[3])
    np.testing.assert_array_equal(data.read(f"{path}:b").array, [3])
    assert "a, b" in str(refused(path, "which-array"))
    assert "called c" in str(refused(f"{path}:c", "no-such-array"))


def test_axes_of_space():
    assert data.Content(IMAGE, "picture").space == (0, 1)
    assert data.Content(np.zeros((9, 2)), "sound").space == (0,)
    assert data.Content(np.zeros((2, 3, 4))).space == (0, 1, 2)


def test_palette_and_black_and_white_pictures(tmp_path):
    from PIL import Image

    Image.fromarray(IMAGE > 100).save(tmp_path / "x.png")
    np.testing.assert_array_equal(data.read(tmp_path / "x.png").array, (IMAGE > 100) * np.uint8(255))
    colour = np.stack([IMAGE, IMAGE, 255 - IMAGE], axis=-1)
    Image.fromarray(colour).quantize(64).save(tmp_path / "y.png")
    assert data.read(tmp_path / "y.png").array.shape == (7, 5, 3)


@pytest.mark.parametrize("suffix", data.files.SUFFIXES)
def test_missing_empty_folder_and_garbage_are_refused(tmp_path, suffix):
    refused(tmp_path / f"none{suffix}", "not-found")
    (tmp_path / f"folder{suffix}").mkdir()
    refused(tmp_path / f"folder{suffix}", "is-a-folder")
    empty = tmp_path / f"empty{suffix}"
    empty.touch()
    refused(empty, "empty")
    garbage = tmp_path / f"garbage{suffix}"
    garbage.write_bytes(b"\xff\xfehello, this is no data at all" * 20)
    with pytest.raises(FileError) as caught:
        data.read(garbage)
    assert caught.value.code in ("file.wrong-format", "file.broken")


@pytest.mark.parametrize("name", ["x.npy", "x.npz", "x.png", "x.jpg", "x.tiff"])
@pytest.mark.parametrize("kept", [0.3, 0.6, 0.95])
def test_a_truncated_file_is_broken(tmp_path, name, kept):
    path = tmp_path / name
    data.write(path, np.random.default_rng(1).integers(0, 256, (64, 48), dtype=np.uint8))
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * kept)])
    with pytest.raises(FileError) as caught:
        data.read(path)
    assert caught.value.code in ("file.broken", "file.wrong-format")


def test_a_text_file_named_npy(tmp_path):
    path = tmp_path / "x.npy"
    path.write_text("1,2,3\n")
    assert "begins with '1,2,3" in str(refused(path, "wrong-format"))


def test_tables(tmp_path):
    path = tmp_path / "x.csv"
    path.write_text("time,value\n1,2\n")
    assert "row 1, column 1 holds time" in str(refused(path, "not-a-number"))
    path.write_text("1,2\n3, \n")
    assert 'row 2, column 2 holds ""' in str(refused(path, "not-a-number"))
    path.write_text("1,2\n\n3\n")
    assert "row 3 has 1 cells, row 1 has 2" in str(refused(path, "ragged"))
    path.write_text("\n  \n")
    refused(path, "empty")
    path.write_text("\ufeff1\n2\n3\n")
    np.testing.assert_array_equal(data.read(path).array, [1, 2, 3])
    path.write_text("1,2.5\nnan,4\n")
    np.testing.assert_array_equal(data.read(path).array, [[1, 2.5], [np.nan, 4]])


def test_arrays_that_are_no_numbers(tmp_path):
    np.save(tmp_path / "x.npy", np.array(["a", "b"]))
    assert "<U1" in str(refused(tmp_path / "x.npy", "not-numeric"))
    np.save(tmp_path / "y.npy", np.array([1, None], dtype=object), allow_pickle=True)
    refused(tmp_path / "y.npy", "broken")
    np.save(tmp_path / "z.npy", np.zeros((3, 0)))
    refused(tmp_path / "z.npy", "empty")


def test_a_sound_without_samples_and_a_sound_that_is_none(tmp_path):
    data.write(tmp_path / "x.wav", np.zeros(0))
    refused(tmp_path / "x.wav", "empty")
    (tmp_path / "y.wav").write_bytes((tmp_path / "x.wav").read_bytes()[:10])
    refused(tmp_path / "y.wav", "broken")


def test_pictures_that_would_lose_something_are_refused(tmp_path):
    import struct
    import zlib

    def chunk(tag, body):
        return struct.pack(">I", len(body)) + tag + body + struct.pack(">I", zlib.crc32(tag + body))

    row = b"\0" + b"\x12\x34" * 6
    head = struct.pack(">IIBBBBB", 2, 2, 16, 2, 0, 0, 0)
    path = tmp_path / "deep.png"
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(row * 2)) + chunk(b"IEND", b"")
    )
    refused(path, "deep-colour")
    from PIL import Image

    pages = [Image.fromarray(IMAGE), Image.fromarray(IMAGE)]
    pages[0].save(tmp_path / "x.tiff", save_all=True, append_images=pages[1:])
    assert "2 pictures" in str(refused(tmp_path / "x.tiff", "many-pictures"))


@pytest.mark.parametrize(
    ("name", "array"),
    [
        ("x.png", np.zeros((3, 4))),
        ("x.png", np.zeros((3, 4, 2), np.uint8)),
        ("x.jpg", np.zeros((3, 4, 4), np.uint8)),
        ("x.jpg", np.zeros((3, 4), np.uint16)),
        ("x.png", np.zeros(5, np.uint8)),
        ("x.csv", np.zeros((2, 2, 2))),
        ("x.csv", np.array([1j])),
        ("x.wav", np.zeros((2, 2, 2))),
    ],
)
def test_what_a_format_cannot_hold_is_refused_and_the_old_file_stays(tmp_path, name, array):
    path = tmp_path / name
    path.write_bytes(b"old")
    with pytest.raises(FileError) as caught:
        data.write(path, array)
    assert caught.value.code == "file.cannot-hold"
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == [name]


def test_a_write_that_fails_half_way_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "x.npy"
    data.write(path, [1, 2, 3])

    def full_disk(stream, array, **options):
        stream.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "save", full_disk)
    with pytest.raises(FileError, match="No space left on device"):
        data.write(path, [4, 5])
    np.testing.assert_array_equal(np.load(path), [1, 2, 3])
    assert os.listdir(tmp_path) == ["x.npy"]


def test_a_folder_that_may_not_be_written(tmp_path, monkeypatch):
    def denied(**options):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("tempfile.mkstemp", denied)
    with pytest.raises(FileError, match="Permission denied") as caught:
        data.write(tmp_path / "x.npy", [1])
    assert caught.value.code == "file.unwritable"


@pytest.mark.parametrize(
    ("target", "code"),
    [
        ("", "is-a-folder"),
        ("x.doc", "unknown-suffix"),
        ("folder.npy", "is-a-folder"),
        ("no/x.npy", "no-folder"),
    ],
)
def test_outputs_that_cannot_be(tmp_path, target, code):
    (tmp_path / "folder.npy").mkdir()
    with pytest.raises(FileError) as caught:
        data.write(tmp_path / target, [1])
    assert caught.value.code == f"file.{code}"


def test_a_pipe_is_not_replaced(tmp_path):
    os.mkfifo(tmp_path / "x.npy")
    with pytest.raises(FileError) as caught:
        data.write(tmp_path / "x.npy", [1])
    assert caught.value.code == "file.not-a-file"
    assert (tmp_path / "x.npy").is_fifo()


def test_links_and_permissions_are_kept(tmp_path):
    real, link = tmp_path / "real.npy", tmp_path / "link.npy"
    data.write(real, [1])
    os.chmod(real, 0o640)
    link.symlink_to(real)
    data.write(link, [2, 3])
    assert link.is_symlink()
    np.testing.assert_array_equal(np.load(real), [2, 3])
    assert real.stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize(("name", "package"), [("x.png", "PIL"), ("x.wav", "soundfile")])
def test_a_missing_package_names_the_extra(tmp_path, monkeypatch, name, package):
    (tmp_path / name).write_bytes(b"x")
    real_import = builtins.__import__

    def without(wanted, *rest, **more):
        if wanted.split(".")[0] == package:
            raise ImportError(wanted)
        return real_import(wanted, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    for act in (lambda: data.read(tmp_path / name), lambda: data.write(tmp_path / name, IMAGE)):
        with pytest.raises(MissingExtraError, match=r"pip install 'convkit\[image\]'"):
            act()


def test_every_code_of_the_room_is_said_in_both_languages():
    error = FileError("unwritable", path="a.npy", reason="disk full")
    assert error.text("en") == (
        "ConvError[file.unwritable]: a.npy cannot be written: disk full\n"
        "  rule   the folder may be written to and has room; nothing was changed\n"
        "  try    another folder, or its permissions"
    )
    assert "无法写入 a.npy：disk full" in error.text("zh")
    source = "".join(path.read_text() for path in Path(data.__file__).parent.glob("*.py"))
    words = json.loads((Path(data.__file__).parents[1] / "locales" / "en" / "data.json").read_text(encoding="utf-8"))
    for name in (*words["error"]["file"], *words["error"]["missing"]):
        assert f'"{name}"' in source, name
