"""Data sets are recognised, read whole or refused; parts depend on a seed and never overlap."""

from __future__ import annotations

import gzip
import hashlib
import io
import pickle
import shutil
import struct
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from convkit import data
from convkit.catalogue import LANGUAGES, using
from convkit.data import tree
from convkit.errors import ConvError
from tests.data.picture_sets import CLASSES, idx, stripes, write_cifar, write_folder, write_idx


def parts_of(place, **options):
    return data.divided(data.open_collection(place, **options), validation=0.1, seed=0)


def refused(code, place, **options):
    with pytest.raises(ConvError) as caught:
        parts_of(place, **options)
    assert caught.value.code == code, str(caught.value)
    for language in LANGUAGES:
        text = caught.value.text(language)
        assert len(text.splitlines()) == 3, text
    return str(caught.value)


def all_of(part):
    return part.take(np.arange(len(part)))


@pytest.mark.parametrize("packed", ["yes", "no"])
def test_idx_files(tmp_path, packed):
    whole = data.open_collection(write_idx(tmp_path / "set" / "raw", packed=packed).parent)
    assert (whole.kind, whole.shape, whole.classes) == ("idx", (12, 10, 1), ("0", "1", "2"))
    images, labels = stripes(90, seed=1)
    np.testing.assert_array_equal(all_of(whole.train), images)
    np.testing.assert_array_equal(whole.train.labels, labels)
    assert len(whole.test) == 30
    assert [note.key for note in whole.notes] == ["not-published"]
    with using("zh"):
        assert "逐字节" in str(whole.notes[0])


def test_idx_test_files_alone(tmp_path):
    whole = data.open_collection(write_idx(tmp_path, train=0))
    assert whole.train is None
    assert len(whole.test) == 30
    assert "convkit evaluate" in refused("data.nothing-to-learn", tmp_path)


def test_a_plain_file_beside_its_packed_twin_is_read_once(tmp_path):
    write_idx(tmp_path)
    write_idx(tmp_path, packed="no")
    assert len(data.open_collection(tmp_path).train) == 90


@pytest.mark.parametrize(
    ("name", "change", "code", "said"),
    [
        ("train-images-idx3-ubyte", lambda b: b[:-7], "data.truncated", "10809 == 10816"),
        ("train-images-idx3-ubyte", lambda b: b + b"x", "data.truncated", "10817 == 10816"),
        ("train-labels-idx1-ubyte", lambda b: b[:3], "data.truncated", "3 == 4"),
        ("train-images-idx3-ubyte", lambda b: b[:6], "data.truncated", "6 == 16"),
        ("train-images-idx3-ubyte", lambda b: b"\x00\x01" + b[2:], "data.wrong-magic", "00 01 08 03"),
        ("train-images-idx3-ubyte", lambda b: idx(np.zeros(90, np.uint8)), "data.wrong-magic", "swapped"),
        ("train-labels-idx1-ubyte", lambda b: idx(np.zeros(89, np.uint8)), "data.counts-differ", "90 == 89 is false"),
        ("train-labels-idx1-ubyte", lambda b: None, "data.no-partner", '"labels"'),
        ("train-images-idx3-ubyte", lambda b: idx(np.zeros((90, 9, 9), np.uint8)), "data.sizes-differ", "12x10"),
        ("train-labels-idx1-ubyte", lambda b: idx(np.full(90, -1, np.int8), 9), "data.negative-label", "-1"),
        ("train-images-idx3-ubyte.gz", lambda b: gzip.compress(b"abcdef")[:-3], "file.broken", "gz"),
        ("other-train-labels-idx1-ubyte", lambda b: idx(np.zeros(90, np.uint8)), "data.which-files", "other-train"),
    ],
)
def test_damaged_idx_files(tmp_path, name, change, code, said):
    write_idx(tmp_path, packed="no")
    place = tmp_path / name
    changed = change(place.read_bytes() if place.exists() else b"")
    if name.endswith(".gz"):
        (tmp_path / name.removesuffix(".gz")).unlink()
    if changed is None:
        place.unlink()
    else:
        place.write_bytes(changed)
    assert said in refused(code, tmp_path)


def test_cifar_binary(tmp_path):
    whole = data.open_collection(write_cifar(tmp_path / "cifar-10-batches-bin"))
    assert (whole.kind, whole.shape, whole.name, len(whole.train), len(whole.test)) == (
        "cifar",
        (32, 32, 3),
        "CIFAR-10",
        40,
        20,
    )
    assert whole.classes[3] == "name3"
    images, labels = stripes(20, size=(32, 32), channels=3, classes=10, seed=1)
    np.testing.assert_array_equal(all_of(whole.train)[20:], images)
    np.testing.assert_array_equal(whole.train.labels[20:], labels)


def test_cifar_in_an_archive_and_its_checksum(tmp_path):
    write_cifar(tmp_path / "cifar-10-batches-bin", names="no")
    place = tmp_path / "cifar-10-binary.tar.gz"
    with tarfile.open(place, "w:gz") as archive:
        archive.add(tmp_path / "cifar-10-batches-bin", "cifar-10-batches-bin")
    whole = data.open_collection(place)
    assert {note.key for note in whole.notes} == {"no-class-names", "checksum-differs"}
    assert whole.classes[1] == "automobile"


def test_cifar_100_takes_the_fine_labels(tmp_path):
    whole = data.open_collection(write_cifar(tmp_path, hundred="yes"))
    assert len(whole.classes) == 100
    np.testing.assert_array_equal(whole.train.labels[:10], np.arange(10))


def test_damaged_cifar(tmp_path):
    write_cifar(tmp_path)
    place = tmp_path / "data_batch_2.bin"
    good = place.read_bytes()
    place.write_bytes(good[:-1])
    assert "61460 is false" in refused("data.truncated", tmp_path)
    place.write_bytes(bytes([77]) + good[1:])
    assert "77 < 10 is false" in refused("data.label-too-large", tmp_path)
    place.write_bytes(b"")
    refused("file.empty", tmp_path)
    place.write_bytes(good)
    (tmp_path / "batches.meta.txt").write_text("a\nb\n")
    assert "2 == 10 is false" in refused("data.class-list", tmp_path)


def test_the_pickled_version_is_refused_and_never_loaded(tmp_path, monkeypatch):
    monkeypatch.setattr(pickle, "loads", lambda *_: pytest.fail("a pickle was read"))
    (tmp_path / "data_batch_1").write_bytes(pickle.dumps({"data": b"x" * 4000}, 2))
    assert "binary version" in refused("data.pickled", tmp_path)


@pytest.mark.parametrize("form", ["folder", "zip", "tar.gz"])
@pytest.mark.parametrize("parts", [("train", "val", "test"), ("",)])
def test_image_folders(tmp_path, form, parts):
    write_folder(tmp_path / "top" / "pictures", parts=parts)
    (tmp_path / "top" / "pictures" / "readme.txt").write_text("hello")
    place = tmp_path / "top"
    if form == "zip":
        shutil.make_archive(str(tmp_path / "set"), "zip", tmp_path / "top")
        place = tmp_path / "set.zip"
    elif form == "tar.gz":
        shutil.make_archive(str(tmp_path / "set"), "gztar", tmp_path / "top")
        place = tmp_path / "set.tar.gz"
    whole = data.open_collection(place)
    assert (whole.kind, whole.shape, whole.classes) == ("folder", (12, 10, 1), CLASSES)
    assert whole.divided == ("yes" if "train" in parts else "no")
    assert list(whole.parts()) == (["train", "validation", "test"] if "train" in parts else ["train"])
    assert [note.key for note in whole.notes] == ["ignored"]
    images, _ = stripes(36)
    np.testing.assert_array_equal(all_of(whole.train)[0], images[0])
    assert np.bincount(whole.train.labels).tolist() == [12, 12, 12]


def test_a_folder_too_large_for_memory_is_read_when_needed(tmp_path):
    write_folder(tmp_path)
    small = data.open_collection(tmp_path, limit=100)
    large = data.open_collection(tmp_path)
    assert [note.key for note in small.notes] == ["streamed"]
    np.testing.assert_array_equal(all_of(small.train), all_of(large.train))
    assert small.fingerprint() == large.fingerprint()


def test_size_and_channels(tmp_path):
    write_folder(tmp_path / "a", size=(12, 10))
    write_folder(tmp_path / "b", size=(24, 20), mode="RGB")
    shutil.copytree(
        tmp_path / "b" / "train",
        tmp_path / "a" / "train",
        dirs_exist_ok=True,
        copy_function=lambda s, d: shutil.copy(s, d[:-4] + "x.png"),
    )
    assert "--size 12x10" in refused("data.sizes-differ", tmp_path / "a")
    assert "--channels 1" in refused("data.modes-differ", tmp_path / "a", size=(8, 8))
    whole = data.open_collection(tmp_path / "a", size=(8, 8), channels=3)
    assert whole.shape == (8, 8, 3)
    assert data.open_collection("digits", size=(16, 16), channels=3).shape == (16, 16, 3)
    grey = data.open_collection(tmp_path / "b", channels=1)
    np.testing.assert_array_equal(all_of(grey.train)[0], stripes(36, size=(24, 20))[0][0])


def picture(mode, size=(10, 12)):
    stream = io.BytesIO()
    Image.new(mode, size).save(stream, "PNG")
    return stream.getvalue()


@pytest.mark.parametrize(
    ("content", "code", "said"),
    [
        (picture("RGBA"), "data.mode", "RGBA"),
        (picture("I;16"), "data.deep", "8 bits"),
        (picture("L")[:40], "file.broken", "damaged"),
        (b"not a picture at all", "file.wrong-format", "begins with"),
        (b"", "file.empty", "holds nothing"),
    ],
)
def test_a_picture_that_is_none(tmp_path, content, code, said):
    write_folder(tmp_path)
    (tmp_path / "train" / "down" / "odd.png").write_bytes(content)
    assert said in refused(code, tmp_path)
    if code == "data.mode":
        assert data.open_collection(tmp_path, channels=1).shape == (12, 10, 1)


def test_classes_that_cannot_be_learned(tmp_path):
    write_folder(tmp_path / "a")
    (tmp_path / "a" / "train" / "void").mkdir()
    assert "void" in refused("data.empty-class", tmp_path / "a")
    assert data.open_collection(tmp_path / "a", classes=("down", "grid")).classes == ("down", "grid")
    (tmp_path / "a" / "train" / "void").rename(tmp_path / "a" / "test" / "new")
    (tmp_path / "a" / "test" / "new" / "x.png").write_bytes(picture("L"))
    assert "new" in refused("data.unknown-class", tmp_path / "a")
    write_folder(tmp_path / "b")
    assert "down" in refused("data.one-class", tmp_path / "b", classes=("down",))
    assert "'up'" in refused("option.unknown-value", tmp_path / "b", classes=("down", "up"))
    refused("option.repeated-class", tmp_path / "b", classes=("down", "down"))
    write_folder(tmp_path / "c", parts=("",), count=2)
    assert "2 >= 5 is false" in refused("data.too-few", tmp_path / "c")
    write_idx(tmp_path / "d")
    (tmp_path / "d" / "train-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx(np.array([0, 2] * 45, np.uint8))))
    assert "no label 1" in refused("data.label-gap", tmp_path / "d")


def test_labels_that_begin_at_one(tmp_path):
    """EMNIST's letters are counted from 1; test files alone may show a few of them."""
    pixels = np.zeros((52, 4, 4), np.uint8)
    for part, labels in (("train", np.arange(52) % 26 + 1), ("test", np.arange(52) % 5 + 3)):
        (tmp_path / f"emnist-letters-{part}-images-idx3-ubyte").write_bytes(idx(pixels))
        (tmp_path / f"emnist-letters-{part}-labels-idx1-ubyte").write_bytes(idx(labels.astype(np.uint8)))
    whole = data.open_collection(tmp_path)
    assert whole.classes == tuple(map(str, range(1, 27)))
    assert whole.train.labels[:3].tolist() == [0, 1, 2]
    assert whole.test.labels[:3].tolist() == [2, 3, 4]
    for train in tmp_path.glob("*train*"):
        train.unlink()
    alone = data.open_collection(tmp_path)
    assert [alone.classes[label] for label in alone.test.labels[:3]] == ["3", "4", "5"]


def test_a_stray_label_is_named(tmp_path):
    write_idx(tmp_path)
    labels = np.array([0, 1, 2] * 30)
    for stray, kind in ((200, 8), (2_000_000_000, 12)):
        labels[7] = stray
        content = struct.pack(">HBBI", 0, kind, 1, 90) + labels.astype({8: "u1", 12: ">i4"}[kind]).tobytes()
        (tmp_path / "train-labels-idx1-ubyte.gz").write_bytes(gzip.compress(content))
        assert f"the label {stray} (train #7), but no label 3" in refused("data.label-gap", tmp_path)


def test_a_file_of_another_rank_than_its_name_says(tmp_path):
    write_idx(tmp_path)
    place = tmp_path / "train-images-idx3-ubyte.gz"
    place.write_bytes(gzip.compress(bytes([0, 0, 8, 4]) + gzip.decompress(place.read_bytes())[4:]))
    assert "00 00 08 03" in refused("data.wrong-magic", tmp_path)


def test_parts_and_classes_side_by_side(tmp_path):
    write_folder(tmp_path)
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "readme.txt").write_text("hello")
    assert data.open_collection(tmp_path).classes == CLASSES
    (tmp_path / "notes" / "figure.png").write_bytes(picture("L"))
    assert "beside them: notes" in refused("data.parts-and-others", tmp_path)


def test_an_archive_is_read_to_its_end(tmp_path):
    """Damage in a header, at the end mark, and in the checksum that gzip keeps behind everything."""
    write_folder(tmp_path / "a")
    place = Path(shutil.make_archive(str(tmp_path / "set"), "tar", tmp_path / "a"))
    good = place.read_bytes()
    with tarfile.open(place) as archive:
        header = archive.getmembers()[-3].offset
    place.write_bytes(good[: header + 10] + b"?" + good[header + 11 :])
    assert f"at byte {header} " in refused("data.unfinished-archive", place)
    place.write_bytes(good[:header])
    refused("data.unfinished-archive", place)
    packed = gzip.compress(good)
    for damaged in (packed[:-8], packed[:-5] + bytes([packed[-5] ^ 1]) + packed[-4:]):
        (tmp_path / "set.tar.gz").write_bytes(damaged)
        refused("file.broken", tmp_path / "set.tar.gz")
    (tmp_path / "set.tar.gz").write_bytes(packed)
    assert len(data.open_collection(tmp_path / "set.tar.gz").train)
    (tmp_path / "set.tar.gz").write_bytes(b"<html>not found</html>")
    assert "'<html>no'" in refused("file.wrong-format", tmp_path / "set.tar.gz")
    (tmp_path / "set.tar.gz").write_bytes(b"")
    refused("file.empty", tmp_path / "set.tar.gz")


def test_what_is_no_data_set(tmp_path):
    refused("file.not-found", tmp_path / "none")
    refused("data.no-data-set", tmp_path)
    (tmp_path / "x.png").write_bytes(picture("L"))
    assert "x.png" in refused("data.no-data-set", tmp_path)
    refused("data.no-data-set", tmp_path / "x.png")
    (tmp_path / "flat" / "train").mkdir(parents=True)
    (tmp_path / "flat" / "train" / "x.png").write_bytes(picture("L"))
    assert "train/CLASS/" in refused("data.no-pictures", tmp_path / "flat")
    with zipfile.ZipFile(tmp_path / "half.zip", "w") as archive:
        archive.writestr("a/b.png", b"x" * 1000)
    whole = (tmp_path / "half.zip").read_bytes()
    (tmp_path / "half.zip").write_bytes(whole.replace(b"x" * 900, b"y" * 900))
    refused("file.broken", tmp_path / "half.zip")
    (tmp_path / "cut.tar.gz").write_bytes(gzip.compress(bytes(3000))[:20])
    refused("file.broken", tmp_path / "cut.tar.gz")


def test_an_archive_too_large(tmp_path):
    with tarfile.open(tmp_path / "big.tar", "w") as archive:
        member = tarfile.TarInfo("a/b.png")
        member.size = 3 << 20
        archive.addfile(member, io.BytesIO(bytes(3 << 20)))
    assert "1 MiB" in refused("data.archive-too-large", tmp_path / "big.tar", limit=1 << 20)


def test_listed_checksums(tmp_path):
    write_idx(tmp_path)
    name = "train-images-idx3-ubyte.gz"
    right = hashlib.sha256((tmp_path / name).read_bytes()).hexdigest()
    (tmp_path / "SHA256SUMS").write_text(f"{right}  {name}\n")
    assert len(data.open_collection(tmp_path).train) == 90
    (tmp_path / "SHA256SUMS").write_text(f"{right[::-1]} *{name}\n")
    assert "SHA256SUMS" in refused("data.checksum", tmp_path)


def test_links_in_archives_and_circles_of_folders(tmp_path):
    with tarfile.open(tmp_path / "links.tar", "w") as archive:
        member = tarfile.TarInfo("a/b.png")
        member.type, member.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(member)
    refused("data.no-data-set", tmp_path / "links.tar")
    write_folder(tmp_path / "set")
    (tmp_path / "set" / "train" / "down" / "back").symlink_to(tmp_path / "set")
    assert len(tree.plant(tmp_path / "set").files) == 72


def test_division_is_stratified_repeatable_and_without_overlap(tmp_path):
    write_folder(tmp_path, parts=("",), count=40)
    whole = data.open_collection(tmp_path)
    one, two = (data.divided(whole, validation=0.25, seed=7) for _ in range(2))
    other = data.divided(whole, validation=0.25, seed=8)
    assert [len(part) for part in one.parts().values()] == [72, 24, 24]
    names = [set(part.names) for part in one.parts().values()]
    assert sum(map(len, names)) == len(set.union(*names)) == 120
    for part in one.parts().values():
        assert len(set(np.bincount(part.labels).tolist())) == 1
    assert one.test.names == two.test.names != other.test.names
    assert "held-out" in [note.key for note in one.notes]
    assert data.divided(whole, validation=0, seed=7).validation is None
    with pytest.raises(ConvError, match=r"option\.share"):
        data.divided(whole, validation=1.0, seed=0)


def test_digits_keep_their_own_test_part():
    whole = data.open_collection("digits")
    np.testing.assert_array_equal(np.rint(all_of(whole.test)[..., 0] * (16 / 255)), data.digits().test_images)
    assert data.divided(whole, validation=0.1, seed=3).test.names == whole.test.names
