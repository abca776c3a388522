"""The parsers of published formats, above all with files that are damaged or hostile."""

import gzip
import io
import pickle
import struct
import tarfile
import zipfile

import numpy as np
import pytest

from chainrule.data.catalog.california import read_blocks
from chainrule.data.catalog.idx import read_idx
from chainrule.data.catalog.imdb import multi_hot
from chainrule.data.catalog.imdb_reviews import bags_of_words, read_reviews
from chainrule.data.catalog.mnist import read_images
from chainrule.data.catalog.safe_unpickle import read_member
from chainrule.data.catalog.uci_har import read_derived, read_official
from chainrule.errors import DataError

IMAGES = struct.pack(">IIII", 0x803, 2, 3, 4) + bytes(range(24))
LABELS = struct.pack(">II", 0x801, 2) + b"\x07\x01"


def test_idx(tmp_path):
    (tmp_path / "i.gz").write_bytes(gzip.compress(IMAGES, mtime=0))
    (tmp_path / "l").write_bytes(LABELS)
    np.testing.assert_array_equal(read_idx(tmp_path / "i.gz", 3).ravel(), np.arange(24))
    dataset = read_images(tmp_path / "i.gz", tmp_path / "l", tuple("0123456789"), "two")
    assert dataset.image_shape == (3, 4)
    assert dataset.y.tolist() == [7, 1]
    assert dataset.X.dtype == np.float32
    assert dataset.X.max() == np.float32(23 / 255)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        *[(IMAGES[:cut], "header") for cut in range(16)],
        *[(IMAGES[:cut], "bytes instead of") for cut in range(16, 40, 3)],
        (IMAGES + b"x", "more bytes"),
        (LABELS + bytes(20), "begins with 00 00 08 01"),
        (b"\x00\x00\x0d\x03" + IMAGES[4:], "begins with"),
        (b"\x01\x00\x08\x03" + IMAGES[4:], "begins with"),
        (struct.pack(">IIII", 0x803, 2**31, 2**31, 2**31), "invalid shape"),
        (struct.pack(">IIII", 0x803, 0, 3, 4), "invalid shape"),
        (gzip.compress(IMAGES, mtime=0)[:-8], "damaged gzip"),
        (gzip.compress(IMAGES, mtime=0)[:20] + b"garbage", "damaged gzip"),
        (b"\x1f\x8b", "damaged gzip"),
    ],
)
def test_damaged_idx_is_refused(tmp_path, content, message):
    (tmp_path / "images").write_bytes(content)
    with pytest.raises(DataError, match=message):
        read_idx(tmp_path / "images", 3)


@pytest.mark.parametrize(("labels", "message"), [(b"\x01", "2 images"), (b"\x01\x0a", "label 10 in row 2")])
def test_labels_that_do_not_fit_are_refused(tmp_path, labels, message):
    (tmp_path / "i").write_bytes(IMAGES)
    (tmp_path / "l").write_bytes(struct.pack(">II", 0x801, len(labels)) + labels)
    with pytest.raises(DataError, match=message):
        read_images(tmp_path / "i", tmp_path / "l", tuple("0123456789"), "two")


def npz_with(
    path, pickled=None, *, member="x_train.npy", header="{'descr': '|O', 'fortran_order': False, 'shape': (2,), }"
):
    start = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode()
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(member, start + (pickled or b""))
    return path


def lists(*entries):
    array = np.empty(len(entries), dtype=object)
    array[:] = entries
    return array


@pytest.mark.parametrize("core", [b"numpy.core", b"numpy._core"])
@pytest.mark.parametrize("protocol", [3, 4, 5])
def test_lists_of_ranks_are_read(tmp_path, core, protocol):
    pickled = pickle.dumps(lists([1, 2, 700], [3]), protocol=protocol)
    if protocol < 4:  # a later protocol counts the bytes of its names
        pickled = pickled.replace(b"cnumpy._core.multiarray", b"c" + core + b".multiarray")
    array = read_member(npz_with(tmp_path / "a.npz", pickled), "x_train")
    assert array.tolist() == [[1, 2, 700], [3]]
    np.savez(tmp_path / "b.npz", y_train=np.arange(3))
    assert read_member(tmp_path / "b.npz", "y_train").tolist() == [0, 1, 2]


class Call:
    def __init__(self, function, *arguments):
        self.function, self.arguments = function, arguments

    def __reduce__(self):
        return self.function, self.arguments


def _mark(path):
    return Call(open, str(path), "w")


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("place", ["alone", "in a list", "as an element", "by name"])
def test_a_hostile_pickle_is_refused_and_nothing_runs(tmp_path, protocol, place):
    mark = tmp_path / "executed"
    call = _mark(mark)
    if place == "by name":
        pickled = b"cos\nsystem\n(S'touch " + str(mark).encode() + b"'\ntR."
    else:
        pickled = pickle.dumps(
            {"alone": call, "in a list": [call], "as an element": lists([1], [call])}[place], protocol
        )
    with pytest.raises(DataError, match="refused"):
        read_member(npz_with(tmp_path / "a.npz", pickled), "x_train")
    assert not mark.exists()


GOOD = pickle.dumps(lists([1, 2, 3], [4, 5]), protocol=3)


@pytest.mark.parametrize(
    "pickled",
    [
        b"", b"garbage", b".", b"N.", b"(lp0\n.", b"cnumpy\nload\n.", b"cnumpy\nndarray\n.", b"cbuiltins\neval\n.",
        b"cnumpy\ndtype.type\n.", b"\x80\x04\x8c\x05numpy\x8c\x0bdtype.mro__\x93.", b"Pid\n.", b"\x80\x63.",
        b"cnumpy\ndtype\n(S'O'\ntR.", b"g9\n.", b"\x82\x01.",
        pickle.dumps([1, 2]), pickle.dumps(lists([1])), pickle.dumps(np.arange(2)), pickle.dumps(lists("a", "b")),
        pickle.dumps(lists([1], (2,))), pickle.dumps(lists({}, [])), pickle.dumps(lists(lists([1]), [1])),
        *[GOOD[:cut] for cut in range(0, len(GOOD), 7)],
    ],
)  # fmt: skip
def test_a_damaged_pickle_is_refused(tmp_path, pickled):
    with pytest.raises(DataError):
        read_member(npz_with(tmp_path / "a.npz", pickled), "x_train")


def test_damaged_archives_are_refused(tmp_path):
    with pytest.raises(DataError, match="no array 'y_train'"):
        read_member(npz_with(tmp_path / "a.npz", GOOD), "y_train")
    with pytest.raises(DataError, match="but the maximum is"):
        read_member(tmp_path / "a.npz", "x_train", max_bytes=10)
    (tmp_path / "b.npz").write_bytes((tmp_path / "a.npz").read_bytes()[:50])
    with pytest.raises(DataError, match="damaged"):
        read_member(tmp_path / "b.npz", "x_train")
    with pytest.raises(DataError):
        read_member(npz_with(tmp_path / "c.npz", header="__import__('os')"), "x_train")


def test_multi_hot_counts_every_word_once():
    matrix = multi_hot(lists([1, 2, 2, 996, 997, 50_000], [], [5]), 1000)
    assert matrix.shape == (3, 1000)
    assert matrix.dtype == np.float32
    assert [row.indices.tolist() for row in matrix] == [[4, 5, 999], [], [8]]
    assert set(matrix.data) == {1.0}
    for ranks in (["a"], [0], [[1]], [2**70]):
        with pytest.raises(DataError):
            multi_hot(lists(ranks))


@pytest.mark.parametrize("mode", ["w:gz", "w:xz"])
def test_reviews_come_from_the_archive(tmp_path, mode):
    texts = {
        "train/pos/0_9.txt": "A good, good film", "train/neg/0_1.txt": "A bad film", "test/pos/1_10.txt": "good",
        "test/neg/1_2.txt": "so bad", "imdb.vocab": "the", "train/unsup/0_0.txt": "ignored",
    }  # fmt: skip
    with tarfile.open(tmp_path / "reviews", mode) as archive:
        for name, text in texts.items():
            info = tarfile.TarInfo(f"aclImdb/{name}")
            info.size = len(text)
            archive.addfile(info, io.BytesIO(text.encode()))
    frame = read_reviews(tmp_path / "reviews")
    assert frame["rating"].tolist() == [2, 10, 1, 9]
    assert frame["label"].tolist() == ["negative", "positive"] * 2
    source = bags_of_words(frame, num_words=3)
    assert source.train.feature_names == ("a", "film", "good")
    assert source.train.X.toarray().tolist() == [[1, 1, 0], [1, 1, 1]]
    assert source.test.X.toarray().tolist() == [[0, 0, 0], [0, 0, 1]]
    whole = (tmp_path / "reviews").read_bytes()
    (tmp_path / "half").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match="damaged"):
        read_reviews(tmp_path / "half")


def test_the_official_har_archive_within_an_archive(tmp_path):
    inner = io.BytesIO()
    with zipfile.ZipFile(inner, "w") as archive:
        files = {"features.txt": "1 f\n2 g\n3 f\n", "activity_labels.txt": "1 WALKING\n2 SITTING\n"}
        for part, rows in (("train", 3), ("test", 2)):
            files[f"{part}/X_{part}.txt"] = "  1.0000000e-001 -2.0000000e+000  3.0000000e+000\n" * rows
            files[f"{part}/y_{part}.txt"] = "2\n1\n2\n"[: 2 * rows]
            files[f"{part}/subject_{part}.txt"] = "7\n" * rows
        for name, text in files.items():
            archive.writestr(f"UCI HAR Dataset/{name}", text)
    (tmp_path / "inner.zip").write_bytes(inner.getvalue())
    with zipfile.ZipFile(tmp_path / "outer.zip", "w") as archive:
        archive.writestr("UCI HAR Dataset.zip", inner.getvalue())
    for name in ("inner.zip", "outer.zip"):
        source = read_official(tmp_path / name)
        assert source.train.X.tolist() == [[np.float32(0.1), -2, 3]] * 3
        assert source.train.target.decode(np.eye(2)[source.train.y]).tolist() == ["SITTING", "WALKING", "SITTING"]
        assert source.train.feature_names == ("f", "g", "f (2)")
        assert source.test.groups.tolist() == [7, 7]
    (tmp_path / "bad.zip").write_bytes(inner.getvalue()[:200])
    for read in (read_official, read_derived):
        with pytest.raises(DataError, match="damaged"):
            read(tmp_path / "bad.zip")


def test_california_comes_from_its_archive(tmp_path):
    row = b"-122.23,37.88,41,880,129,322,126,8.3252,452600\n"
    with tarfile.open(tmp_path / "cal.tgz", "w:gz") as archive:
        info = tarfile.TarInfo("CaliforniaHousing/cal_housing.data")
        info.size = 2 * len(row)
        archive.addfile(info, io.BytesIO(row * 2))
    assert len(read_blocks(tmp_path / "cal.tgz")) == 2
    (tmp_path / "bad.tgz").write_bytes(b"nothing")
    with pytest.raises(DataError, match="not the archive"):
        read_blocks(tmp_path / "bad.tgz")
