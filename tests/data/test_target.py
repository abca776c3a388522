import json

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from chainrule.data import Target
from chainrule.data.target import missing_labels
from chainrule.errors import ChainruleWarning, DataError, InvalidInputError


@pytest.mark.parametrize(
    ("y", "task", "classes"),
    [
        (["a", "b", "a"], "binary", ("a", "b")),
        (["a", "b", "c"], "multiclass", ("a", "b", "c")),
        ([True, False], "binary", (False, True)),
        ([0, 1, 1], "binary", (0, 1)),
        ([0.0, 1.0], "binary", (0.0, 1.0)),
        (list(range(20)), "multiclass", tuple(range(20))),
        (list(range(21)), "regression", ()),
        ([0.5, 1.5, 2.0], "regression", ()),
        (pd.Series(["x", "y"], dtype="category"), "binary", ("x", "y")),
        (pd.array([1, 2, 3], dtype="Int64"), "multiclass", (1, 2, 3)),
        (pl.Series(["no", "yes"]), "binary", ("no", "yes")),
        (np.array([["u"], ["v"]]), "binary", ("u", "v")),
        (np.array([b"u", b"v"]), "binary", ("u", "v")),
        (np.array([1, "one"], dtype=object), "binary", (1, "one")),
    ],
)
def test_task_and_classes_are_found(y, task, classes):
    target = Target.detect(y)
    assert (target.task, target.classes) == (task, classes)
    assert [type(label) for label in target.classes] == [type(label) for label in classes]
    assert Target.from_dict(json.loads(json.dumps(target.to_dict()))) == target


@pytest.mark.parametrize(
    ("y", "task", "message"),
    [
        (["a", "a"], None, "only one class, 'a'"),
        ([3, 3], None, "is constant, 3 in every row.* task='regression'"),
        ([2.5], None, "is constant, 2.5 in every row.* task='regression'"),
        ([1.0, np.nan], None, "missing .* row 2"),
        (["a", None], None, "missing in row 2"),
        (pd.array([1, None], dtype="Int64"), None, "missing .NaN. in row 2"),
        ([1.0, np.inf, 2.0], None, "infinite in row 2"),
        ([], None, "empty"),
        ([[1], [1, 2]], None, "different lengths"),
        ([1j, 2j], None, "complex"),
        (["a", "b", "c"], "binary", "3 distinct values .a, b, c."),
        (["a", "b"], "regression", "'a' in row 1"),
        ([0.5, 1.5, 2.0], "multiclass", "Unknown label type.* row 1"),
        ([0, 1], "binarry", "Did you mean 'binary'"),
        (np.zeros((2, 2, 2)), None, "shape"),
        (np.array(["2020-01-01"], dtype="M8[D]"), None, "dates"),
        ([{}, {}], None, "dict objects .row 1."),
    ],
)
def test_bad_targets_are_refused_in_one_sentence(y, task, message):
    with pytest.raises(InvalidInputError, match=message):
        Target.detect(y, task)


def test_an_unknown_class_is_named_with_its_row():
    with pytest.raises(DataError, match=r"'yess' in row 2.*Did you mean 'yes'"):
        Target.detect(["yes", "no"]).encode(["no", "yess"])


@pytest.mark.parametrize(
    ("labels", "words", "missing"),
    [
        (pd.Series(["1.5", "-999", "2.5", "-999.0", "n/a"]), ["-999"], [1, 3, 4]),
        (pd.Series([1.5, -999.0, 2.5, 3.5, np.nan]), ["-999"], [1, 4]),
        (pd.Series([1, -999, 0, 1, -999]), ["-999"], [1, 4]),
        (pd.Series(["0,255", "-999,0", "2,5", "3,5", "4,5"]), ["-999"], [1]),
        (pd.Series(["ja", "keine", "nein", None, "ja"]), ["keine"], [1, 3]),
        (pd.Series(["ja", "keine", "nein", None, "ja"], dtype="category"), ["keine"], [1, 3]),
        (pd.Series(["NA", "PT", "DE", "FR", "PT"]), ["NA"], [0]),
        (pd.Series(["NA", "PT", "DE", "FR", "PT"]), [], []),
    ],
    ids=["text", "floats", "integers", "decimal comma", "words", "a category", "NA", "no words"],
)
def test_words_for_a_missing_value_hold_for_the_target(labels, words, missing):
    assert np.flatnonzero(missing_labels(labels, words)).tolist() == missing
    present = labels.drop(missing)
    target = Target.learn(present, missing_words=words)
    assert np.flatnonzero(Target.from_dict(target.to_dict()).is_missing(labels)).tolist() == missing
    assert target.task == Target.learn(present).task


def test_outputs_and_labels():
    binary, many = Target.detect(["n", "y"]), Target.detect([3, 5, 9])
    codes = binary.encode(["y", "n"])
    np.testing.assert_array_equal(binary.as_outputs(codes, 1), [[1], [0]])
    np.testing.assert_array_equal(binary.as_outputs(codes, 2, "float64"), [[0, 1], [1, 0]])
    np.testing.assert_array_equal(many.as_outputs(many.encode([9.0, 3.0]), 3), [[0, 0, 1], [1, 0, 0]])
    assert binary.decode(np.array([[0.5], [0.49]])).tolist() == ["y", "n"]
    assert many.decode(np.array([[0.1, 0.2, 0.7]])).tolist() == [9]
    assert (binary.n_outputs, many.n_outputs, Target("regression", n_columns=2).n_outputs) == (1, 3, 2)
    with pytest.raises(InvalidInputError, match=r"has 3 output units.* needs 1 \(sigmoid\) or 2"):
        binary.as_outputs(codes, 3)
    with pytest.raises(InvalidInputError, match="needs 3"):
        many.as_outputs(np.array([0]), 1)
    for codes, wanted in ((np.array([0, 2]), many), (np.zeros((2, 2)), many), (np.zeros((2, 3)), binary)):
        with pytest.raises(InvalidInputError, match=r"probabilities of shape \(rows, [23]\).*labels_of"):
            wanted.decode(codes)


def test_regression_keeps_its_columns():
    two = np.arange(6.0).reshape(3, 2)
    target = Target.detect(two)
    assert target == Target("regression", n_columns=2)
    np.testing.assert_array_equal(target.as_outputs(target.encode(two), 2, "float64"), two)
    one = Target.detect([1.5, 2.5, 3.5])
    assert one.as_outputs(one.encode([1.5]), 1).shape == (1, 1)
    assert one.decode(np.zeros((4, 1))).shape == (4,)
    with pytest.raises(DataError, match="1 columns"):
        target.encode([1.0, 2.0])


@pytest.mark.filterwarnings("ignore:The classes")
# NumPy's text arrays drop trailing NUL characters, so labels have none.
@given(st.lists(st.text(max_size=4).map(lambda text: text.rstrip("\0")), min_size=2))
def test_labels_come_back(labels):
    assume(len(set(labels)) > 1)
    target = Target.detect(labels)
    outputs = target.as_outputs(target.encode(labels), len(target.classes))
    assert target.decode(outputs).tolist() == labels


@pytest.mark.parametrize(
    "values",
    [{}, {"task": "binary"}, {"task": "binary", "classes": ["a"], "n_columns": 1},
     {"task": "x", "classes": [], "n_columns": 1}, {"task": "binary", "classes": ["a", "a"], "n_columns": 1}],
)  # fmt: skip
def test_a_damaged_description_is_refused(values):
    with pytest.raises(InvalidInputError):
        Target.from_dict(values)


# Long whole numbers and bytes ---------------------------------------------------------------------

IDS = [12345678901234567890123456, 12345678901234567890123457]


@pytest.mark.parametrize(
    "labels",
    [
        [2**64, 1, 2**64, 1],
        [*IDS, *IDS],
        [-(2**70), 3, 2**63, 3],
        [2**63, -1, 2**63 + 1, -1],
        [2**63 - 1, 2**63 - 2, 2**63 - 1],
        np.array([2**63, 2**63 + 1], np.uint64),
        np.array([*IDS, 5], object),
        (2**63, -(2**63)),
    ],
    ids=str,
)
def test_long_whole_numbers_are_labels_to_the_digit(labels):
    target = Target.detect(labels)
    wanted = [int(label) for label in labels]
    assert set(target.classes) == set(wanted)
    assert all(type(label) is int for label in target.classes)
    assert target.class_array()[target.encode(labels)].tolist() == wanted
    assert Target.from_dict(json.loads(json.dumps(target.to_dict()))) == target


def test_many_long_whole_numbers_are_a_regression_like_any_others():
    labels = [10**25 + 10**20 * k for k in range(30)]
    assert Target.detect(labels) == Target("regression")
    np.testing.assert_array_equal(Target("regression").encode(labels), np.array(labels, float))


def test_whole_numbers_that_floats_cannot_tell_apart_are_no_constant():
    for values in (np.arange(2**63 - 40, 2**63 - 10), [2**64 + k for k in range(30)]):
        with pytest.raises(DataError, match=r"whole numbers near \d+ that are equal as 64-bit floats"):
            Target.detect(values, "regression")
    assert Target.detect(np.full(30, 2**63 - 1), "regression").task == "regression"


def test_bytes_are_text_in_utf_8():
    target = Target.detect(["é".encode(), b"b", b"b"])
    assert target.classes == ("b", "é")
    for labels in ([b"\xe9", b"b"], np.array([b"b", b"\xff\xfe"])):
        with pytest.raises(DataError, match="bytes that are not UTF-8"):
            Target.detect(labels)


def test_absurdly_long_whole_numbers_are_refused():
    for labels in ([10**5000, 1, 2], [-(10**100), 0.5]):
        with pytest.raises(DataError, match="more than 100 digits in row 1"):
            Target.detect(labels)


def test_classes_that_differ_only_in_case_or_white_space_are_warned_about() -> None:
    labels = [" spam", "Spam", "ham", "spam", "Ham", "eggs"]
    expected = (
        r"classes ' spam', 'Spam' and 'spam'; 'Ham' and 'ham' of the target differ only in case or in white space,"
    )
    with pytest.warns(ChainruleWarning, match=expected):
        assert len(Target.detect(labels).classes) == 6
    with pytest.warns(ChainruleWarning, match="classes 'Ham' and 'ham'; 'Spam' and 'spam' of the target"):
        Target.learn(pd.Series(labels))
    Target.detect(["spam", "ham", "eggs"])
