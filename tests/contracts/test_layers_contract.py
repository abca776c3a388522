"""What every layer of chainrule promises. Layers are found by introspection, so that none can be forgotten."""

from __future__ import annotations

import copy
import importlib
import inspect
import itertools
import math
import pickle
import pkgutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from scipy import sparse

import chainrule.layers
from chainrule.activations import ActivationLayer, CustomActivation
from chainrule.errors import InvalidInputError, NotBuiltError
from chainrule.layers import LAYERS, Layer
from chainrule.named import settings_of
from chainrule.optimizer import SGD
from chainrule.parameters import ParameterBlock, ParameterVector
from chainrule.randomness import NoiseSource
from support.layers import NEEDS_OTHER_ROWS, make_layer

# Layers whose row gradients cannot exist, because a row's output depends on the rows beside it.
MIXES_ROWS = ["BatchNormalizationLayer"]


def derivative_of_tanh(z: Any) -> Any:
    return 1 - np.tanh(z) ** 2


def walk_subclasses(cls: type[Layer]) -> Iterator[type[Layer]]:
    for child in cls.__subclasses__():
        yield child
        yield from walk_subclasses(child)


def find_layers() -> dict[str, type[Layer]]:
    """Every concrete layer class of chainrule: those that are not abstract and that nothing derives from."""
    for module in pkgutil.iter_modules(chainrule.layers.__path__, "chainrule.layers."):
        importlib.import_module(module.name)
    return {
        cls.__name__: cls
        for cls in sorted(set(walk_subclasses(Layer)), key=lambda cls: cls.__name__)
        if cls.__module__.startswith(("chainrule.layers.", "chainrule.activations."))
        and not inspect.isabstract(cls)
        and not any(child.__module__.startswith("chainrule.") for child in cls.__subclasses__())
        and cls.__module__ != "chainrule.layers.own"  # those stand in front of a user's class
        and cls not in NEEDS_OTHER_ROWS
    }


def find_layer(name: str) -> Any:
    return find_layers()[name]


def make_one(name: str) -> Layer:
    return CustomActivation(np.tanh, derivative_of_tanh) if name == "CustomActivation" else make_layer(find_layer(name))


def make(name: str, shape: tuple[int, ...] = (4,), dtype: Any = np.float64) -> Layer:
    layer = make_one(name)
    layer.dtype = np.dtype(dtype)
    layer.set_input_shape(shape)
    layer.initialize(rng=np.random.default_rng(1))
    rng = np.random.default_rng(2)
    for values in layer.parameter_views.values():  # away from 0 and 1, where a wrong formula may be right
        values[...] += rng.uniform(0.2, 0.8, values.shape)
    for values in layer.state.values():
        values[...] += rng.uniform(0.2, 0.8, values.shape)
    return layer


def make_batch(rows: int, shape: tuple[int, ...] = (4,), dtype: Any = np.float64, seed: int = 3) -> Any:
    """Normal numbers, none of them within 0.05 of 0, where some activations have a kink."""
    x = np.random.default_rng(seed).normal(size=(rows, *shape))
    return (x + np.copysign(0.05, x)).astype(dtype)


def train_forward(layer: Layer, x: Any) -> Any:
    layer.rng, layer.noise = np.random.default_rng(11), NoiseSource(11)
    return layer.forward_propagation(x, training=True)


def snapshot(layer: Layer) -> dict[str, Any]:
    """Everything the layer holds, so that two snapshots are equal only if nothing at all was written between them.

    The trace of an activation's formulas depends on its settings alone, and is kept when it is first needed.
    """
    found: dict[str, Any] = {}
    for name, value in vars(layer).items():
        if name == "_traced":
            continue
        found[f"id of {name}"] = id(value)
        arrays = value if isinstance(value, dict) else {"": value}
        for key, array in arrays.items():
            found[f"id of {name}.{key}"] = id(array)
            if isinstance(array, np.ndarray):
                found[f"{name}.{key}"] = array.tobytes()
    found["rng state"] = str(layer.rng.bit_generator.state)
    found["noise"] = str(vars(layer.noise))
    return found


NAMES = tuple(find_layers())
WITH_PARAMETERS = tuple(name for name in NAMES if make(name).parameters())
SPARSE = tuple(name for name in NAMES if find_layer(name).accepts_sparse)
# Activations see images as they see rows; of the layers, those that do not insist on vectors do.
SHAPES = [(name, (4,)) for name in NAMES] + [
    (name, (2, 3))
    for name in NAMES
    if not issubclass(find_layer(name), ActivationLayer) and not find_layer(name).takes_vectors_only
]

every_layer = pytest.mark.parametrize("name", NAMES)
every_layer_and_shape = pytest.mark.parametrize(("name", "shape"), SHAPES)


# The family --------------------------------------------------------------------------------------------------------


def test_introspection_finds_the_layers() -> None:
    assert {"DenseLayer", "DropoutLayer", "BatchNormalizationLayer", "ReLUActivation"} <= set(NAMES)


@every_layer
def test_every_layer_is_final(name: str) -> None:
    assert getattr(find_layer(name), "__final__", False)


@every_layer
def test_every_layer_explains_itself(name: str) -> None:
    assert len((find_layer(name).__doc__ or "").strip()) > 30


@every_layer
def test_the_settings_make_the_same_layer_again(name: str) -> None:
    layer = make(name)
    again = type(layer)(**settings_of(layer))
    assert settings_of(again) == settings_of(layer)


@pytest.mark.parametrize("name", [name for name in NAMES if not issubclass(find_layer(name), ActivationLayer)])
def test_every_layer_has_a_name_in_the_registry(name: str) -> None:
    cls = find_layer(name)
    assert cls in LAYERS.classes.values()
    assert cls.__name__ in chainrule.layers.__all__
    assert LAYERS.find(LAYERS.name_of(cls)) is cls


# Shapes and parameters ---------------------------------------------------------------------------------------------


@every_layer_and_shape
def test_the_output_has_the_shape_and_type_announced(name: str, shape: tuple[int, ...]) -> None:
    for dtype, training in itertools.product(("float32", "float64"), (False, True)):
        layer = make(name, shape, dtype)
        output = layer.forward_propagation(make_batch(5, shape, dtype), training)
        assert output.shape == (5, *layer.output_shape())
        assert output.dtype == dtype
        assert output.flags.c_contiguous
        assert layer.input_shape() == shape


@every_layer
def test_parameters_counts_what_is_bound(name: str) -> None:
    layer = make(name)
    before = {key: values.copy() for key, values in layer.parameter_views.items()}
    blocks = [
        ParameterBlock(0, key, shape, key in layer.penalized_parameters)
        for key, shape in layer.parameter_shapes().items()
    ]
    vector = ParameterVector(blocks, layer.dtype)
    layer.bind(
        {block.name: block.view(vector.values) for block in vector.blocks},
        {block.name: block.view(vector.gradients) for block in vector.blocks},
    )
    assert layer.parameters() == vector.size == sum(values.size for values in before.values())
    assert set(layer.penalized_parameters) <= set(before)
    for key, values in before.items():
        np.testing.assert_array_equal(layer.parameter_views[key], values)
        assert np.shares_memory(layer.parameter_views[key], vector.values)
    train_forward(layer, x := make_batch(6))
    layer.backward_propagation(np.ones((len(x), *layer.output_shape())))
    vector_gradients = vector.gradients.copy()
    layer.initialize(rng=np.random.default_rng(4))  # as a network's reset does
    for key in before:
        assert np.shares_memory(layer.parameter_views[key], vector.values), "initialize must keep the network's views"
        assert np.shares_memory(layer.gradient_views[key], vector.gradients)
    if vector.size:
        assert np.abs(vector_gradients).max() > 0


@every_layer
def test_another_input_shape_makes_a_layer_forget_what_no_longer_fits(name: str) -> None:
    layer = make(name)
    train_forward(layer, make_batch(3))
    layer.set_input_shape((7,))
    assert train_forward(layer, make_batch(3, (7,))).shape == (3, *layer.output_shape())


# Gradients ---------------------------------------------------------------------------------------------------------


def differences(evaluate: Callable[[float], float], step: float = 1e-5) -> float:
    """The derivative at 0 by central differences of fourth order: truncation and rounding both lie near 1e-11."""
    near, far = evaluate(step) - evaluate(-step), evaluate(2 * step) - evaluate(-2 * step)
    return (8 * near - far) / (12 * step)


@every_layer_and_shape
@pytest.mark.parametrize("rows", [1, 5])
def test_gradients_agree_with_differences(name: str, shape: tuple[int, ...], rows: int) -> None:
    layer = make(name, shape)
    x = make_batch(rows, shape)
    rng = np.random.default_rng(5)
    error = rng.normal(size=(rows, *layer.output_shape()))

    def objective() -> float:
        return float(np.sum(error * train_forward(layer, x)))

    objective()
    input_error = layer.backward_propagation(error.copy())
    assert input_error is not None
    assert input_error.shape == x.shape
    gradients = {"input": (x, input_error.copy())} | {
        key: (layer.parameter_views[key], layer.gradient_views[key].copy()) for key in layer.parameter_shapes()
    }
    for key, (values, gradient) in gradients.items():
        start = values.copy()
        for _ in range(3):
            direction = rng.normal(size=values.shape)

            def along(t: float, values: Any = values, start: Any = start, direction: Any = direction) -> float:
                values[...] = start + t * direction
                return objective()

            expected = differences(along)
            values[...] = start
            found = float(np.sum(gradient * direction))
            assert found == pytest.approx(expected, rel=1e-7, abs=1e-9), f"d/d({key})"


@every_layer_and_shape
def test_needs_input_error_off_changes_no_gradient(name: str, shape: tuple[int, ...]) -> None:
    layer = make(name, shape)
    error = np.random.default_rng(5).normal(size=(5, *layer.output_shape()))
    train_forward(layer, make_batch(5, shape))
    layer.backward_propagation(error)
    expected = {key: values.copy() for key, values in layer.gradient_views.items()}
    for values in layer.gradient_views.values():
        values.fill(np.nan)
    layer.needs_input_error = False
    returned = layer.backward_propagation(error)
    # An activation has nothing else to do backward; a network never calls it for that.
    assert returned is None or (isinstance(layer, ActivationLayer) and not layer.parameters())
    for key, values in layer.gradient_views.items():
        np.testing.assert_array_equal(values, expected[key])


@every_layer
def test_alone_a_layer_updates_its_parameters_with_the_optimizer_that_it_is_given(name: str) -> None:
    layer, rng = make(name), np.random.default_rng(3)
    layer.initialize(SGD(learning_rate=0.1, momentum=0.9), rng=np.random.default_rng(1))
    retained = {key: np.zeros_like(values) for key, values in layer.parameter_views.items()}
    for _ in range(2):
        before = {key: values.copy() for key, values in layer.parameter_views.items()}
        layer.forward_propagation(rng.normal(size=(6, 4)), training=True)
        layer.backward_propagation(rng.normal(size=(6, *layer.output_shape())))
        for key, values in layer.parameter_views.items():
            retained[key] = 0.9 * retained[key] + layer.gradient_views[key]
            np.testing.assert_allclose(values, before[key] - 0.1 * retained[key])
            assert retained[key].any()


@every_layer
def test_backward_leaves_the_error_it_was_given(name: str) -> None:
    layer = make(name)
    train_forward(layer, x := make_batch(5))
    before, error = x.copy(), np.random.default_rng(5).normal(size=(5, *layer.output_shape()))
    given = error.copy()
    layer.backward_propagation(given)
    np.testing.assert_array_equal(given, error)
    np.testing.assert_array_equal(x, before)


@every_layer_and_shape
def test_the_jacobian_holds_the_gradient_of_every_row(name: str, shape: tuple[int, ...]) -> None:
    layer = make(name, shape)
    rows, size = 5, layer.parameters()
    x = make_batch(rows, shape)
    error = np.random.default_rng(5).normal(size=(rows, *layer.output_shape()))
    train_forward(layer, x)
    layer.backward_propagation(error)
    total = {key: values.copy() for key, values in layer.gradient_views.items()}
    whole = np.full((rows, 2 + size), np.nan)  # the blocks are slices of one matrix, as in Levenberg-Marquardt
    jacobian, start = {}, 1
    for key, parameter_shape in layer.parameter_shapes().items():
        stop = start + math.prod(parameter_shape)
        jacobian[key] = whole[:, start:stop].reshape(rows, *parameter_shape)
        assert np.shares_memory(jacobian[key], whole)
        start = stop
    if size and type(layer).write_jacobian is Layer.write_jacobian:  # it does not say how, so it must refuse
        with pytest.raises(InvalidInputError, match=name):
            layer.write_jacobian(error, jacobian)
        return
    layer.write_jacobian(error, jacobian)
    for key, gradient in total.items():
        np.testing.assert_allclose(jacobian[key].sum(axis=0), gradient, rtol=1e-12, atol=1e-13)
    for i in range(rows if total else 0):
        train_forward(layer, x[i : i + 1])
        layer.backward_propagation(error[i : i + 1])
        for key in total:
            np.testing.assert_allclose(jacobian[key][i], layer.gradient_views[key], rtol=1e-12, atol=1e-13)
    assert np.isnan(whole[:, [0, -1]]).all(), "nothing may be written outside the blocks"


def test_only_layers_that_mix_rows_refuse_to_give_row_gradients() -> None:
    refusing = [name for name in WITH_PARAMETERS if find_layer(name).write_jacobian is Layer.write_jacobian]
    assert [name for name in refusing if not issubclass(find_layer(name), ActivationLayer)] == MIXES_ROWS


# State and memory --------------------------------------------------------------------------------------------------


@every_layer
def test_inference_writes_nothing(name: str) -> None:
    layer = make(name)
    fresh = snapshot(layer)
    layer.forward_propagation(make_batch(3))
    assert snapshot(layer) == fresh
    train_forward(layer, make_batch(5))
    layer.backward_propagation(np.ones((5, *layer.output_shape())))
    trained, x = snapshot(layer), make_batch(7)
    before = x.copy()
    layer.forward_propagation(x)
    assert snapshot(layer) == trained
    np.testing.assert_array_equal(x, before)


@every_layer
def test_inference_in_many_threads_gives_the_same_numbers(name: str) -> None:
    layer = make(name)
    batches = [make_batch(50, seed=seed) for seed in range(16)]
    expected = [layer.forward_propagation(x).copy() for x in batches]
    with ThreadPoolExecutor(4) as pool:
        for found, wanted in zip(pool.map(layer.forward_propagation, batches), expected, strict=True):
            np.testing.assert_array_equal(found, wanted)


@every_layer
def test_training_remembers_the_batch(name: str) -> None:
    layer = make(name)
    assert layer.input is None
    assert layer.output is None
    x = make_batch(5)
    output = train_forward(layer, x)
    np.testing.assert_array_equal(layer.input, x)
    assert layer.output is output


@every_layer
def test_a_short_last_batch_uses_the_same_buffers(name: str) -> None:
    layer = make(name, dtype=np.float32)
    train_forward(layer, make_batch(8, dtype=np.float32))
    layer.backward_propagation(np.ones((8, *layer.output_shape()), np.float32))
    buffers = {key: id(buffer) for key, buffer in layer._buffers.items()}
    x, error = make_batch(3, dtype=np.float32, seed=6), make_batch(3, layer.output_shape(), np.float32, seed=7)
    alone = make(name, dtype=np.float32)
    np.testing.assert_array_equal(train_forward(layer, x), train_forward(alone, x))
    np.testing.assert_array_equal(layer.backward_propagation(error), alone.backward_propagation(error))
    for key, gradient in layer.gradient_views.items():
        np.testing.assert_array_equal(gradient, alone.gradient_views[key])
    assert {key: id(buffer) for key, buffer in layer._buffers.items()} == buffers
    longer = make_batch(20, dtype=np.float32)
    np.testing.assert_array_equal(train_forward(layer, longer), train_forward(alone, longer))


@every_layer
@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda layer: pickle.loads(pickle.dumps(layer))])
def test_copies_keep_what_was_learnt_and_drop_buffers(name: str, duplicate: Callable[[Layer], Layer]) -> None:
    layer = make(name)
    train_forward(layer, x := make_batch(5))
    layer.backward_propagation(np.ones((5, *layer.output_shape())))
    twin = duplicate(layer)
    assert twin._buffers == {}
    assert twin.input is None
    assert twin.output is None
    for ours, theirs in ((layer.parameter_views, twin.parameter_views), (layer.state, twin.state)):
        assert ours.keys() == theirs.keys()
        for key, values in ours.items():
            np.testing.assert_array_equal(values, theirs[key])
            assert not np.shares_memory(values, theirs[key])
    np.testing.assert_array_equal(twin.forward_propagation(x), layer.forward_propagation(x))
    assert str(twin.rng.bit_generator.state) == str(layer.rng.bit_generator.state)
    assert vars(twin.noise) == vars(layer.noise)
    train_forward(twin, x)
    assert twin.backward_propagation(np.ones((5, *twin.output_shape()))) is not None
    if layer.parameter_views:
        key = next(iter(layer.parameter_views))
        before = layer.parameter_views[key].copy()
        twin.parameter_views[key] += 1
        np.testing.assert_array_equal(layer.parameter_views[key], before)


@every_layer
def test_the_same_generator_gives_the_same_bits(name: str) -> None:
    a, b = (train_forward(make(name), make_batch(6)) for _ in range(2))
    np.testing.assert_array_equal(a, b)


# What is refused ---------------------------------------------------------------------------------------------------


def one_sentence(error: pytest.ExceptionInfo[Any], layer: Layer) -> None:
    text = str(error.value)
    assert layer.layer_name() in text
    assert "\n" not in text
    assert text.endswith(".")


@every_layer
def test_inputs_of_a_wrong_shape_are_refused(name: str) -> None:
    layer = make(name)
    for wrong, training in itertools.product([(3, 5), (4,), (3, 4, 1), ()], (False, True)):
        with pytest.raises(InvalidInputError, match="expects rows of shape") as error:
            layer.forward_propagation(np.ones(wrong), training)
        one_sentence(error, layer)


@every_layer
def test_an_error_of_a_wrong_shape_is_refused(name: str) -> None:
    layer = make(name)
    train_forward(layer, make_batch(5))
    for wrong in ((4, *layer.output_shape()), (5, 99), (5,)):
        with pytest.raises(InvalidInputError, match="shape of the last output") as error:
            layer.backward_propagation(np.ones(wrong))
        one_sentence(error, layer)


@every_layer
def test_backward_without_a_training_batch_is_refused(name: str) -> None:
    layer = make(name)
    layer.forward_propagation(make_batch(5))
    with pytest.raises(NotBuiltError, match="no training batch") as error:
        layer.backward_propagation(np.ones((5, *layer.output_shape())))
    one_sentence(error, layer)


@every_layer
def test_a_layer_that_does_not_know_its_input_shape_says_so(name: str) -> None:
    layer = make_one(name)
    with pytest.raises(NotBuiltError, match="is not known yet") as error:
        layer.forward_propagation(make_batch(2))
    one_sentence(error, layer)


@every_layer
def test_an_input_shape_that_is_none_is_refused(name: str) -> None:
    layer = make_one(name)
    wrong_shapes: list[Any] = [(), (0,), (-1,), (2.5,), 4, "4"]
    for wrong in wrong_shapes:
        with pytest.raises(InvalidInputError, match="input shape") as error:
            layer.set_input_shape(wrong)
        one_sentence(error, layer)


@every_layer
def test_layers_for_vectors_refuse_images(name: str) -> None:
    cls = find_layer(name)
    if cls.takes_vectors_only:
        with pytest.raises(InvalidInputError, match="FlattenLayer"):
            make(name, (2, 3))


@pytest.mark.parametrize("name", [name for name in NAMES if name not in SPARSE])
def test_sparse_inputs_are_refused_where_they_would_be_filled(name: str) -> None:
    layer = make(name)
    for kind in (sparse.csr_matrix, sparse.csr_array, sparse.coo_array):
        with pytest.raises(InvalidInputError, match="sparse") as error:
            layer.forward_propagation(kind(make_batch(3)))
        one_sentence(error, layer)


@pytest.mark.parametrize("name", SPARSE)
def test_sparse_inputs_give_what_dense_ones_give(name: str) -> None:
    layer = make(name, dtype=np.float32)
    kinds: list[Any] = [sparse.csr_matrix, sparse.csr_array, sparse.csc_array, sparse.coo_matrix]
    for kind, dtype in itertools.product(kinds, ("float32", "float64", "int8")):
        dense = np.array([[0, 1, 0, 2], [0, 0, 0, 0], [3, 0, 0, 0]], dtype)
        found = layer.forward_propagation(kind(dense))
        assert found.dtype == np.float32
        found = found.toarray() if hasattr(found, "toarray") else found
        np.testing.assert_allclose(found, layer.forward_propagation(dense), rtol=1e-6)


@pytest.mark.parametrize("name", WITH_PARAMETERS)
def test_parameters_of_a_wrong_shape_are_refused(name: str) -> None:
    layer = make(name)
    key = next(iter(layer.parameter_views))
    with pytest.raises(InvalidInputError, match="must have shape") as error:
        layer.set_array(key, np.ones((2, 2, 2)))
    one_sentence(error, layer)
