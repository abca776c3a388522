import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from chainrule.data import ImageAugmentation, NoiseAugmentation
from chainrule.data.batches import ArrayBatches
from chainrule.errors import InvalidInputError

NOISE = NoiseAugmentation(0.5)


def rows(n_rows, dtype=np.float32, n_outputs=2):
    """Inputs whose first column and targets whose first column are the number of the row."""
    numbers = np.arange(n_rows, dtype=dtype)
    inputs = np.column_stack([numbers, *np.random.default_rng(0).normal(size=(3, n_rows)).astype(dtype)])
    return inputs, np.column_stack([numbers] * n_outputs)


def batches(n_rows=23, batch_size=5, sample_weight=None, *, seed=1, dtype=np.float32, **options):
    return ArrayBatches(*rows(n_rows, dtype), sample_weight, batch_size=batch_size, seed=seed, **options)


def copies(epoch):
    """The batches of an epoch as arrays of their own."""
    return [(batch.inputs.copy(), batch.targets.copy(), np.copy(batch.weights)) for batch in epoch]


def assert_same_bits(some, others):
    assert len(some) == len(others)
    for one, other in zip(some, others, strict=True):
        for part, other_part in zip(one, other, strict=True):
            assert part.dtype == other_part.dtype
            assert part.shape == other_part.shape
            assert part.tobytes() == other_part.tobytes()


@settings(deadline=None)
@given(st.integers(1, 40), st.integers(1, 50), st.booleans(), st.integers(0, 3))
def test_an_epoch_is_every_row_once(n_rows, batch_size, shuffle, number):
    source = batches(n_rows, batch_size, np.arange(n_rows) + 1.0, shuffle=shuffle)
    inputs, targets = rows(n_rows)
    epoch = copies(source.epoch(number))
    sizes = [len(batch_targets) for _, batch_targets, _ in epoch]
    size = min(batch_size, n_rows)
    assert len(sizes) == source.n_batches
    assert sizes[:-1] == [size] * (len(sizes) - 1)  # only the last may be shorter
    assert 1 <= sizes[-1] <= size
    order = np.concatenate([batch_targets[:, 0] for _, batch_targets, _ in epoch]).astype(int)
    assert sorted(order) == list(range(n_rows))
    np.testing.assert_array_equal(np.concatenate([one for one, _, _ in epoch]), inputs[order])
    np.testing.assert_array_equal(np.concatenate([one for _, one, _ in epoch]), targets[order])
    weights = np.concatenate([one for _, _, one in epoch])
    np.testing.assert_allclose(weights, (order + 1) / np.mean(np.arange(n_rows) + 1), rtol=1e-6)
    if not shuffle or size == n_rows:
        assert order.tolist() == list(range(n_rows))


def test_the_order_depends_on_seed_and_epoch_alone():
    def order(number, **options):
        return [int(row) for batch in batches(50, **options).epoch(number) for row in batch.targets[:, 0]]

    assert order(3) == order(3)
    assert order(3, batch_size=7) == order(3)
    assert order(3, dtype=np.float64) == order(3)
    assert order(3, augmentation=NOISE) == order(3)
    different = [order(0), order(1), order(2), order(0, seed=2), list(range(50))]
    assert len({tuple(one) for one in different}) == 5
    used = batches(50)
    list(used.epoch(0))
    assert [int(row) for batch in used.epoch(3) for row in batch.targets[:, 0]] == order(3)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("augmentation", [None, NOISE], ids=["plain", "noise"])
@pytest.mark.parametrize("options", [{}, {"shuffle": False}, {"batch_size": 23}], ids=["shuffled", "in order", "full"])
def test_an_epoch_taken_up_at_any_batch_is_its_tail(options, augmentation, dtype):
    def fresh():
        return batches(sample_weight=np.arange(23) + 1, augmentation=augmentation, dtype=dtype, **options)

    for number in (0, 4):
        whole = copies(fresh().epoch(number))
        for first in range(len(whole) + 1):
            assert_same_bits(copies(fresh().epoch(number, first)), whole[first:])


def test_weights_have_mean_one_and_the_type_of_the_targets():
    source = batches(sample_weight=np.linspace(100, 900, 23), dtype=np.float32)
    assert source.weights.dtype == np.float32
    assert source.weights.mean() == pytest.approx(1, abs=1e-6)
    assert all(batch.weights.shape == (batch.n_rows,) for batch in source.epoch(0))
    assert all(batch.weights is None for batch in batches().epoch(0))


@pytest.mark.parametrize("kind", [sparse.csr_matrix, sparse.csr_array])
@pytest.mark.parametrize("options", [{}, {"shuffle": False}, {"batch_size": 23}])
def test_sparse_rows_stay_sparse_and_come_in_the_same_order(kind, options):
    inputs, targets = rows(23)
    options = {"batch_size": 5, "seed": 1} | options
    source = ArrayBatches(kind(inputs), targets, None, **options)
    dense = ArrayBatches(inputs, targets, None, **options)
    for one, other in zip(source.epoch(2), dense.epoch(2), strict=True):
        assert one.inputs.format == "csr"
        assert one.inputs.dtype == np.float32
        np.testing.assert_array_equal(one.inputs.toarray(), other.inputs)
        np.testing.assert_array_equal(one.targets, other.targets)


@pytest.mark.parametrize("augmentation", [None, NOISE, ImageAugmentation((2, 2), shift=1)], ids=["no", "noise", "im"])
@pytest.mark.parametrize("options", [{}, {"shuffle": False}, {"batch_size": 23}], ids=["shuffled", "in order", "full"])
def test_the_users_arrays_are_never_written_to(options, augmentation):
    inputs, targets = rows(23)
    weights = np.ones(23, np.float32)
    for array in (inputs, targets, weights):
        array.flags.writeable = False
    source = ArrayBatches(
        inputs, targets, weights, **{"batch_size": 5, "seed": 1, "augmentation": augmentation} | options
    )
    for batch in source.epoch(0):
        assert np.shares_memory(batch.inputs, inputs) == (augmentation is None and bool(options))
    inputs_again, targets_again = rows(23)
    np.testing.assert_array_equal(inputs, inputs_again)
    np.testing.assert_array_equal(targets, targets_again)


def test_buffers_are_used_again():
    source = batches(sample_weight=np.ones(23))
    places = {tuple(part.ctypes.data for part in batch) for number in range(3) for batch in source.epoch(number)}
    assert len(places) == 1


@pytest.mark.parametrize("augmentation", [None, NOISE], ids=["plain", "noise"])
def test_nothing_that_grows_with_the_data_is_allocated(augmentation):
    def peak(n_rows):
        source = batches(n_rows, 100, np.ones(n_rows), augmentation=augmentation)
        epoch = source.epoch(0)
        next(epoch)
        next(epoch)
        tracemalloc.start()
        for _ in epoch:
            pass
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return most

    peak(300)  # what is loaded on first use
    assert peak(30_000) < peak(3_000) + 2_000


@pytest.mark.parametrize("options", [{}, {"shuffle": False}, {"batch_size": 23}], ids=["shuffled", "in order", "full"])
def test_every_batch_of_every_epoch_is_augmented_anew(options):
    plain, noisy = batches(**options), batches(augmentation=NOISE, **options)
    draws = []
    for number in range(3):
        for (bare, targets, _), (inputs, noisy_targets, _) in zip(
            copies(plain.epoch(number)), copies(noisy.epoch(number)), strict=True
        ):
            np.testing.assert_array_equal(targets, noisy_targets)
            draws.append((inputs - bare)[:3])
    noise = np.concatenate([draw.ravel() for draw in draws])
    assert np.std(noise) == pytest.approx(0.5, rel=0.3)
    assert len({tuple(np.round(draw.ravel(), 3)) for draw in draws}) == len(draws)  # rounded: inputs differ in size
    other_seed = copies(batches(augmentation=NOISE, seed=2, **{**options, "shuffle": False}).epoch(0))
    same_rows = copies(batches(augmentation=NOISE, seed=1, **{**options, "shuffle": False}).epoch(0))
    assert (other_seed[0][0] != same_rows[0][0]).all()


def test_an_augmentation_of_nothing_keeps_every_bit():
    nothing = ImageAugmentation((2, 2))
    for options in ({}, {"shuffle": False}):
        assert_same_bits(copies(batches(augmentation=nothing, **options).epoch(1)), copies(batches(**options).epoch(1)))


def test_the_fingerprint_tells_data_and_settings_apart():
    inputs, targets = rows(23)
    options = {"batch_size": 5, "seed": 1}

    def mark(inputs=inputs, targets=targets, **more):
        return ArrayBatches(inputs, targets, None, **options | more).fingerprint()

    changed_inputs, changed_targets = inputs.copy(), targets.copy()
    changed_inputs[7, 2] += 1e-3
    changed_targets[22, 1] += 1e-3
    others = [
        mark(),
        mark(changed_inputs),
        mark(targets=changed_targets),
        mark(inputs[::-1]),
        mark(inputs[:22], targets[:22]),
        mark(inputs.astype(np.float64)),
        mark(batch_size=6),
        mark(augmentation=NOISE),
        mark(augmentation=NoiseAugmentation(0.25)),
        mark(augmentation=ImageAugmentation((2, 2))),
        mark(augmentation=ImageAugmentation((2, 2), elastic_smoothness=3)),
    ]
    assert len({tuple(one) for one in others}) == len(others)
    assert mark(inputs.copy(), targets.copy(), augmentation=NoiseAugmentation(0.5)) == mark(augmentation=NOISE)
    assert mark(sparse.csr_matrix(inputs)) == mark()
    assert all(type(number) is int for number in mark(augmentation=NOISE))  # JSON holds it


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"batch_size": 0}, "batch size is 0; it must be a whole number >= 1"),
        ({"batch_size": 2.5}, "batch size is 2.5"),
        ({"augmentation": ImageAugmentation((3, 3))}, "3 x 3 have 9 numbers, but the inputs have 4 columns"),
    ],
)
def test_what_cannot_be_is_refused_before_training(change, message):
    with pytest.raises(InvalidInputError, match=message):
        batches(**change)


def test_sparse_inputs_are_not_augmented():
    inputs, targets = rows(5)
    with pytest.raises(InvalidInputError, match="sparse matrix cannot be augmented"):
        ArrayBatches(sparse.csr_matrix(inputs), targets, None, batch_size=2, seed=0, augmentation=NOISE)
