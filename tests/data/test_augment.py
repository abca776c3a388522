import json
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse
from scipy.ndimage import gaussian_filter, map_coordinates

from chainrule.data import AUGMENTATIONS, Augmentation, ImageAugmentation, NoiseAugmentation
from chainrule.errors import InvalidInputError

SHAPE = (9, 12)
EVERYTHING = ImageAugmentation(SHAPE, shift=2, rotation=20, scale=0.2, elastic_strength=20, elastic_smoothness=3)
INSTANCES = [EVERYTHING, NoiseAugmentation(0.5)]


class ChosenDraws:
    """Stands for a random generator whose numbers are known: angle, size, shift of rows, shift of columns."""

    def __init__(self, *draws):
        self.draws = np.array(draws, dtype=float)

    def uniform(self, low, high, shape):
        assert (low, high) == (-1, 1)
        return np.broadcast_to(self.draws[:, np.newaxis], shape)


def pictures(n_images, shape=SHAPE, dtype=np.float32, seed=0):
    return np.random.default_rng(seed).normal(size=(n_images, int(np.prod(shape)))).astype(dtype)


def augmented(augmentation, inputs, rng=5):
    changed = inputs.copy()
    augmentation.apply(changed, np.random.default_rng(rng) if isinstance(rng, int) else rng)
    return changed


def slowly_augmented(augmentation, inputs, seed):
    """The equation of ImageAugmentation, image by image, with the loops of SciPy."""
    rng = np.random.default_rng(seed)
    n_images, (height, width) = len(inputs), augmentation.image_shape
    draws = rng.uniform(-1, 1, (4, n_images))
    fields = np.zeros((2, n_images, height, width))
    if augmentation.elastic_strength:
        fields = rng.random(fields.shape, dtype=inputs.dtype.type).astype(float) * 2 - 1
    center = np.array([height - 1, width - 1]) / 2
    places = np.moveaxis(np.indices((height, width)), 0, 2) - center
    results = []
    for image, (turn, grow, *move), field in zip(inputs, draws.T, fields.swapaxes(0, 1), strict=True):
        angle = np.radians(augmentation.rotation * turn)
        matrix = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
        sources = (places - augmentation.shift * np.array(move)) @ matrix.T / (1 + augmentation.scale * grow) + center
        smooth = [gaussian_filter(part, augmentation.elastic_smoothness, mode="constant") for part in field]
        sources = np.moveaxis(sources, 2, 0) + augmentation.elastic_strength * np.array(smooth)
        results.append(map_coordinates(image.reshape(height, width), sources, order=1, mode="grid-constant").ravel())
    return np.array(results)


@pytest.mark.parametrize(
    ("augmentation", "n_images"),
    [
        (ImageAugmentation(SHAPE, shift=3), 20),
        (ImageAugmentation(SHAPE, rotation=180), 20),
        (ImageAugmentation(SHAPE, scale=0.9), 20),
        (ImageAugmentation(SHAPE, elastic_strength=50, elastic_smoothness=2), 20),
        (ImageAugmentation(SHAPE, shift=2, rotation=20, scale=0.2), 1500),  # more than are changed at a time
        (EVERYTHING, 20),
        (ImageAugmentation((1, 5), shift=1, rotation=10, elastic_strength=3), 4),
    ],
)
def test_images_change_as_the_equation_says(augmentation, n_images):
    inputs = pictures(n_images, augmentation.image_shape, np.float64)
    changed = augmented(augmentation, inputs)
    np.testing.assert_allclose(changed, slowly_augmented(augmentation, inputs, 5), atol=1e-9)
    assert not np.allclose(changed, inputs)


def test_float32_agrees_with_the_equation():
    inputs = pictures(30)
    changed = augmented(EVERYTHING, inputs)
    np.testing.assert_allclose(changed, slowly_augmented(EVERYTHING, inputs, 5), atol=1e-4)


def test_whole_pixels_move_exactly_and_leave_zeros():
    image = pictures(1)
    moved = augmented(ImageAugmentation(SHAPE, shift=2), image, ChosenDraws(1, 1, 1, -0.5)).reshape(SHAPE)
    expected = np.zeros(SHAPE, np.float32)
    expected[2:, :-1] = image.reshape(SHAPE)[:-2, 1:]
    np.testing.assert_array_equal(moved, expected)
    gone = augmented(ImageAugmentation(SHAPE, shift=500), image, ChosenDraws(0, 0, 1, -1))
    np.testing.assert_array_equal(gone, 0)


def test_a_positive_angle_turns_counterclockwise():
    image = pictures(1, (7, 7), np.float64)
    turned = augmented(ImageAugmentation((7, 7), rotation=90), image, ChosenDraws(1, 1, 1, 1))
    np.testing.assert_allclose(turned.reshape(7, 7), np.rot90(image.reshape(7, 7)), atol=1e-12)


@pytest.mark.parametrize(("draw", "size"), [(1, 1.3), (-1, 0.7)])
def test_scale_is_a_share_of_the_size(draw, size):
    distances = np.linalg.norm(np.indices((41, 41)) - 20, axis=0)
    disc = np.clip(10.5 - distances, 0, 1).reshape(1, -1)
    scaled = augmented(ImageAugmentation((41, 41), scale=0.3), disc, ChosenDraws(1, draw, 1, 1))
    assert scaled.sum() / disc.sum() == pytest.approx(size**2, rel=0.02)


def test_what_an_image_shows_stays_there():
    blobs = np.exp(-0.1 * ((np.indices((28, 28)) - 13.5) ** 2).sum(axis=0)).reshape(1, -1).repeat(300, axis=0)
    strong = ImageAugmentation((28, 28), shift=3, rotation=30, scale=0.1, elastic_strength=34)
    changed = augmented(strong, blobs)
    assert changed.sum() == pytest.approx(blobs.sum(), rel=0.03)
    assert changed.std(axis=0).max() > 0.2  # and no two are alike


def test_a_color_image_is_its_channels_moved_alike():
    colors = pictures(5, (*SHAPE, 3))
    together = augmented(ImageAugmentation((*SHAPE, 3), 2, 20, 0.2, 20, 3), colors).reshape(5, -1, 3)
    for channel in range(3):
        alone = augmented(EVERYTHING, colors.reshape(5, -1, 3)[:, :, channel])
        np.testing.assert_array_equal(together[:, :, channel], alone)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("nothing", [ImageAugmentation(SHAPE), NoiseAugmentation(0)], ids=["image", "noise"])
def test_settings_of_zero_keep_every_bit(nothing, dtype):
    inputs = pictures(4, dtype=dtype)
    inputs[0, :3] = [-0.0, np.nan, np.inf]
    assert augmented(nothing, inputs).tobytes() == inputs.tobytes()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("augmentation", INSTANCES, ids=AUGMENTATIONS.name_of)
def test_the_generator_decides_everything(augmentation, dtype):
    inputs = pictures(40, dtype=dtype)
    first = augmented(augmentation, inputs)
    assert first.dtype == dtype
    assert first.tobytes() == augmented(augmentation, inputs).tobytes()
    assert (first != augmented(augmentation, inputs, rng=6)).any(axis=1).all()
    buffer = np.zeros((2 * 40, inputs.shape[1]), dtype)
    view = buffer[::2]
    view[:] = inputs
    augmentation.apply(view, np.random.default_rng(5))
    np.testing.assert_array_equal(view, first)
    assert not buffer[1::2].any()


def test_every_known_augmentation_is_tested():
    assert {type(instance) for instance in INSTANCES} == set(AUGMENTATIONS.classes.values())
    assert AUGMENTATIONS.create("image", image_shape=(2, 2), shift=1) == ImageAugmentation((2, 2), shift=1)
    assert AUGMENTATIONS.create("noise") == NoiseAugmentation(0.1)


@settings(deadline=None, max_examples=50)
@given(
    st.tuples(st.integers(1, 7), st.integers(1, 7)),
    st.tuples(st.floats(0, 50), st.floats(0, 360), st.floats(0, 0.99), st.floats(0, 500), st.floats(0.1, 20)),
    st.integers(0, 99),
)
def test_no_pixel_leaves_the_range_of_the_image_and_zero(shape, strengths, seed):
    inputs = pictures(3, shape, np.float64, seed)
    changed = augmented(ImageAugmentation(shape, *strengths), inputs, seed)
    assert (changed <= np.maximum(inputs.max(axis=1, keepdims=True), 0) + 1e-12).all()
    assert (changed >= np.minimum(inputs.min(axis=1, keepdims=True), 0) - 1e-12).all()


def test_noise_has_its_standard_deviation():
    inputs = pictures(5000, (20,))
    noise = augmented(NoiseAugmentation(0.3), inputs) - inputs
    np.testing.assert_allclose(noise.std(axis=0), 0.3, rtol=0.05)
    np.testing.assert_allclose(noise.mean(axis=0), 0, atol=0.02)
    correlations = np.corrcoef(noise.T) - np.eye(20)
    assert np.abs(correlations).max() < 0.08


@pytest.mark.parametrize(
    "augmentation", [ImageAugmentation((28, 28), 2, 10, 0.1, 34), NoiseAugmentation()], ids=AUGMENTATIONS.name_of
)
def test_a_large_batch_needs_no_large_memory(augmentation):
    inputs = np.zeros((8000, 784), np.float32)
    augmentation.apply(inputs[:10], np.random.default_rng(0))
    tracemalloc.start()
    augmentation.apply(inputs, np.random.default_rng(0))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < inputs.nbytes / 4


@pytest.mark.parametrize(
    ("augmentation", "inputs", "message"),
    [
        (EVERYTHING, pictures(2, (9, 13)), "Images of 9 x 12 have 108 numbers, but the inputs have 117 columns"),
        (ImageAugmentation((9, 12, 3)), pictures(2), "9 x 12 x 3 have 324"),
        (EVERYTHING, sparse.csr_matrix(pictures(2)), "sparse matrix cannot be augmented"),
        (NoiseAugmentation(), sparse.csr_array(pictures(2)), "sparse matrix cannot be augmented"),
        (EVERYTHING, pictures(2).reshape(2, 9, 12), r"not float32 of shape \(2, 9, 12\)"),
        (NoiseAugmentation(), np.ones((2, 3), np.int64), "not int64 of shape"),
    ],
)
def test_inputs_that_do_not_fit_are_refused(augmentation, inputs, message):
    with pytest.raises(InvalidInputError, match=message):
        augmentation.check(inputs)
    with pytest.raises(InvalidInputError, match=message):
        augmentation.apply(inputs, np.random.default_rng(0))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"shift": -1}, "shift is -1; it must be a finite number >= 0"),
        ({"rotation": -0.5}, "rotation is -0.5"),
        ({"scale": float("nan")}, "scale is nan"),
        ({"scale": 1}, "scale is 1; it must be below 1"),
        ({"elastic_strength": float("inf")}, "elastic_strength is inf"),
        ({"elastic_smoothness": -4}, "elastic_smoothness is -4"),
        ({"elastic_smoothness": 0}, "elastic_smoothness is 0; it must be above 0"),
        ({"image_shape": (28,)}, r"image_shape is \(28,\); it must be \(height, width\)"),
        ({"image_shape": (28, 0)}, "image_shape"),
        ({"image_shape": (28, 2.5)}, "image_shape"),
    ],
)
def test_impossible_settings_are_refused(settings, message):
    with pytest.raises(InvalidInputError, match=message):
        ImageAugmentation(**{"image_shape": SHAPE, **settings})
    with pytest.raises(InvalidInputError, match="standard_deviation is -1"):
        NoiseAugmentation(-1)


def test_equal_settings_read_alike_wherever_they_come_from():
    typed = ImageAugmentation((8, 8), shift=1, scale=0.5)
    read = ImageAugmentation(**json.loads('{"image_shape": [8, 8], "shift": 1.0, "scale": 0.5}'))
    computed = ImageAugmentation((np.int64(8), np.int64(8)), shift=np.float64(1), scale=np.float32(0.5))
    assert repr(typed) == repr(read) == repr(computed)
    assert typed == read == computed


class Mirror(Augmentation):
    def __init__(self, share):
        self.share = share

    def apply(self, inputs, rng):
        mirrored = rng.random(len(inputs)) < self.share
        inputs[mirrored] = inputs[mirrored, ::-1]


def test_ones_own_is_known_by_its_settings():
    assert repr(Mirror(0.5)) == "Mirror({'share': 0.5})"
    assert AUGMENTATIONS.create(Mirror, share=1).share == 1
    with pytest.raises(InvalidInputError, match="sparse"):
        Mirror(0.5).check(sparse.csr_matrix(np.ones((2, 2))))
