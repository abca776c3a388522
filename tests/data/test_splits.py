import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.model_selection import train_test_split

from chainrule.data import split_rows, train_validation_test
from chainrule.errors import DataError, InvalidInputError

ROWS = st.integers(2, 200)
SHARE = st.floats(0.01, 0.99)
SEED = st.integers(0, 2**32 - 1)


def covers(n_rows, *parts):
    return np.array_equal(np.sort(np.concatenate(parts)), np.arange(n_rows)) and all(len(part) for part in parts)


@given(ROWS, SHARE, SEED)
def test_random_parts_cover_every_row_once(n_rows, share, seed):
    train, test = split_rows(n_rows, share, seed=seed)
    assert covers(n_rows, train, test)
    assert abs(len(test) - share * n_rows) < 1 or len(train) == 1
    again = split_rows(n_rows, share, seed=seed)
    assert np.array_equal(train, again[0])
    assert np.array_equal(test, again[1])


@given(st.lists(st.integers(4, 40), min_size=2, max_size=5), st.floats(0.2, 0.8), SEED)
def test_stratified_shares_hold_within_one_row(counts, share, seed):
    labels = np.repeat(np.arange(len(counts)), counts)
    n_test = int(np.ceil(share * len(labels) - 1e-9))
    if min(n_test, len(labels) - n_test) < len(counts):
        return
    train, test = split_rows(len(labels), share, strategy="stratified", labels=labels, seed=seed)
    assert covers(len(labels), train, test)
    found = np.bincount(labels[test], minlength=len(counts))
    assert np.all(np.abs(found - np.array(counts) * len(test) / len(labels)) < 1 + 1e-9)


@given(st.lists(st.sampled_from("abcdef"), min_size=3, max_size=60).filter(lambda g: len(set(g)) > 1), SHARE, SEED)
def test_groups_never_straddle(groups, share, seed):
    train, test = split_rows(len(groups), share, strategy="group", groups=groups, seed=seed)
    assert covers(len(groups), train, test)
    assert not {groups[row] for row in train} & {groups[row] for row in test}


@given(st.lists(st.integers(0, 30), min_size=2, max_size=60), SHARE)
def test_time_goes_forward(times, share):
    train, test = split_rows(len(times), share, strategy="time", times=times)
    assert covers(len(times), train, test)
    moments = np.array(times)
    assert max(moments[train]) <= min(moments[test])
    if len(set(times)) > 1:
        assert max(moments[train]) < min(moments[test]), "rows of the same time stay on one side"
        backwards = split_rows(len(times), share, strategy="time", times=times[::-1])
        later = np.sort(len(times) - 1 - backwards[1])
        assert np.array_equal(later, np.sort(test)), "the order of the rows does not matter"


def test_a_time_that_is_missing_is_named():
    for times in ([1.0, np.nan, 3.0], np.array(["2024-01-01", "NaT", "2024-01-03"], "M8[D]")):
        with pytest.raises(DataError, match="times is missing in row 2"):
            split_rows(3, 1, strategy="time", times=times)


@settings(deadline=None)
@given(st.integers(8, 200), SEED, st.sampled_from(["random", "stratified", "time", "group"]))
def test_three_parts_cover_every_row_once(n_rows, seed, strategy):
    labels = np.arange(n_rows) % 2
    groups = np.arange(n_rows) % 7
    parts = train_validation_test(
        n_rows, 0.25, 0.25, strategy=strategy, labels=labels, groups=groups, times=-np.arange(n_rows), seed=seed
    )
    assert covers(n_rows, *parts)
    if strategy == "time":
        assert min(parts[0]) > max(parts[1]) > max(parts[2])
    if strategy == "group":
        assert sum(len(set(groups[part])) for part in parts) == 7


def test_the_rows_are_those_of_scikit_learn():
    labels = np.arange(100) % 3
    train, test = split_rows(100, 0.2, strategy="stratified", labels=labels, seed=42)
    theirs = train_test_split(np.arange(100), test_size=0.2, stratify=labels, random_state=42)
    assert np.array_equal(train, theirs[0])
    assert np.array_equal(test, theirs[1])
    assert len(split_rows(30, 0.1, seed=0)[1]) == 3  # 0.1 * 30 > 3 in binary


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n_rows": 1, "test_size": 0.5}, "at least 2 rows"),
        ({"n_rows": 9, "test_size": 1.5}, "share between 0 and 1"),
        ({"n_rows": 9, "test_size": 0.0}, "share between 0 and 1"),
        ({"n_rows": 9, "test_size": 9}, "between 1 and 8"),
        ({"n_rows": 9, "test_size": True}, "share between 0 and 1"),
        ({"n_rows": 9, "test_size": float("nan")}, "share between 0 and 1"),
        ({"n_rows": 9, "test_size": "a"}, "share between 0 and 1"),
        ({"n_rows": 9, "test_size": 0.5, "strategy": "stratify"}, "Did you mean 'stratified'"),
        ({"n_rows": 9, "test_size": 0.5, "strategy": "stratified"}, "needs labels="),
        (
            {"n_rows": 3, "test_size": 0.5, "strategy": "stratified", "labels": ["a", "a", "b"]},
            "class b has only one row",
        ),
        ({"n_rows": 4, "test_size": 1, "strategy": "stratified", "labels": list("aabb")}, "at least 2 rows in each"),
        ({"n_rows": 3, "test_size": 0.5, "strategy": "stratified", "labels": ["a"]}, "one value per row"),
        ({"n_rows": 3, "test_size": 0.5, "strategy": "group", "groups": [1, 1, 1]}, "two groups"),
        ({"n_rows": 9, "test_size": 0.5, "seed": -1}, "seed"),
    ],
)
def test_impossible_splits_say_why(arguments, message):
    with pytest.raises(InvalidInputError, match=message):
        split_rows(**arguments)


def test_three_parts_leave_something_to_train_on():
    with pytest.raises(InvalidInputError, match="leave no training rows"):
        train_validation_test(10, 0.5, 0.5)
