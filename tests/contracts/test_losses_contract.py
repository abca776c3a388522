"""What every loss keeps; the classes are found by introspection, so that none can be forgotten."""

from __future__ import annotations

import importlib
import inspect
import pickle
import pkgutil
from typing import Any

import numpy as np
import pytest

import chainrule.losses
from chainrule.errors import InvalidInputError
from chainrule.losses import LOSSES, CustomLoss, LossFunction, row_weights_of
from chainrule.named import settings_of
from chainrule.types import Array


def subclasses_of(cls: type) -> set[type]:
    return {below for direct in cls.__subclasses__() for below in {direct, *subclasses_of(direct)}}


for module in pkgutil.walk_packages(chainrule.losses.__path__, "chainrule.losses."):
    importlib.import_module(module.name)

OURS = {cls for cls in subclasses_of(LossFunction) if cls.__module__.startswith("chainrule.")}
CLASSES = sorted((cls for cls in OURS if not subclasses_of(cls) & OURS), key=lambda cls: cls.__name__)

# Settings other than the defaults that go through the suite as well.
OTHERS: dict[str, list[dict[str, Any]]] = {
    "BinaryCrossEntropy": [{"pos_weight": 2.5}],
    "BinaryFocal": [{"gamma": 0.5, "alpha": 0.25}, {"gamma": 0.0}],
    "CategoricalFocal": [{"gamma": 0.5}, {"gamma": 0.0}],
    "Dice": [{"smooth": 0.1}],
    "Huber": [{"delta": 0.4}],
    "MeanAbsolutePercentageError": [{"epsilon": 0.5}],
    "MultiMargin": [{"margin": 0.3}],
    "Pinball": [{"quantile": 0.9}],
    "Poisson": [{"log_input": False}],
}


def fourth_power(y: Array, p: Array) -> Array:
    return np.asarray((p - y) ** 4)


def fourth_power_derivative(y: Array, p: Array) -> Array:
    return np.asarray(4 * (p - y) ** 3)


LOSSES_TO_TEST = [
    cls(fourth_power, fourth_power_derivative) if cls is CustomLoss else cls(**settings)
    for cls in CLASSES
    for settings in [{}, *OTHERS.get(cls.__name__, [])]
]
FUSED = [loss for loss in LOSSES_TO_TEST if loss.fuses_with]


def softmax(z: Array) -> Array:
    return np.asarray(np.exp(z) / np.exp(z).sum(axis=1, keepdims=True))


def batch(loss: Any, outputs: int, rows: int = 9, seed: int = 0) -> tuple[Array, Array]:
    """Targets and predictions of the kind that the loss is for, away from its kinks."""
    rng = np.random.default_rng(seed)
    name, shape = type(loss).__name__, (rows, outputs)
    if name.startswith("Categorical") or name == "KLDivergence":
        # Below 1 even where there is but one class, so that a step to either side is still a probability.
        return np.eye(outputs)[rng.integers(outputs, size=rows)], 0.9 * softmax(rng.standard_normal(shape))
    if name == "NegativeLogLikelihood":
        return np.eye(outputs)[rng.integers(outputs, size=rows)], np.log(softmax(rng.standard_normal(shape)))
    if name.startswith("Binary") or name in ("Dice", "MultiLabelCrossEntropy"):
        y = rng.integers(2, size=shape).astype(float)
        y[0] = 0.3
        return y, rng.uniform(0.05, 0.95, shape)
    if name == "MultiMargin":
        return np.eye(outputs)[rng.integers(outputs, size=rows)], rng.standard_normal(shape)
    if name == "MeanSquaredLogarithmicError":
        return rng.uniform(0, 5, shape), rng.uniform(0, 5, shape)
    if name in ("Hinge", "SquaredHinge"):
        y = rng.integers(2, size=shape).astype(float)
        return y, (2 * y - 1) * (1 + rng.choice([-1, 1], shape) * rng.uniform(0.1, 2, shape))
    if name == "Poisson":
        rate = rng.standard_normal(shape)
        return rng.poisson(2, shape).astype(float), rate if loss.log_input else np.exp(rate)
    y = rng.standard_normal(shape)
    distance = np.where(rng.random(shape) < 0.5, rng.uniform(0.05, 0.35, shape), rng.uniform(1.1, 3, shape))
    p = y + rng.choice([-1, 1], shape) * distance
    return y, np.hstack([p, *rng.standard_normal((loss.outputs_per_target - 1, *shape))])


def label(loss: Any) -> str:
    settings = settings_of(loss) if not isinstance(loss, CustomLoss) else {}
    return type(loss).__name__ + "".join(f"-{value}" for value in settings.values())


each_loss = pytest.mark.parametrize("loss", LOSSES_TO_TEST, ids=label)
each_fused_loss = pytest.mark.parametrize("loss", FUSED, ids=label)


def test_every_class_is_final_frozen_and_registered() -> None:
    assert len(CLASSES) == 24
    for cls in CLASSES:
        assert getattr(cls, "__final__", False), cls
        assert cls.__dataclass_params__.frozen, cls
        assert not inspect.isabstract(cls), cls
        assert cls.__name__ in chainrule.losses.__all__
        assert len(inspect.getdoc(cls) or "") > 80
    assert set(LOSSES.classes.values()) == set(CLASSES) - {CustomLoss}
    assert all(inspect.isabstract(cls) for cls in OURS - set(CLASSES))


@pytest.mark.parametrize("cls", [cls for cls in CLASSES if cls is not CustomLoss])
def test_names_find_the_class_and_settings_rebuild_it(cls: type) -> None:
    name = LOSSES.name_of(cls)
    for spelling in (name, name.replace("_", "-"), cls.__name__, cls.__name__.upper()):
        assert LOSSES.find(spelling) is cls
    for settings in [{}, *OTHERS.get(cls.__name__, [])]:
        loss: Any = LOSSES.create(name, **settings)
        assert loss == cls(**settings)
        assert cls(**settings_of(loss)) == loss
        assert pickle.loads(pickle.dumps(loss)) == loss


@pytest.mark.parametrize("outputs", [1, 3])
@each_loss
def test_the_derivative_agrees_with_central_differences(loss: Any, outputs: int) -> None:
    y, p = batch(loss, outputs)
    rng = np.random.default_rng(1)
    step = 1e-6 if "Focal" in type(loss).__name__ else 1e-5  # near p = 1 a power of 1 - p bends fast
    for sample_weight in (None, rng.uniform(0, 2, len(y))):
        gradient = loss.derivative(y, p, sample_weight)
        assert gradient.shape == p.shape
        for _ in range(5):
            direction = rng.standard_normal(p.shape)
            direction /= np.abs(direction).max()
            ahead, behind = (loss.loss(y, p + sign * step * direction, sample_weight) for sign in (1, -1))
            scale = np.linalg.norm(gradient) * np.linalg.norm(direction)
            assert abs(np.sum(gradient * direction) - (ahead - behind) / (2 * step)) <= 1e-7 * max(scale, 1e-3)


@pytest.mark.parametrize("outputs", [1, 3])
@each_fused_loss
def test_the_derivative_by_the_logits_agrees_with_central_differences(loss: Any, outputs: int) -> None:
    y, _ = batch(loss, outputs)
    rng = np.random.default_rng(2)
    z, ignored = 3 * rng.standard_normal(y.shape), np.empty(y.shape)
    for sample_weight in (None, rng.uniform(0, 2, len(y))):
        weights, gradient = row_weights_of(sample_weight, len(y), np.dtype(float)), np.empty(y.shape)
        loss.evaluate_logits(y, z, weights, gradient)
        for _ in range(5):
            direction, step = rng.standard_normal(z.shape), 1e-5
            ahead = loss.evaluate_logits(y, z + step * direction, weights, ignored)
            behind = loss.evaluate_logits(y, z - step * direction, weights, ignored)
            scale = np.linalg.norm(gradient) * np.linalg.norm(direction)
            assert abs(np.sum(gradient * direction) - (ahead - behind) / (2 * step)) <= 1e-7 * max(scale, 1e-3)


@pytest.mark.parametrize("outputs", [1, 3])
@each_fused_loss
def test_fused_and_unfused_are_one_function(loss: Any, outputs: int) -> None:
    y, _ = batch(loss, outputs)
    z = 3 * np.random.default_rng(3).standard_normal(y.shape)
    activation = loss.fuses_with()
    activation.dtype = np.dtype(float)
    activation.set_input_shape((outputs,))
    p = activation.forward_propagation(z, training=True)
    weights = row_weights_of(None, len(y), np.dtype(float))
    gradient, by_p = np.empty(y.shape), np.empty(y.shape)
    value = loss.evaluate_logits(y, z, weights, gradient)
    assert loss.evaluate(y, p, weights, by_p) == pytest.approx(value, rel=1e-11, abs=1e-14)
    np.testing.assert_allclose(activation.backward_propagation(by_p), gradient, rtol=1e-9, atol=1e-14)


@each_fused_loss
def test_fused_is_finite_where_unfused_is_not(loss: Any) -> None:
    columns = 2
    z = np.array([[1e4, -1e4], [-1e4, 1e4]], np.float32)
    y = np.eye(columns, dtype=np.float32)[[1, 1]]
    gradient, weights = np.empty_like(z), np.full(2, 0.5, np.float32)
    value = loss.evaluate_logits(y, z, weights, gradient)
    assert np.isfinite(value)
    assert np.isfinite(gradient).all()
    assert np.abs(gradient[0]).max() > 0.05, "a confident mistake must not be ignored"
    assert np.abs(gradient[1]).max() == 0


@each_loss
def test_only_losses_that_fuse_take_logits(loss: Any) -> None:
    if loss.fuses_with is None:
        y, p = batch(loss, 3)
        with pytest.raises(InvalidInputError, match="no formula for logits"):
            loss.evaluate_logits(y, p, np.ones(len(y)), np.empty(p.shape))


@each_loss
def test_training_and_asking_give_the_same(loss: Any) -> None:
    y, p = batch(loss, 3)
    sample_weight = np.random.default_rng(4).uniform(0, 2, len(y))
    derivative = np.empty(p.shape)
    value = loss.evaluate(y, p, row_weights_of(sample_weight, len(y), np.dtype(float)), derivative)
    assert value == loss.loss(y, p, sample_weight)
    np.testing.assert_array_equal(derivative, loss.derivative(y, p, sample_weight))


@each_loss
def test_weights_count_rows(loss: Any) -> None:
    y, p = batch(loss, 3)
    counts = np.array([0, 1, 2, 0, 3, 1, 0, 1, 1])
    rows = np.repeat(np.arange(len(y)), counts)
    assert loss.loss(y, p, counts) == pytest.approx(loss.loss(y[rows], p[rows]), rel=1e-13)
    kept = counts > 0
    without = loss.derivative(y[kept], p[kept], counts[kept])
    np.testing.assert_allclose(loss.derivative(y, p, counts)[kept], without, rtol=1e-13)
    assert not loss.derivative(y, p, counts)[~kept].any()
    assert loss.loss(y, p, np.full(len(y), 7.0)) == loss.loss(y, p)
    np.testing.assert_array_equal(loss.derivative(y, p, np.full(len(y), 7.0)), loss.derivative(y, p))


@each_loss
def test_single_precision_stays_single_and_near(loss: Any) -> None:
    y, p = batch(loss, 3)
    single = loss.derivative(y.astype(np.float32), p.astype(np.float32))
    assert single.dtype == np.float32
    np.testing.assert_allclose(single, loss.derivative(y, p), rtol=2e-5, atol=1e-6)
    assert loss.loss(y, p.astype(np.float32)) == pytest.approx(loss.loss(y, p), rel=1e-5, abs=1e-6)


@each_loss
def test_vectors_lists_and_integers_are_taken(loss: Any) -> None:
    y, p = batch(loss, 1)
    value = loss.loss(y, p)
    if p.shape[1] == 1:
        assert loss.loss(y[:, 0], p[:, 0]) == value
        assert loss.derivative(y[:, 0], p[:, 0]).shape == (len(y),)
        assert loss.loss(y[:, 0].tolist(), p.tolist()) == value
    assert isinstance(value, float)
    assert loss.loss(np.asfortranarray(y), np.asfortranarray(p)) == value


@each_loss
def test_a_nan_is_never_hidden(loss: Any) -> None:
    y, p = batch(loss, 3)
    p[2, 1] = np.nan
    assert np.isnan(loss.loss(y, p))
    assert np.isnan(loss.derivative(y, p)[2, 1])


@each_loss
def test_mistakes_are_named(loss: Any) -> None:
    y, p = batch(loss, 3)
    with pytest.raises(InvalidInputError, match=r"targets of shape \(9, 3\) and predictions of shape"):
        loss.loss(y, p[:, :2])
    with pytest.raises(InvalidInputError, match="9 rows"):
        loss.loss(y, p, np.ones(3))
    for wrong in (np.zeros(9), -np.ones(9), np.full(9, np.nan), np.full(9, np.inf)):
        with pytest.raises(InvalidInputError, match="at least one must be above 0"):
            loss.loss(y, p, wrong)
    with pytest.raises(InvalidInputError, match="there are none"):
        loss.loss(y[:0], p[:0])
    with pytest.raises(InvalidInputError, match="must have the same shape"):
        loss.loss(y[None], p[None])


@each_loss
def test_the_number_of_outputs_is_told(loss: Any) -> None:
    for n_targets in (1, 3):
        _, p = batch(loss, n_targets)
        assert p.shape[1] == loss.n_outputs(n_targets)
