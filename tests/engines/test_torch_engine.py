"""The PyTorch engine by itself: modules there and back, noise, devices, precision, and what it refuses."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from scipy import sparse

from chainrule import NeuralNetwork, TorchEngine
from chainrule.activations import (
    ReLUActivation,
    SigmoidActivation,
    SoftmaxActivation,
    TanhActivation,
)
from chainrule.callbacks import Callback, EarlyStopping, TrainingRun
from chainrule.data import Dataset
from chainrule.data.augment import NoiseAugmentation
from chainrule.engines import NumpyEngine
from chainrule.errors import DataError, DivergenceError, InvalidInputError
from chainrule.kernels.compiling import training_clock
from chainrule.layers import (
    BatchNormalizationLayer,
    DenseLayer,
    DropoutLayer,
    FlattenLayer,
    GaussianNoiseLayer,
    StandardizationLayer,
)
from chainrule.losses import LossFunction, MeanSquaredError
from chainrule.optimizer import SGD
from chainrule.penalties import Penalty
from chainrule.randomness import NoiseSource
from chainrule.types import DTypeName
from support.networks import class_rows, network_of, regression_rows
from support.parity import LAYER_NAMES, layer_of, network_with, rows_for

torch = pytest.importorskip("torch")
nn = torch.nn

# Modules -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", LAYER_NAMES)
def test_a_network_becomes_a_module_and_comes_back(name: str, dtype: str) -> None:
    loss = MeanSquaredError()
    network = network_with(layer_of(name), loss, "numpy", dtype=dtype, epochs=2)
    network.fit(rows_for(loss))
    X = rows_for(loss).X.astype(dtype)
    module = network.to_torch()
    assert not module.training
    with torch.no_grad():
        outputs = module(torch.from_numpy(X)).numpy()
    np.testing.assert_allclose(outputs, network.predict(X), rtol=1e-5, atol=1e-6)
    back = NeuralNetwork.from_torch(module, input_shape=(4,), loss=loss)
    assert [type(layer) for layer in back.layers] == [type(layer) for layer in network.layers]
    assert back.stack.dtype == np.dtype(dtype)
    for key, array in network.stack.read_arrays().items():
        np.testing.assert_array_equal(back.stack.read_arrays()[key], array)
    np.testing.assert_array_equal(back.predict(X), network.predict(X))


def test_the_module_has_weights_of_its_own() -> None:
    network = network_of(DenseLayer(2, (3,)))
    module = network.to_torch()
    with torch.no_grad():
        module[0].weight.zero_()
    assert network.layers[0].parameter_views["weights"].any()


def test_a_sequential_in_a_sequential_and_a_linear_without_bias_are_read() -> None:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Sequential(nn.Linear(4, 6, bias=False), nn.PReLU()), nn.BatchNorm1d(6), nn.Linear(6, 2))
    network = NeuralNetwork.from_torch(module, optimizer="adam", seed=3)
    X = np.random.default_rng(0).normal(size=(5, 4)).astype(np.float32)
    with torch.no_grad():
        expected = module.eval()(torch.from_numpy(X)).numpy()
    np.testing.assert_allclose(network.predict(X), expected, rtol=1e-5, atol=1e-6)
    assert network.seed == 3


def with_hook(module: Any) -> Any:
    module.register_forward_hook(lambda module, inputs, outputs: 2 * outputs)
    return module


class Doubled(nn.Sequential):  # type: ignore[name-defined,misc]
    def forward(self, x: Any) -> Any:
        return 2 * super().forward(x)


@pytest.mark.parametrize(
    ("module", "words"),
    [
        (nn.Sequential(nn.Linear(2, 2), nn.Conv1d(2, 2, 1)), "There is no layer for the module Conv1d"),
        (nn.Sequential(nn.Linear(2, 2), nn.Softmax(dim=0)), "dim=-1"),
        (nn.Sequential(nn.Linear(2, 2), nn.Softmax(dim=None)), "dim=-1"),
        (nn.Sequential(nn.BatchNorm1d(2, track_running_stats=False)), "track_running_stats=True"),
        (nn.Sequential(nn.BatchNorm1d(2, momentum=None)), "momentum"),
        (nn.Sequential(nn.Linear(2, 3), nn.PReLU(2)), "num_parameters=3"),
        (nn.Sequential(nn.Linear(2, 3), nn.LogSoftmax(dim=0)), "dim=-1"),
        (nn.Sequential(nn.Linear(2, 3), nn.Softplus(threshold=3)), "threshold"),
        (nn.Sequential(nn.Linear(2, 3), nn.Softplus(threshold=-100)), "threshold"),
        (nn.Sequential(nn.Linear(2, 3, dtype=torch.complex64)), "complex64"),
        (with_hook(nn.Sequential(nn.Linear(2, 3))), "hooks"),
        (nn.Sequential(with_hook(nn.Linear(2, 3))), "hooks"),
        (nn.Sequential(Doubled(nn.Linear(2, 3))), "overrides forward"),
        (nn.Sequential(*2 * [nn.Linear(2, 2)]), "in several places"),
        (nn.Sequential(nn.ReLU()), "give input_shape=(n_features,)"),
        (nn.Sequential(), "nn.Sequential is empty"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_modules_that_cannot_be_read_are_named(module: Any, words: str) -> None:
    with pytest.raises(InvalidInputError, match=words.replace("(", r"\(").replace(")", r"\)")):
        NeuralNetwork.from_torch(module)


ROWS = {  # for rows of these shapes, these modules are functions of a row that no layer is, or not of the last axis
    "softmax of the first axis": ((2, 3), nn.Softmax(dim=1)),
    "softmax of the batch": ((2, 3), nn.Softmax(dim=0)),
    "layer norm of the last axis": ((5, 5), nn.LayerNorm(5)),
    "flattening that keeps an axis": ((2, 3, 4), nn.Flatten(start_dim=2)),
    "flattening into the batch": ((2, 3), nn.Flatten(start_dim=0)),
    "standardising the last axis": ((2, 3), network_of(StandardizationLayer().adapt([[0, 1, 2]])).to_torch()),
}


@pytest.mark.parametrize("name", ROWS)
def test_modules_that_work_on_other_axes_than_the_layers_are_refused(name: str) -> None:
    shape, module = ROWS[name]
    with pytest.raises(InvalidInputError, match=r"another function|rows of shape"):
        NeuralNetwork.from_torch(nn.Sequential(module, nn.Flatten()), input_shape=shape)


@pytest.mark.parametrize(
    ("shape", "module"),
    [
        ((3,), nn.Softmax(dim=1)),
        ((2, 3), nn.Softmax(dim=2)),
        ((2, 3), nn.Flatten(1, 2)),
        ((2, 3), nn.LayerNorm((2, 3))),
        ((2, 3), nn.LayerNorm((2, 3), bias=False)),
        ((4,), nn.Softplus(threshold=30)),
        ((4,), nn.ReLU(inplace=True)),
        ((4,), nn.PReLU(init=0.5)),
        ((4,), nn.BatchNorm1d(4, affine=False).eval()),
        ((2, 3), nn.LayerNorm((2, 3), elementwise_affine=False)),
        ((4,), nn.PReLU(4)),
        ((4,), nn.GELU(approximate="tanh")),
        ((4,), nn.Softplus(beta=2.5)),
        ((4,), nn.CELU(alpha=0.5)),
        ((4,), nn.Hardswish()),
        ((4,), nn.LogSoftmax(dim=1)),
    ],
    ids=str,
)
def test_modules_written_otherwise_that_are_the_same_function_are_read(shape: tuple[int, ...], module: Any) -> None:
    x = torch.randn(4, *shape, generator=torch.Generator().manual_seed(0))
    expected = module(x.clone()).detach().numpy().reshape(4, -1)
    network = NeuralNetwork.from_torch(nn.Sequential(module, nn.Flatten()), input_shape=shape)
    np.testing.assert_allclose(network.predict(x.numpy()), expected, atol=1e-6)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_standardization_comes_back_from_pytorch_in_front_of_a_layer_that_knows_its_inputs(dtype: DTypeName) -> None:
    X = np.random.default_rng(0).normal(100, 5, (50, 3))
    network = NeuralNetwork(dtype=dtype, seed=0)
    network.add(StandardizationLayer().adapt(X))
    network.add(DenseLayer(1))
    back = NeuralNetwork.from_torch(network.to_torch())
    np.testing.assert_array_equal(back.predict(X), network.predict(X))


# Training ----------------------------------------------------------------------------------------


def test_the_random_numbers_of_pytorch_itself_are_left_alone() -> None:
    data = class_rows(40)
    sparse_rows = Dataset(sparse.csr_matrix(data.X), data.y)
    network = noisy_network(loss="mse")
    network.stack.build((5,))
    pairs: list[tuple[Any, Any]] = [
        (network.fit, regression_rows(40)),
        (network.predict, regression_rows(40)),
        (network.evaluate, regression_rows(40)),
        (NeuralNetwork.from_torch, network.to_torch()),
        (network_of(DenseLayer(1), engine="torch", optimizer="lbfgs").fit, regression_rows(40)),
        (network_of(DenseLayer(3), SoftmaxActivation(), engine="torch", loss="cross_entropy").fit, sparse_rows),
    ]
    for function, argument in pairs:
        before = torch.get_rng_state()
        function(argument)
        assert torch.equal(torch.get_rng_state(), before)
    before = torch.get_rng_state()
    network.to_torch()
    assert torch.equal(torch.get_rng_state(), before)


def noisy_network(seed: int = 0, **settings: Any) -> NeuralNetwork:
    return network_of(
        GaussianNoiseLayer(0.3), DenseLayer(16), ReLUActivation(), DropoutLayer(0.4), DenseLayer(1),
        engine="torch", optimizer="adam", epochs=3, seed=seed, **settings,
    )  # fmt: skip


def test_noise_comes_from_the_seed_alone() -> None:
    data = regression_rows(80)
    torch.manual_seed(1)
    first = noisy_network().fit(data)
    torch.manual_seed(2)
    again, other = noisy_network().fit(data), noisy_network(seed=1).fit(data)
    np.testing.assert_array_equal(first.stack.vector.values, again.stack.vector.values)
    assert not np.array_equal(first.stack.vector.values, other.stack.vector.values)
    np.testing.assert_array_equal(first.predict(data), first.predict(data))


@pytest.mark.parametrize("csr", [False, True])
def test_both_engines_draw_the_same_noise(csr: bool) -> None:
    """Batches of 7 of 50 rows: of 35 numbers, and the last of another number of rows."""
    rows = class_rows(50)
    data = Dataset(sparse.csr_matrix(rows.X * (rows.X > 0)), rows.y) if csr else rows
    networks = []
    for engine in ("numpy", "torch"):
        network = network_of(
            *([] if csr else [GaussianNoiseLayer(0.2)]), DropoutLayer(0.3), DenseLayer(9), TanhActivation(),
            DropoutLayer(0.3), GaussianNoiseLayer(0.2), DenseLayer(3), SoftmaxActivation(), engine=engine,
            loss="categorical_cross_entropy", optimizer="adam", epochs=4, batch_size=7, dtype="float64",
        )  # fmt: skip
        networks.append(network.fit(data))
    ours, theirs = networks
    np.testing.assert_allclose(ours.history["loss"], theirs.history["loss"], rtol=1e-10)
    np.testing.assert_allclose(ours.stack.vector.values, theirs.stack.vector.values, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("first_row", [0, 3])
@pytest.mark.parametrize("kind", ["uniform", "normal"])
def test_the_noise_of_some_rows_is_that_of_the_whole_batch(kind: str, first_row: int) -> None:
    from chainrule.engines.torch_noise import draw

    source = NoiseSource(3, 1)
    source.epoch, source.step = 2**32 - 1, 5
    rows = torch.empty((4, 5), dtype=torch.float64)
    drawn = draw(source, kind, rows, first_row).numpy()
    elements = np.arange(first_row * 5, (first_row + 4) * 5).reshape(4, 5)
    np.testing.assert_allclose(drawn, source.draw(kind, elements, np.float64), rtol=1e-14)


def test_dropout_keeps_the_expected_share_and_the_expected_sum() -> None:
    """A step of descent on a linear net reveals the mask: dropped inputs leave their weights where they were."""
    n_inputs, rate = 20_000, 0.3
    network = network_of(
        DropoutLayer(rate), DenseLayer(1, weights_initializer="zeros"), engine="torch", epochs=1, learning_rate=0.5
    )
    network.fit(np.ones((1, n_inputs)), np.array([1.0]))
    moved = network.stack.vector.values[:n_inputs]
    assert np.mean(moved != 0) == pytest.approx(1 - rate, abs=0.02)
    np.testing.assert_allclose(moved[moved != 0], 1 / (1 - rate), rtol=1e-5)


def test_the_log_cosh_of_small_errors_is_not_lost() -> None:
    for error in (1e-6, 1e-4, 1e-2, 0.99, 1.01, 20.0):
        network = network_of(DenseLayer(1, (1,)), loss="log_cosh", engine="torch", epochs=1, learning_rate=0.5)
        network.layers[0].set_array("weights", [[0.0]])
        network.layers[0].set_array("biases", [error])
        network.fit(np.zeros((4, 1)), np.zeros(4))
        exact = float(np.float32(error))
        true_loss = exact + np.log1p(np.exp(-2 * exact)) - np.log(2) if error > 0.1 else exact**2 / 2 - exact**4 / 12
        assert network.history["loss"][0] == pytest.approx(true_loss, rel=1e-5)
        assert network.layers[0].parameter_views["biases"][0] == pytest.approx(exact - 0.5 * np.tanh(exact), rel=1e-5)


def test_batches_through_the_data_loader_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    from chainrule.engines.torch_batches import DeviceBatches

    data = class_rows(70)
    settings: dict[str, Any] = {"engine": "torch", "loss": "categorical_cross_entropy", "epochs": 3, "batch_size": 16}
    resident = network_of(DenseLayer(3), SoftmaxActivation(), **settings).fit(data)
    monkeypatch.setattr(DeviceBatches, "_move", lambda self, source: None)
    loaded = network_of(DenseLayer(3), SoftmaxActivation(), **settings).fit(data)
    np.testing.assert_array_equal(resident.stack.vector.values, loaded.stack.vector.values)


def test_augmented_rows_are_those_of_the_numpy_engine() -> None:
    data = regression_rows(60)
    networks = [
        network_of(DenseLayer(1), engine=engine, dtype="float64", epochs=3).fit(
            data, augmentation=NoiseAugmentation(0.2)
        )
        for engine in ("numpy", "torch")
    ]
    np.testing.assert_allclose(networks[0].stack.vector.values, networks[1].stack.vector.values, rtol=1e-12)


def test_sparse_rows_are_predicted() -> None:
    X = sparse.random_array((40, 30), density=0.1, rng=0, format="csr")
    network = network_of(DenseLayer(4, (30,)), TanhActivation(), DenseLayer(1))
    expected = network.predict(X)
    network.engine = TorchEngine()
    np.testing.assert_allclose(network.predict(X), expected, rtol=1e-5, atol=1e-6)


def test_callbacks_see_the_present_weights_after_every_batch() -> None:
    class Watch(Callback):
        def __init__(self) -> None:
            self.seen: list[bytes] = []

        def on_batch_end(self, run: TrainingRun) -> None:
            self.seen.append(run.stack.vector.values.tobytes())

    watch = Watch()
    network = network_of(DenseLayer(1), engine="torch", epochs=2, batch_size=20)
    network.fit(regression_rows(60), callbacks=[watch])
    assert len(set(watch.seen)) == 6
    assert watch.seen[-1] == network.stack.vector.values.tobytes()


def test_a_callback_may_ask_the_network_itself_after_an_epoch() -> None:
    data, seen = regression_rows(60), []

    class Probe(Callback):
        def on_epoch_end(self, run: TrainingRun) -> None:
            seen.append(network.evaluate(data)["loss"])

    network = network_of(DenseLayer(1), engine="torch", epochs=4, learning_rate=0.05)
    network.fit(data, validation=data, callbacks=[Probe(), EarlyStopping()])
    assert seen == pytest.approx(network.history["validation_loss"], rel=1e-6)


@pytest.mark.parametrize("every_batch", [True, False])
def test_a_callback_may_write_into_the_network(every_batch: bool) -> None:
    class Halve(Callback):
        watches_every_batch = every_batch

        def on_batch_end(self, run: TrainingRun) -> None:
            if run.batch == run.n_batches:
                run.stack.vector.values *= 0.5

    networks = [
        network_of(DenseLayer(1), engine=engine, dtype="float64", epochs=4, batch_size=20)
        for engine in ("numpy", "torch")
    ]
    for network in networks:
        network.fit(regression_rows(60), callbacks=[Halve()])
    np.testing.assert_allclose(networks[0].history["loss"], networks[1].history["loss"], rtol=1e-12)
    np.testing.assert_allclose(networks[0].stack.vector.values, networks[1].stack.vector.values, rtol=1e-12)


@pytest.mark.parametrize("rate", [1e4, 1e30])
def test_divergence_is_found_and_the_last_whole_epoch_kept(rate: float) -> None:
    network = network_of(DenseLayer(4), DenseLayer(1), engine="torch", epochs=5, learning_rate=rate, batch_size=16)
    with pytest.raises(
        DivergenceError, match=r"(layer \d.*|the loss) is not finite at learning rate .* smaller learning rate"
    ):
        network.fit(regression_rows(64))
    assert np.isfinite(network.stack.vector.values).all()


def test_inputs_too_large_for_the_type_are_named() -> None:
    network = network_of(DenseLayer(1), engine="torch", epochs=1)
    with pytest.raises(DataError, match=r"1e\+300, which is too large for float32"):
        network.fit(np.full((4, 2), 1e300), np.arange(4.0))


# Precision and compilation -----------------------------------------------------------------------


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_mixed_precision_learns_the_same_thing(precision: Any) -> None:
    data = class_rows(300, n_classes=2)
    losses = []
    for engine in (NumpyEngine(), TorchEngine(precision=precision)):
        network = network_of(
            DenseLayer(16), ReLUActivation(), DenseLayer(1), SigmoidActivation(), loss="binary_cross_entropy",
            optimizer="adam", learning_rate=0.01, epochs=10, batch_size=50, engine=engine,
        )  # fmt: skip
        network.fit(data)
        assert network.stack.dtype == np.float32
        losses.append(network.evaluate(data)["loss"])
    assert losses[1] == pytest.approx(losses[0], rel=0.03)
    assert losses[0] < 0.5


def test_float16_says_so_when_no_scale_helps(monkeypatch: pytest.MonkeyPatch) -> None:
    from chainrule.engines.torch_step import TrainingStep

    differentiate = TrainingStep.differentiate

    def spoilt(self: Any, batch: Any) -> Any:
        loss = differentiate(self, batch)
        self.vector.gradients[0] = float("inf")
        return loss

    monkeypatch.setattr(TrainingStep, "differentiate", spoilt)
    network = network_of(DenseLayer(1), engine=TorchEngine(precision="float16"), epochs=60, batch_size=10)
    with pytest.raises(DivergenceError, match="is not finite"):
        network.fit(regression_rows(20))


def test_a_loss_too_large_for_float16_halves_its_scale_and_goes_on() -> None:
    from chainrule.engines.torch_step import LossScale

    scale = LossScale()
    assert not scale.undo(torch.tensor([1.0, float("inf")]))
    assert scale.factor == 2.0**15
    for _ in range(2000):
        gradients = torch.tensor([2.0**15])
        assert scale.undo(gradients)
    assert float(gradients) == 1.0
    assert scale.factor == 2.0**16


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # PyTorch's compiler warns of itself
def test_torch_compile_gives_the_same_training() -> None:
    data = class_rows(200)
    networks = []
    start, training_start = time.perf_counter(), training_clock()
    for compiled in (False, True):
        network = network_of(
            BatchNormalizationLayer(), DenseLayer(16), ReLUActivation(), DropoutLayer(0.2), DenseLayer(3),
            SoftmaxActivation(), loss="categorical_cross_entropy", optimizer="adam", epochs=3, batch_size=48,
            engine=TorchEngine(compile=compiled),
        )  # fmt: skip
        networks.append(network.fit(data))
    np.testing.assert_allclose(networks[0].history["loss"], networks[1].history["loss"], rtol=1e-4)
    np.testing.assert_allclose(networks[0].predict(data), networks[1].predict(data), rtol=1e-3, atol=1e-4)
    trained, passed = training_clock() - training_start, time.perf_counter() - start
    assert 0 < trained < passed, "compiling does not count as training, and what comes after it does"


# What is refused ---------------------------------------------------------------------------------


class Mine(LossFunction):
    def loss(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> float:
        return float(np.mean((y_pred - y_true) ** 2))

    def derivative(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        return 2 * (y_pred - y_true) / y_true.size


class Half(Penalty):
    def value(self, weights: Any) -> float:
        return 0.0

    def add_gradient(self, weights: Any, gradient: Any) -> None:
        pass


def test_an_optimizer_of_ones_own_takes_its_steps_on_the_host() -> None:
    from chainrule.optimizer import Optimizer

    @dataclass(eq=False)
    class Sign(Optimizer):
        learning_rate: float = 0.01

        def allocate_state(self, size: int, dtype: Any) -> dict[str, Any]:
            return {}

        def step(self, weights: Any, gradient: Any, learning_rate: float) -> None:
            weights -= learning_rate * np.sign(gradient)

    data = regression_rows(60)
    networks = [
        network_of(DenseLayer(1), engine=engine, optimizer=Sign(), dtype="float64", epochs=4).fit(data)
        for engine in ("numpy", "torch")
    ]
    np.testing.assert_allclose(networks[0].stack.vector.values, networks[1].stack.vector.values, rtol=1e-12)


def test_settings_that_do_not_go_together_are_named() -> None:
    with pytest.raises(InvalidInputError, match=r"There is no engine called 'pytorch'\..*Known are: numpy, torch"):
        NeuralNetwork(engine="pytorch")
    with pytest.raises(InvalidInputError, match="engine='numpy' computes on the CPU; give engine='torch'"):
        NeuralNetwork(device="cuda")
    with pytest.raises(InvalidInputError, match="has its device already"):
        NeuralNetwork(engine=TorchEngine("cpu"), device="cuda")
    with pytest.raises(InvalidInputError, match="precision is one of float32, bfloat16, float16, not 'bf16'"):
        TorchEngine(precision="bf16")  # type: ignore[arg-type]
    network = network_of(DenseLayer(1), engine=TorchEngine(precision="bfloat16"), dtype="float64", epochs=1)
    with pytest.raises(InvalidInputError, match="precision='bfloat16' needs a network with dtype='float32'"):
        network.fit(regression_rows(10))
    network = network_of(DenseLayer(1), engine=TorchEngine(precision="float16"), optimizer="lbfgs", epochs=1)
    with pytest.raises(InvalidInputError, match="LBFGS needs more than 16 bits"):
        network.fit(regression_rows(10))


@pytest.mark.parametrize("device", ["nonsense", "cuda:99", "meta"])
def test_a_device_that_is_not_there_is_named_before_any_work(device: str) -> None:
    network = network_of(DenseLayer(1, (5,)), engine="torch", device=device, epochs=1)
    with pytest.raises(InvalidInputError, match=f"device.*'{device}'"):
        network.fit(regression_rows(10))


def test_without_pytorch_the_engine_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    network = network_of(DenseLayer(1, (5,)), engine="torch", epochs=1)
    for act in (lambda: network.fit(regression_rows(10)), network.to_torch):
        with pytest.raises(InvalidInputError, match="pip install torch"):
            act()


def test_naming_the_engine_does_not_load_pytorch() -> None:
    code = "import sys, chainrule; chainrule.NeuralNetwork(engine='torch'); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_dataset_of_images_is_trained_on() -> None:
    rng = np.random.default_rng(0)
    data = Dataset(rng.random((30, 4, 4)), np.arange(30) % 2)
    network = network_of(
        FlattenLayer(), DenseLayer(1), SigmoidActivation(), loss="binary_cross_entropy", engine="torch", epochs=2
    )
    assert network.fit(data).predict(data).shape == (30, 1)


@pytest.mark.parametrize("piece", ["layer", "loss", "penalty"])
def test_pieces_of_ones_own_are_refused_by_name(piece: str) -> None:
    class MyLayer(FlattenLayer):  # type: ignore[misc]
        def forward_propagation(self, inputs: Any, training: bool = False) -> Any:
            return -super().forward_propagation(inputs, training)

    layers = [DenseLayer(1), *([MyLayer()] if piece == "layer" else [])]
    network = network_of(
        *layers, engine="torch", epochs=1, optimizer=SGD(),
        loss=Mine() if piece == "loss" else "mse", penalty=Half() if piece == "penalty" else None,
    )  # fmt: skip
    words = {
        "layer": "MyLayer overrides forward_propagation or backward_propagation, but not lower.*engine='numpy'",
        "loss": "PyTorch has no counterpart of the loss Mine.*engine='numpy'",
        "penalty": "The penalty Half cannot be traced.*engine='numpy'",
    }
    with pytest.raises(InvalidInputError, match=words[piece]):
        network.fit(regression_rows(10))


@pytest.mark.parametrize("optimizer", ["adam", "nadam", "muon", "adafactor", "rprop"])
def test_steps_on_a_device_are_those_on_the_host(optimizer: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from chainrule.engines.torch_optimizers import OptimizerSteps

    def trained() -> NeuralNetwork:
        network = network_of(
            DenseLayer(4), DenseLayer(1), engine="torch", optimizer=optimizer, dtype="float64", epochs=4
        )
        return network.fit(regression_rows(60))

    on_host = trained()
    initialise = OptimizerSteps.__init__

    def with_tensors(self: Any, *arguments: Any) -> None:
        initialise(self, *arguments)
        self._on_host = False
        self.write_state()
        self._state = {name: tensor.clone() for name, tensor in self._state.items()}  # apart, as on a device

    monkeypatch.setattr(OptimizerSteps, "__init__", with_tensors)
    on_tensors = trained()
    np.testing.assert_allclose(on_tensors.stack.vector.values, on_host.stack.vector.values, rtol=1e-10)
    for name, array in on_host.optimizer.state.items():
        np.testing.assert_allclose(on_tensors.optimizer.state[name], array, rtol=1e-9, atol=1e-14)
