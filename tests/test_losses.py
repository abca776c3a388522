"""The losses against PyTorch, and what is particular to one of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chainrule import kernels
from chainrule.errors import InvalidInputError
from chainrule.losses import (
    LOSSES,
    BinaryCrossEntropy,
    BinaryFocal,
    CategoricalCrossEntropy,
    CategoricalFocal,
    CustomLoss,
    GaussianNegativeLogLikelihood,
    Hinge,
    Huber,
    LossFunction,
    MeanAbsoluteError,
    MeanSquaredError,
    Pinball,
    Poisson,
    smooth_labels,
)
from chainrule.types import Array

torch = pytest.importorskip("torch")
F = torch.nn.functional


def pytorch_focal(p: Any, y: Any, gamma: float, alpha: float | None) -> Any:
    p_t = p * y + (1 - p) * (1 - y)
    alpha_t = 1 if alpha is None else alpha * y + (1 - alpha) * (1 - y)
    return (-alpha_t * (1 - p_t) ** gamma * torch.log(p_t)).mean()


def pytorch_dice(p: Any, y: Any, smooth: float = 1.0) -> Any:
    return (1 - (2 * (p * y).sum(1) + smooth) / (p.sum(1) + y.sum(1) + smooth)).mean()


def pytorch_gaussian(p: Any, y: Any) -> Any:
    k = y.shape[1]
    return F.gaussian_nll_loss(p[:, :k], y, torch.exp(p[:, k:]), eps=1e-30)


def pytorch_quantiles(p: Any, y: Any) -> Any:
    middle, above, below = torch.chunk(p, 3, dim=1)
    quantiles = {0.05: middle - F.softplus(below), 0.5: middle, 0.95: middle + F.softplus(above)}
    return sum(torch.maximum(q * (y - p), (q - 1) * (y - p)).mean() for q, p in quantiles.items()) / 3


# name, settings, what the targets are, PyTorch's loss of (predictions, targets)
ORACLE: list[tuple[str, dict[str, Any], str, Callable[[Any, Any], Any]]] = [
    ("mean_squared_error", {}, "values", F.mse_loss),
    ("mean_absolute_error", {}, "values", F.l1_loss),
    ("huber", {}, "values", F.huber_loss),
    ("huber", {"delta": 0.3}, "values", lambda p, y: F.huber_loss(p, y, delta=0.3)),
    ("log_cosh", {}, "values", lambda p, y: torch.log(torch.cosh(p - y)).mean()),
    ("half_squared_error", {}, "values", lambda p, y: F.mse_loss(p, y, reduction="none").sum(1).mean() / 2),
    ("pinball", {"quantile": 0.8}, "values", lambda p, y: torch.maximum(0.8 * (y - p), -0.2 * (y - p)).mean()),
    ("poisson", {}, "counts", F.poisson_nll_loss),
    ("poisson", {"log_input": False}, "rates", lambda p, y: F.poisson_nll_loss(p, y, log_input=False, eps=0)),
    ("mean_absolute_percentage_error", {}, "values", lambda p, y: 100 * ((p - y) / y).abs().mean()),
    ("mean_absolute_percentage_error", {"epsilon": 1.0}, "values",
     lambda p, y: 100 * ((p - y).abs() / y.abs().clamp_min(1)).mean()),
    ("mean_squared_logarithmic_error", {}, "rates", lambda p, y: F.mse_loss(torch.log1p(p), torch.log1p(y))),
    ("cosine_similarity", {}, "values", lambda p, y: -F.cosine_similarity(p, y).mean()),
    ("gaussian_negative_log_likelihood", {}, "values and variances", pytorch_gaussian),
    ("multi_quantile", {}, "values and gaps", pytorch_quantiles),
    ("binary_cross_entropy", {}, "probabilities", F.binary_cross_entropy),
    ("binary_cross_entropy", {"pos_weight": 2.5}, "probabilities",
     lambda p, y: F.binary_cross_entropy(p, y, weight=1 + 1.5 * y)),
    ("multi_label_cross_entropy", {}, "probabilities",
     lambda p, y: F.binary_cross_entropy(p, y, reduction="none").sum(1).mean()),
    ("categorical_cross_entropy", {}, "classes", lambda p, y: F.nll_loss(torch.log(p), y.argmax(1))),
    ("negative_log_likelihood", {}, "class scores", lambda p, y: F.nll_loss(p, y.argmax(1))),
    ("kl_divergence", {}, "shares", lambda p, y: F.kl_div(torch.log(p), y, reduction="batchmean")),
    ("kl_divergence", {}, "classes", lambda p, y: F.kl_div(torch.log(p), y, reduction="batchmean")),
    ("dice", {}, "probabilities", pytorch_dice),
    ("dice", {"smooth": 0.1}, "probabilities", lambda p, y: pytorch_dice(p, y, 0.1)),
    ("multi_margin", {}, "class scores", lambda p, y: F.multi_margin_loss(p, y.argmax(1))),
    ("multi_margin", {"margin": 0.3}, "class scores", lambda p, y: F.multi_margin_loss(p, y.argmax(1), margin=0.3)),
    ("hinge", {}, "scores", lambda p, y: F.relu(1 - (2 * y - 1) * p).mean()),
    ("squared_hinge", {}, "scores", lambda p, y: (F.relu(1 - (2 * y - 1) * p) ** 2).mean()),
    ("binary_focal", {}, "probabilities", lambda p, y: pytorch_focal(p, y, 2, None)),
    ("binary_focal", {"gamma": 1.5, "alpha": 0.25}, "probabilities", lambda p, y: pytorch_focal(p, y, 1.5, 0.25)),
    ("categorical_focal", {}, "classes", lambda p, y: (-y * (1 - p) ** 2 * torch.log(p)).sum(1).mean()),
]  # fmt: skip

FUSED_ORACLE: list[tuple[str, dict[str, Any], str, Callable[[Any, Any], Any]]] = [
    ("binary_cross_entropy", {}, "probabilities", F.binary_cross_entropy_with_logits),
    ("binary_cross_entropy", {"pos_weight": 2.5}, "probabilities",
     lambda z, y: F.binary_cross_entropy_with_logits(z, y, pos_weight=torch.tensor(2.5))),
    ("multi_label_cross_entropy", {}, "probabilities",
     lambda z, y: F.binary_cross_entropy_with_logits(z, y, reduction="none").sum(1).mean()),
    ("categorical_cross_entropy", {}, "classes", F.cross_entropy),
    ("categorical_cross_entropy", {}, "shares", F.cross_entropy),
    ("kl_divergence", {}, "shares", lambda z, y: F.kl_div(F.log_softmax(z, 1), y, reduction="batchmean")),
    ("binary_focal", {"alpha": 0.25}, "probabilities",
     lambda z, y: pytorch_focal(torch.sigmoid(z), y, 2, 0.25)),
    ("categorical_focal", {"gamma": 1.5}, "classes",
     lambda z, y: (-y * (1 - torch.softmax(z, 1)) ** 1.5 * torch.log_softmax(z, 1)).sum(1).mean()),
]  # fmt: skip

each_precision = pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-10), (np.float32, 1e-5)])


def batch(kind: str, outputs: int, dtype: Any) -> tuple[Array, Array, Array]:
    """Targets, predictions and logits."""
    rng = np.random.default_rng(outputs)
    z = 2 * rng.standard_normal((16, outputs))
    y, p = 2 * rng.standard_normal(z.shape), z
    if kind == "classes":
        y, p = np.eye(outputs)[rng.integers(outputs, size=16)], np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
    elif kind == "shares":
        y, p = rng.dirichlet(np.ones(outputs), 16), np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
    elif kind == "class scores":
        y = np.eye(outputs)[rng.integers(outputs, size=16)]
    elif kind in ("probabilities", "scores"):
        y, p = rng.integers(2, size=z.shape).astype(float), 1 / (1 + np.exp(-z)) if kind == "probabilities" else z
    elif kind in ("counts", "rates"):
        y, p = rng.poisson(2, z.shape).astype(float), np.exp(z) if kind == "rates" else z
    elif kind == "values and variances":
        p = np.hstack([z, rng.standard_normal(z.shape)])
    elif kind == "values and gaps":
        p = np.hstack([z, *rng.standard_normal((2, *z.shape))])
    return y.astype(dtype), p.astype(dtype), z.astype(dtype)


def pytorch(function: Callable[[Any, Any], Any], inputs: Array, y: Array) -> tuple[float, Array]:
    theirs = torch.tensor(inputs, requires_grad=True)
    value = function(theirs, torch.tensor(y))
    value.backward()
    return value.item(), theirs.grad.numpy()


def test_the_table_has_every_loss() -> None:
    assert {name for name, *_ in ORACLE} == {LOSSES.name_of(cls) for cls in LOSSES.classes.values()}
    fused = {LOSSES.name_of(cls) for cls in LOSSES.classes.values() if cls.fuses_with}
    assert {name for name, *_ in FUSED_ORACLE} == fused


@each_precision
@pytest.mark.parametrize("outputs", [1, 3])
@pytest.mark.parametrize(("name", "settings", "kind", "function"), ORACLE)
def test_values_and_gradients_are_those_of_pytorch(
    name: str, settings: Any, kind: str, function: Any, outputs: int, dtype: Any, tolerance: float
) -> None:
    y, p, _ = batch(kind, outputs, dtype)
    loss: LossFunction = LOSSES.create(name, **settings)
    value, gradient = pytorch(function, p, y)
    assert loss.loss(y, p) == pytest.approx(value, rel=tolerance, abs=tolerance)
    scale = float(np.abs(gradient).max())
    np.testing.assert_allclose(loss.derivative(y, p), gradient, rtol=tolerance, atol=tolerance * max(scale, 1))


@each_precision
@pytest.mark.parametrize("outputs", [1, 3])
@pytest.mark.parametrize(("name", "settings", "kind", "function"), FUSED_ORACLE)
def test_values_and_gradients_of_logits_are_those_of_pytorch(
    name: str, settings: Any, kind: str, function: Any, outputs: int, dtype: Any, tolerance: float
) -> None:
    y, _, z = batch(kind, outputs, dtype)
    loss: LossFunction = LOSSES.create(name, **settings)
    value, gradient = pytorch(function, z, y)
    ours = np.empty_like(z)
    weights = np.full(len(y), 1 / len(y), dtype)
    assert loss.evaluate_logits(y, z, weights, ours) == pytest.approx(value, rel=tolerance, abs=tolerance)
    np.testing.assert_allclose(ours, gradient, rtol=tolerance, atol=tolerance)


def test_a_hand_worked_example_of_each_kind() -> None:
    assert MeanSquaredError().loss([[1, 2]], [[3, 2]]) == 2
    assert MeanSquaredError().derivative([[1, 2]], [[3, 2]]).tolist() == [[2, 0]]
    assert MeanAbsoluteError().derivative([0, 0, 0], [-3.0, 0.0, 3.0]) == pytest.approx([-1 / 3, 0, 1 / 3])
    assert Huber(1).loss([0, 0], [0.5, 3]) == (0.125 + 2.5) / 2
    assert Pinball(0.9).loss([1, 0], [0, 1]) == pytest.approx((0.9 + 0.1) / 2)
    assert Hinge().loss([1, 0, 1], [2, 2, 0]) == pytest.approx((0 + 3 + 1) / 3)
    assert Poisson(log_input=False).loss([0.0], [0.0]) == 0
    assert CategoricalCrossEntropy().loss([[0, 1]], [[0.5, 0.5]]) == pytest.approx(np.log(2))


def test_probabilities_of_0_and_1_are_exact() -> None:
    right, wrong = [0.0, 1.0], [1.0, 0.0]
    assert BinaryCrossEntropy().loss([0, 1], right) == 0
    assert BinaryCrossEntropy().derivative([0, 1], right).tolist() == [0.5, -0.5]
    assert BinaryCrossEntropy().loss([0, 1], wrong) == np.inf
    assert BinaryCrossEntropy().derivative([0, 1], wrong).tolist() == [np.inf, -np.inf]
    assert CategoricalCrossEntropy().loss([right], [right]) == 0
    assert CategoricalCrossEntropy().derivative([right], [right]).tolist() == [[0, -1]]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_confident_mistake_is_felt(dtype: Any) -> None:
    y, z, one, derivative = (
        np.zeros((1, 1), dtype),
        np.full((1, 1), 20, dtype),
        np.ones(1, dtype),
        np.empty((1, 1), dtype),
    )
    assert BinaryCrossEntropy().evaluate_logits(y, z, one, derivative) == pytest.approx(20)
    assert derivative[0, 0] == pytest.approx(1, abs=1e-7)


def test_focal_without_gamma_is_cross_entropy_and_gamma_makes_easy_rows_light() -> None:
    y, p, z = batch("probabilities", 3, np.float64)
    assert BinaryFocal(0).loss(y, p) == pytest.approx(BinaryCrossEntropy().loss(y, p), rel=1e-14)
    np.testing.assert_allclose(BinaryFocal(0).derivative(y, p), BinaryCrossEntropy().derivative(y, p), rtol=1e-12)
    y, p, z = batch("classes", 3, np.float64)
    ours, theirs, weights = np.empty_like(z), np.empty_like(z), np.full(16, 1 / 16)
    CategoricalFocal(0).evaluate_logits(y, z, weights, ours)
    CategoricalCrossEntropy().evaluate_logits(y, z, weights, theirs)
    np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-16)
    easy, hard = BinaryFocal().loss([1], [0.9]), BinaryFocal().loss([1], [0.1])
    assert easy == pytest.approx(-np.log(0.9) / 100)  # Lin et al.: 100 times lighter at p = 0.9 and gamma = 2
    assert hard / easy > 1000


def test_gaussian_outputs_are_read_back() -> None:
    mean, variance = GaussianNegativeLogLikelihood.mean_and_variance(np.array([[1.0, 2.0, 0.0, np.log(4)]]))
    assert mean.tolist() == [[1, 2]]
    np.testing.assert_allclose(variance, [[1, 4]])
    with pytest.raises(InvalidInputError, match="2 prediction columns for each target"):
        GaussianNegativeLogLikelihood().loss([[1.0]], [[1.0]])


def test_the_best_constants_of_the_losses() -> None:
    rng = np.random.default_rng(0)
    y = rng.exponential(size=(2001, 1))
    candidates = np.linspace(0, 4, 801)

    def best(loss: LossFunction) -> float:
        return float(candidates[np.argmin([loss.loss(y, np.full_like(y, c)) for c in candidates])])

    assert best(MeanSquaredError()) == pytest.approx(y.mean(), abs=0.006)
    assert best(MeanAbsoluteError()) == pytest.approx(np.median(y), abs=0.006)
    assert best(Pinball(0.9)) == pytest.approx(np.quantile(y, 0.9), abs=0.006)


@given(amount=st.floats(0, 0.99), classes=st.integers(2, 6))
def test_smoothed_labels_still_sum_to_one(amount: float, classes: int) -> None:
    smoothed = smooth_labels(np.eye(classes), amount)
    np.testing.assert_allclose(smoothed.sum(axis=1), 1)
    np.testing.assert_allclose(smoothed[0, 1], amount / classes, atol=1e-15)
    column = smooth_labels(np.array([[0.0], [1.0]]), amount)
    np.testing.assert_allclose(column[:, 0], [amount / 2, 1 - amount / 2])


def test_smoothing_keeps_the_type_and_agrees_with_pytorch() -> None:
    assert smooth_labels(np.eye(3, dtype=np.float32), 0.1).dtype == np.float32
    assert smooth_labels(np.array([0, 1]), 0.2).tolist() == pytest.approx([0.1, 0.9])
    y, _, z = batch("classes", 4, np.float64)
    derivative = np.empty_like(z)
    ours = CategoricalCrossEntropy().evaluate_logits(smooth_labels(y, 0.1), z, np.full(16, 1 / 16), derivative)
    theirs, gradient = pytorch(lambda z, y: F.cross_entropy(z, y.argmax(1), label_smoothing=0.1), z, y)
    assert ours == pytest.approx(theirs, rel=1e-12)
    np.testing.assert_allclose(derivative, gradient, rtol=1e-10, atol=1e-14)
    with pytest.raises(InvalidInputError, match="label smoothing"):
        smooth_labels(y, 1.0)


def test_a_users_own_loss_must_return_elements() -> None:
    own = CustomLoss(lambda y, p: np.mean((p - y) ** 2), lambda y, p: 2 * (p - y), name="mine")
    with pytest.raises(InvalidInputError, match="mine must return one number for each element"):
        own.loss([1.0, 2.0], [1.0, 3.0])


class Own(LossFunction):
    """The squared error as a user would write it."""

    def loss(self, y_true: Array, y_pred: Array, sample_weight: Array | None = None) -> float:
        return float(np.average(((y_pred - y_true) ** 2).mean(axis=1), weights=sample_weight))

    def derivative(self, y_true: Array, y_pred: Array, sample_weight: Array | None = None) -> Array:
        weights = np.full(len(y_true), 1 / len(y_true)) if sample_weight is None else sample_weight
        return np.asarray(2 * (y_pred - y_true) * np.reshape(weights, (-1, 1)) / y_true.shape[1])


class OwnWithoutWeights(LossFunction):
    """As the lecture notes have it: two arguments."""

    def loss(self, y_true: Array, y_pred: Array) -> float:  # type: ignore[override]
        return float(np.mean((y_pred - y_true) ** 2))

    def derivative(self, y_true: Array, y_pred: Array) -> Array:  # type: ignore[override]
        return np.asarray(2 * (y_pred - y_true) / y_true.size)


@pytest.mark.parametrize("own", [Own, OwnWithoutWeights])
def test_a_users_own_class_needs_only_two_methods(own: type[LossFunction]) -> None:
    y, p, _ = batch("values", 3, np.float64)
    derivative, weights = np.empty_like(p), np.full(16, 1 / 16)
    assert own().evaluate(y, p, weights, derivative) == pytest.approx(MeanSquaredError().loss(y, p))
    np.testing.assert_allclose(derivative, MeanSquaredError().derivative(y, p))
    assert isinstance(LOSSES.create(own), own)


def test_a_users_own_class_computes_in_float64() -> None:
    """As in the lecture, which clips at 1e-15: in float32 that would be no bound, and the loss not a number."""

    class Clipped(LossFunction):
        def loss(self, y_true: Array, y_pred: Array) -> float:  # type: ignore[override]
            p = np.clip(y_pred, 1e-15, 1 - 1e-15)
            return float(-np.mean(y_true * np.log(p) + (1 - y_true) * np.log(1 - p)))

        def derivative(self, y_true: Array, y_pred: Array) -> Array:  # type: ignore[override]
            p = np.clip(y_pred, 1e-15, 1 - 1e-15)
            return np.asarray((p - y_true) / (p * (1 - p)) / y_true.size)

    y, p = (np.array([[0], [1]], np.float32) for _ in range(2))
    derivative = np.empty_like(p)
    assert Clipped().evaluate(y, p, np.full(2, 0.5, np.float32), derivative) == pytest.approx(0, abs=1e-14)
    assert derivative.dtype == np.float32
    assert np.isfinite(derivative).all()


def test_a_users_own_class_is_weighted_as_the_built_in_losses_are() -> None:
    y, p, _ = batch("values", 3, np.float64)
    weights = np.random.default_rng(0).uniform(0, 1, 16)
    mine, theirs = np.empty_like(p), np.empty_like(p)
    assert Own().evaluate(y, p, weights, mine) == pytest.approx(MeanSquaredError().evaluate(y, p, weights, theirs))
    np.testing.assert_allclose(mine, theirs)
    assert Own().evaluate(y, p, np.zeros(16), mine) == 0
    assert not mine.any()


def test_settings_that_cannot_work_are_refused() -> None:
    for wrong in (
        lambda: Huber(0), lambda: Huber(np.nan), lambda: Pinball(1), lambda: BinaryFocal(-1),
        lambda: BinaryFocal(2, alpha=1.5), lambda: CategoricalFocal(np.inf),
    ):  # fmt: skip
        with pytest.raises(InvalidInputError, match="allowed are"):
            wrong()


def test_other_names() -> None:
    names = {"mse": "mean_squared_error", "MAE": "mean_absolute_error", "bce": "binary_cross_entropy",
             "cross-entropy": "categorical_cross_entropy", "gaussian_nll": "gaussian_negative_log_likelihood",
             "quantile": "pinball"}  # fmt: skip
    for other, name in names.items():
        assert LOSSES.find(other) is LOSSES.find(name)
    with pytest.raises(InvalidInputError, match="Did you mean 'huber'"):
        LOSSES.find("hubber")


@pytest.mark.skipif(kernels.active_set() != "numba", reason="the reference kernels keep them")
@pytest.mark.parametrize("name", ["categorical_cross_entropy", "binary_cross_entropy"])
def test_what_is_known_by_heart_leaves_no_subnormal_error(name: str) -> None:
    """Products of numbers below 1.2e-38 take a hundred times as long; in float64 nothing of the kind is needed."""
    logits = np.array([[0.0, -60.0, -87.0, -95.0, -103.0]])
    targets = np.array([[1.0, 0.0, 0.0, 0.0, 0.0]])
    for dtype in (np.float32, np.float64):
        z, y, weights = logits.astype(dtype), targets.astype(dtype), np.ones(1, dtype)
        derivative = np.empty_like(z)
        LOSSES.create(name).evaluate_logits(y, z, weights, derivative)
        small = derivative[0, 1:]
        if dtype is np.float32:
            assert (small == 0).all() or (small[small != 0] > 1e-30).all()
            assert small[2] == 0
        else:
            n_columns = 5 if name == "binary_cross_entropy" else 1
            np.testing.assert_allclose(small, np.exp(logits[0, 1:]) / n_columns, rtol=1e-12)
    z = np.array([[np.nan, -100.0]], np.float32)
    LOSSES.create(name).evaluate_logits(
        np.eye(1, 2, dtype=np.float32), z, np.ones(1, np.float32), out := np.empty_like(z)
    )
    assert np.isnan(out[0, 0]), "a NaN does not vanish"


class Listing(Own):
    """It forgets the mean."""

    def loss(self, y_true: Array, y_pred: Array, sample_weight: Array | None = None) -> Any:
        return (y_pred - y_true) ** 2


def test_a_loss_that_returns_no_number_is_named() -> None:
    y = np.ones((3, 2))
    with pytest.raises(
        InvalidInputError, match=r"Listing.loss must return one number, the mean; it returned shape \(3, 2\)"
    ):
        Listing().evaluate(y, y, np.full(3, 1 / 3), np.empty_like(y))


def test_compiled_losses_take_targets_of_any_type_and_layout() -> None:
    """Compiled code does not check bounds, so arrays of another type or with strides are copied, or refused."""
    y, p, weights = np.arange(12.0).reshape(6, 2), np.arange(12.0).reshape(6, 2) + 0.5, np.full(6, 1 / 6)
    derivative, expected = np.empty_like(p, np.float32), np.empty_like(p)
    truth = Huber().evaluate(y, p, weights, expected)
    strided = np.repeat(y, 2, axis=1)[:, ::2]
    for targets in (y, strided, y.astype(np.float32), np.asfortranarray(y)):
        assert Huber().evaluate(targets, p.astype(np.float32), weights, derivative) == pytest.approx(truth, rel=1e-6)
        np.testing.assert_allclose(derivative, expected, rtol=1e-6)
    if kernels.active_set() == "numba":
        with pytest.raises(InvalidInputError, match="contiguous arrays of one type and shape; 'derivative' has type"):
            Huber().evaluate(y, p, weights, derivative)
