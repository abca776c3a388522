"""Model files: everything comes back to the bit, writing is whole or not at all, and damage is told in words."""

from __future__ import annotations

import copy
import json
import math
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chainrule.activations import ACTIVATIONS, ActivationLayer, CustomActivation, SigmoidActivation
from chainrule.callbacks import Callback, EarlyStopping, ReduceOnPlateau, TrainingRun
from chainrule.errors import ChainruleError, InvalidInputError, ModelFileError
from chainrule.files import Checkpoint, read_model_file, write_model_file
from chainrule.files.config import build_piece, describe_piece
from chainrule.initializers import INITIALIZERS, Constant
from chainrule.layers import (
    LAYERS,
    BatchEnsembleLayer,
    BatchNormalizationLayer,
    DenseLayer,
    DropoutLayer,
    EmbeddingLayer,
    EnsembleDenseLayer,
    Layer,
    RepeatLayer,
    StandardizationLayer,
)
from chainrule.layers.base import ArrayAttribute
from chainrule.losses import LOSSES, CustomLoss, LossFunction
from chainrule.named import Registry
from chainrule.neuralnet import NeuralNetwork
from chainrule.optimizer import OPTIMIZERS, Adam, Optimizer
from chainrule.penalties import L1, L1L2, PENALTIES
from chainrule.schedules import SCHEDULES, CosineDecay, OneCycle, PolynomialDecay, WarmUp
from chainrule.types import Array
from support.layers import LAYER_CLASSES, make_layer
from support.networks import bits_of, class_rows, history_without_seconds, network_of, regression_rows

DATA = class_rows(60)

# Round trips --------------------------------------------------------------------------------------


def saved(path: Path, *layers: Layer, **settings: Any) -> NeuralNetwork:
    settings = {"loss": "mse", "metric": ["accuracy"], "epochs": 2, **settings}
    network = network_of(*layers, DenseLayer(3), **settings)
    network.fit(DATA, validation=0.2)
    network.save(path)
    return network


@pytest.mark.parametrize("cls", LAYER_CLASSES, ids=lambda cls: cls.__name__)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_every_layer_comes_back_to_the_bit(cls: type[Layer], dtype: str, tmp_path: Path) -> None:
    layer = make_layer(cls)
    if isinstance(layer, StandardizationLayer):
        layer.adapt(DATA.X)
    network = saved(tmp_path / "model", layer, dtype=dtype)
    loaded = NeuralNetwork.load(tmp_path / "model")
    assert bits_of(loaded) == bits_of(network)
    assert loaded.predict(DATA).tobytes() == network.predict(DATA).tobytes()
    assert loaded.describe() == network.describe()
    assert loaded.history.to_dict() == network.history.to_dict()
    assert loaded.score(DATA) == network.score(DATA)


def test_every_setting_comes_back(tmp_path: Path) -> None:
    changed = {
        "epochs": 3, "batch_size": 7, "optimizer": Adam(0.02, beta1=0.8), "loss": "huber", "metric": ["f1", "accuracy"],
        "seed": 2**40, "dtype": "float64", "penalty": L1L2(0.1, 0.2), "clip_norm": 1.5, "max_norm": 3,
        "label_smoothing": 0.1, "schedule": WarmUp(2, then=CosineDecay(5)), "class_weight": {"a": 2.0, "b": 0.5},
        "shuffle": False, "verbose": True, "clip_value": 0.5, "ema_decay": 0.9, "swa_from": 2, "vat_epsilon": 0.5,
    }  # fmt: skip
    network = NeuralNetwork(**changed)
    network.add(DenseLayer(3, (5,), weights_initializer=Constant(0.25), biases_initializer="normal"))
    assert network.describe()["settings"].keys() == changed.keys()
    default = network_of(DenseLayer(1, (5,))).describe()["settings"]
    assert all(default[name] != value for name, value in network.describe()["settings"].items())
    network.save(tmp_path / "model")
    loaded = NeuralNetwork.load(tmp_path / "model")
    assert loaded.describe() == network.describe()
    assert (loaded.optimizer.learning_rate, loaded.class_weight) == (0.02, {"a": 2.0, "b": 0.5})
    assert isinstance(loaded.layers[0], DenseLayer)
    assert loaded.layers[0].weights_initializer == Constant(0.25)


def test_class_weights_keep_the_type_of_their_labels(tmp_path: Path) -> None:
    weights: dict[Any, float] = {np.int64(0): 2.0, 1: np.float32(3)}
    network = network_of(DenseLayer(1, (5,)), SigmoidActivation(), class_weight=weights)
    network.save(tmp_path / "model")
    assert NeuralNetwork.load(tmp_path / "model").class_weight == {0: 2.0, 1: 3.0}


def test_numbers_of_numpy_are_settings_too(tmp_path: Path) -> None:
    network = network_of(
        DenseLayer(np.int64(4), (5,)), DropoutLayer(np.float32(0.5)), DenseLayer(3), loss="mse",
        clip_norm=np.float32(1), max_norm=np.int64(3), label_smoothing=np.float32(0), shuffle=np.bool_(False),
        optimizer=Adam(np.float32(0.5)), epochs=np.int64(1),
    ).fit(DATA)  # fmt: skip
    network.save(tmp_path / "model")
    loaded = NeuralNetwork.load(tmp_path / "model")
    assert bits_of(loaded) == bits_of(network)
    assert loaded.describe() == network.describe()
    assert (loaded.clip_norm, loaded.max_norm, loaded.shuffle) == (1.0, 3, False)


def test_what_json_cannot_hold_is_told(tmp_path: Path) -> None:
    for notes in ({"when": Path()}, {"value": np.float32(1)}, {"value": math.nan}, {(1, 2): 3}):
        with pytest.raises(InvalidInputError, match="cannot be kept in a file"):
            write_model_file(tmp_path / "file", "model", {"notes": notes}, {})
    network = network_of(DenseLayer(1, (5,)))
    network.clip_norm = Path()  # type: ignore[assignment]
    with pytest.raises(InvalidInputError, match="NeuralNetwork holds PosixPath"):
        network.save(tmp_path / "file")
    assert list(tmp_path.iterdir()) == []


REGISTRIES = {"layer": LAYERS, "activation": ACTIVATIONS, "loss": LOSSES, "optimizer": OPTIMIZERS}
REGISTRIES |= {"schedule": SCHEDULES, "penalty": PENALTIES, "initializer": INITIALIZERS}
ARGUMENTS = {
    EmbeddingLayer: {"n_categories": (2, 3), "n_dimensions": 2},
    RepeatLayer: {"n": 3},
    EnsembleDenseLayer: {"n_units": 3},
    BatchEnsembleLayer: {"n_units": 3, "scales": "signs", "weights_initializer": "he_normal"},
    CosineDecay: {"epochs": 5},
    PolynomialDecay: {"epochs": 5},
    OneCycle: {"epochs": 5},
}


@pytest.mark.parametrize(("kind", "name"), [(k, n) for k, registry in REGISTRIES.items() for n in registry.names()])
def test_every_piece_is_json_and_back(kind: str, name: str) -> None:
    registry: Registry[Any] = REGISTRIES[kind]  # type: ignore[assignment]
    cls = registry.classes[name]
    piece = make_layer(cls) if cls in LAYER_CLASSES else cls(**ARGUMENTS.get(cls, {}))
    described = json.loads(json.dumps(describe_piece(piece)))
    rebuilt = build_piece(described, kind)
    assert type(rebuilt) is type(piece)
    assert describe_piece(rebuilt) == described


def test_an_array_that_is_not_contiguous_keeps_its_order(tmp_path: Path) -> None:
    arrays = {
        "transposed": np.arange(12.0).reshape(3, 4).T,
        "reversed": np.arange(5)[::-1],
        "strided": np.arange(20.0, dtype=np.float32).reshape(4, 5)[:, ::2],
        "empty": np.empty((0, 3)),
        "fortran": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    }
    write_model_file(tmp_path / "file", "model", {"note": "é ✓"}, arrays)
    metadata, read = read_model_file(tmp_path / "file", "model")
    assert metadata["note"] == "é ✓"
    for name, array in arrays.items():
        np.testing.assert_array_equal(read[name], array)
        assert read[name].dtype == array.dtype


# Pieces of the user's own -------------------------------------------------------------------------


@dataclass(eq=False)
class Swirl(ActivationLayer):
    """A class of the user's, with a setting."""

    turns: float = 2.0

    def activation_function(self, x: Any) -> Any:
        return np.sin(self.turns * x)

    def derivative(self, x: Any) -> Any:
        return self.turns * np.cos(self.turns * x)


class FourthPower(LossFunction):
    def loss(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> float:
        return float(np.mean((y_pred - y_true) ** 4))

    def derivative(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        return 4 * (y_pred - y_true) ** 3 / y_pred.size


def largest_error(y_true: Any, y_pred: Any, sample_weight: Any = None) -> float:
    return float(np.max(np.abs(y_true - y_pred)))


def test_the_users_own_pieces_come_back_when_they_are_handed_in(tmp_path: Path) -> None:
    path = tmp_path / "model"
    network = saved(path, DenseLayer(4), Swirl(3.0), loss=FourthPower, metric=[largest_error])
    own = {"Swirl": Swirl, "FourthPower": FourthPower, "largest_error": largest_error}
    loaded = NeuralNetwork.load(path, custom_objects=own)
    assert loaded.predict(DATA).tobytes() == network.predict(DATA).tobytes()
    assert loaded.evaluate(DATA) == network.evaluate(DATA)
    for missing in own:
        with pytest.raises(ModelFileError, match=rf"{missing}.*custom_objects=\{{'{missing}'"):
            NeuralNetwork.load(path, custom_objects={name: piece for name, piece in own.items() if name != missing})
    with pytest.raises(ModelFileError, match=r"is no (layer|activation)"):
        NeuralNetwork.load(path, custom_objects={**own, "Swirl": FourthPower})


def squared(y: Any, p: Any) -> Any:
    return (p - y) ** 2


def doubled(y: Any, p: Any) -> Any:
    return 2 * (p - y)


def test_pieces_made_of_functions_train_but_cannot_be_kept(tmp_path: Path) -> None:
    network = network_of(
        DenseLayer(4, (5,)),
        CustomActivation(np.sin, np.cos),
        DenseLayer(1),
        loss=CustomLoss(squared, doubled),
        epochs=3,
    )
    data = regression_rows()
    losses = network.fit(data).history["loss"]
    assert losses[-1] < losses[0]
    assert pickle.loads(pickle.dumps(network)).predict(data).tobytes() == network.predict(data).tobytes()
    with pytest.raises(InvalidInputError, match="cannot be kept in a file; give it a name"):
        network.save(tmp_path / "model")
    epochs = network.history.n_epochs
    with pytest.raises(InvalidInputError, match="cannot be kept in a file"):
        network.fit(data, callbacks=[Checkpoint(tmp_path / "checkpoint")])
    assert network.history.n_epochs == epochs, "that no checkpoint can be written is said before training"
    assert list(tmp_path.iterdir()) == []


# Files from strangers -----------------------------------------------------------------------------


def small_network() -> NeuralNetwork:
    network = network_of(
        StandardizationLayer().adapt(DATA.X), DenseLayer(2), BatchNormalizationLayer(), DropoutLayer(0.1),
        DenseLayer(3), loss="mse", metric="accuracy", epochs=1, optimizer="adam", schedule=WarmUp(2), l1=0.1,
        class_weight={0: 2.0},
    )  # fmt: skip
    return network.fit(DATA)


@pytest.fixture(scope="module")
def valid(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("valid") / "model"
    small_network().save(path)
    return path.read_bytes()


def split(content: bytes) -> tuple[dict[str, Any], bytes]:
    """Return the header and the data of a safetensors file."""
    length = int.from_bytes(content[:8], "little")
    return json.loads(content[8 : 8 + length]), content[8 + length :]


def joined(header: dict[str, Any], data: bytes) -> bytes:
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


def with_metadata(content: bytes, change: Callable[[dict[str, Any]], Any]) -> bytes:
    """Change chainrule's own JSON inside the file; ``change`` works in place, or returns something else."""
    header, data = split(content)
    metadata = json.loads(header["__metadata__"]["chainrule"])
    changed = change(metadata)
    header["__metadata__"]["chainrule"] = json.dumps(metadata if changed is None else changed)
    return joined(header, data)


def load(content: bytes, folder: Path) -> NeuralNetwork:
    path = folder / "given"
    path.write_bytes(content)
    return NeuralNetwork.load(path)


def refused(content: bytes, folder: Path, words: str | None = None) -> None:
    with pytest.raises(ModelFileError, match=words) as caught:
        load(content, folder)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 600


def test_a_file_cut_anywhere_is_refused(valid: bytes, tmp_path: Path) -> None:
    load(valid, tmp_path)
    for length in [*range(0, 40), *range(40, len(valid), 37), len(valid) - 1]:
        refused(valid[:length], tmp_path)
    refused(valid + b"x", tmp_path)


@pytest.mark.parametrize("kind", ["missing", "folder", "text", "pickle", "npz", "other safetensors"])
def test_what_is_no_model_file_is_refused(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "given"
    if kind == "folder":
        path.mkdir()
    elif kind == "text":
        path.write_text("model")
    elif kind == "pickle":
        path.write_bytes(pickle.dumps(Exploit()))
    elif kind == "npz":
        with path.open("wb") as file:
            np.savez(file, weights=np.ones(3))
    elif kind == "other safetensors":
        safetensors.numpy.save_file({"weights": np.ones(3)}, path)
    with pytest.raises(ModelFileError, match="given"):
        NeuralNetwork.load(path)
    assert not Path("exploited").exists()


class Exploit:
    def __reduce__(self) -> Any:
        return Path.touch, (Path("exploited"),)


def pickle_inside(metadata: dict[str, Any]) -> None:
    metadata["network"]["layers"][0] = pickle.dumps(Exploit(), 0).decode()


def set_path(*path: Any, to: Any) -> Callable[[dict[str, Any]], None]:
    def change(metadata: dict[str, Any]) -> None:
        place: Any = metadata
        for step in path[:-1]:
            place = place[step]
        place[path[-1]] = to

    return change


def nested(depth: int, inner: Any = 0) -> Any:
    for _ in range(depth):
        inner = [inner]
    return inner


def nested_pieces(depth: int) -> Any:
    piece: Any = {"kind": "schedule", "type": "constant"}
    for _ in range(depth):
        piece = {"kind": "schedule", "type": "warm_up", "warm_up_epochs": 1, "then": piece}
    return piece


LAYER = ("network", "layers", 1)
SETTING = ("network", "settings")
ATTACKS: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "version 2": (set_path("version", to=2), "format version 2"),
    "no version": (lambda metadata: metadata.pop("version") and None, "format version None"),
    "no object": (lambda metadata: [1], "not a JSON object"),
    "no network": (set_path("network", to=None), "no description of a network"),
    "no layers": (set_path("network", "layers", to=[]), "belong to no layer"),
    "unknown layer": (set_path(*LAYER, "type", to="os.system"), "'os.system', which chainrule does not know"),
    "a loss among the layers": (
        set_path(*LAYER, to={"kind": "loss", "type": "mse"}),
        "of kind 'loss' instead of the layer",
    ),
    "unknown kind": (set_path(*LAYER, "kind", to="subprocess"), "of kind 'subprocess'"),
    "unknown setting": (set_path(*LAYER, "command", to="rm"), "cannot be made"),
    "a piece that is none": (set_path(*LAYER, to=7), "no description"),
    "huge layer": (set_path(*LAYER, "n_units", to=10**15), "needs 'weights' of shape"),
    "infinite layer": (set_path(*LAYER, "n_units", to=float("inf")), "damaged|cannot be made"),
    "text as size": (set_path(*LAYER, "n_units", to="2"), "cannot be made"),
    "huge input": (set_path("network", "input_shape", to=[10**15]), "of shape"),
    "negative input": (set_path("network", "input_shape", to=[-5]), "damaged"),
    "no input": (set_path("network", "input_shape", to=[]), "damaged"),
    "true as input": (set_path("network", "input_shape", to=[True]), "damaged"),
    "unknown optimizer": (set_path(*SETTING, "optimizer", "type", to="nope"), "which chainrule does not know"),
    "epochs as text": (set_path(*SETTING, "epochs", to="many"), "settings make no network"),
    "seed as text": (set_path(*SETTING, "seed", to="s"), "have 's' for 'seed'"),
    "seed as list": (set_path(*SETTING, "seed", to=[]), "for 'seed'"),
    "bound as text": (set_path(*SETTING, "clip_norm", to="s"), "settings make no network"),
    "smoothing as text": (set_path(*SETTING, "label_smoothing", to="s"), "settings make no network"),
    "half precision": (set_path(*SETTING, "dtype", to="float16"), "settings make no network"),
    "odd precision": (set_path(*SETTING, "dtype", to={"a": 1}), "settings make no network"),
    "class weights as number": (set_path(*SETTING, "class_weight", to=5), "settings make no network"),
    "class weights as text": (set_path(*SETTING, "class_weight", to=[["a", "heavy"]]), "settings make no network"),
    "metric as number": (set_path(*SETTING, "metric", to=[5]), "metric"),
    "extra setting": (set_path(*SETTING, "callback", to=5), "settings make no network"),
    "no settings": (set_path("network", "settings", to=5), "no description of the settings"),
    "history as number": (set_path("history", to=5), "history"),
    "history of a wrong infinity": (set_path("history", to={"loss": ["nan"]}), "history"),
    "history as text": (set_path("history", to={"loss": "abc"}), "history"),
    "history of lists": (set_path("history", to={"loss": [[1]]}), "history"),
    "uneven history": (set_path("history", to={"loss": [1.0], "epoch": [1, 2]}), "history"),
    "pickle": (pickle_inside, "no description"),
    "deep lists": (set_path(*LAYER, "n_units", to=nested(400)), "deep"),
    "very deep lists": (set_path("network", to=nested(900)), "deep"),
    "deep pieces": (set_path(*SETTING, "schedule", to=nested_pieces(450)), "deep"),
}


@pytest.mark.parametrize("name", ATTACKS)
def test_an_odd_description_is_refused_in_one_sentence(name: str, valid: bytes, tmp_path: Path) -> None:
    change, words = ATTACKS[name]
    refused(with_metadata(valid, change), tmp_path, words)


def test_unparsably_deep_json_is_refused(valid: bytes, tmp_path: Path) -> None:
    header, data = split(valid)
    header["__metadata__"]["chainrule"] = "[" * 100_000
    refused(joined(header, data), tmp_path, "damaged")


@pytest.mark.parametrize("dtype", ["I32", "U32", "C64", "BF16", "F16", "BOOL", "F64"])
def test_arrays_of_another_type_are_refused(dtype: str, valid: bytes, tmp_path: Path) -> None:
    header, data = split(valid)
    changed = copy.deepcopy(header)
    for entry in changed.values():
        if entry.get("dtype") == "F32":
            entry["dtype"] = dtype
    refused(joined(changed, data), tmp_path)


def test_arrays_too_few_too_many_or_misshapen_are_refused(tmp_path: Path) -> None:
    network = small_network()
    metadata = {"network": network.describe(), "history": {}}
    arrays = network.stack.read_arrays()
    path = tmp_path / "given"
    cases = {
        "is missing": {name: array for name, array in arrays.items() if name != "1.weights"},
        "belong to no layer": {**arrays, "9.weights": np.ones(3, np.float32)},
        "has shape": {**arrays, "1.weights": arrays["1.weights"].T},
    }
    for words, given_arrays in cases.items():
        write_model_file(path, "model", metadata, given_arrays)
        with pytest.raises(ModelFileError, match=words):
            NeuralNetwork.load(path)


LIMITED = """
import resource, sys
from chainrule.neuralnet import NeuralNetwork
from chainrule.errors import ModelFileError
from safetensors import safe_open
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 50_000_000, used + 50_000_000))
for path in sys.argv[1:]:
    try:
        NeuralNetwork.load(path)
    except ModelFileError as error:
        print("refused")
"""


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs /proc")
def test_a_small_file_cannot_ask_for_much_memory(valid: bytes, tmp_path: Path) -> None:
    """Within 50 MB of what a process has: sizes in the file are held against its arrays before anything is made."""
    units, inputs = 300_000_000, [10**10]
    contents = [
        with_metadata(valid, set_path(*LAYER, "n_units", to=units)),
        with_metadata(valid, set_path("network", "input_shape", to=inputs)),
        with_metadata(valid, set_path("network", "layers", 0, to={"kind": "layer", "type": "dense", "n_units": units})),
        (10**14).to_bytes(8, "little") + valid[8:],
    ]
    paths = [tmp_path / str(i) for i in range(len(contents))]
    for path, content in zip(paths, contents, strict=True):
        path.write_bytes(content)
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, *map(str, paths)],
        check=False,
        env={**os.environ, "CHAINRULE_KERNELS": "numpy"},
        capture_output=True,
        text=True,
    )
    assert done.stdout.split() == ["refused"] * len(contents), done.stderr


# Fuzzing ------------------------------------------------------------------------------------------

FEW = settings(max_examples=300, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
MANY = settings(FEW, max_examples=20_000, derandomize=False)


def loads_or_refuses(content: bytes, folder: Path) -> None:
    """Anything but a network or a ModelFileError fails the test; what loads can predict."""
    try:
        network = load(content, folder)
    except ModelFileError:
        return
    rows = np.zeros((2, *network.stack.input_shape())) if np.prod(network.stack.input_shape()) < 1e6 else None
    if rows is not None:
        with np.errstate(all="ignore"):
            network.predict(rows)


def mutate_bytes(content: bytes, edits: list[tuple[int, int]]) -> bytes:
    changed = bytearray(content)
    header = 8 + int.from_bytes(content[:8], "little")
    for place, value in edits:
        changed[place % header if place % 3 else place % len(changed)] = value
    return bytes(changed)


BYTES = st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), min_size=1, max_size=4)


def check_mutated_bytes(valid: bytes, tmp_path: Path, edits: list[tuple[int, int]]) -> None:
    loads_or_refuses(mutate_bytes(valid, edits), tmp_path)


SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
JSON = st.recursive(
    SCALARS | st.sampled_from(["dense", "adam", "mse", "l1", "warm_up", "float64", 10**30, -1, 0]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


def places(tree: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every path into a JSON tree."""
    inner = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    return [p for key, value in inner for p in ((*path, key), *places(value, (*path, key)))]


def check_mutated_json(content: bytes, load_it: Callable[[bytes], None], where: int, value: Any, remove: bool) -> None:
    def change(metadata: dict[str, Any]) -> None:
        paths = places(metadata)
        *path, last = paths[where % len(paths)]
        place: Any = metadata
        for step in path:
            place = place[step]
        if remove:
            del place[last]
        else:
            place[last] = value

    load_it(with_metadata(content, change))


@FEW
@given(edits=BYTES)
def test_any_bytes_load_or_are_refused(valid: bytes, tmp_path: Path, edits: list[tuple[int, int]]) -> None:
    check_mutated_bytes(valid, tmp_path, edits)


@FEW
@given(where=st.integers(0, 10**6), value=JSON, remove=st.booleans())
def test_any_description_loads_or_is_refused(
    valid: bytes, tmp_path: Path, where: int, value: Any, remove: bool
) -> None:
    check_mutated_json(valid, lambda content: loads_or_refuses(content, tmp_path), where, value, remove)


class StopAtOnce(Callback):
    """A checkpoint may ask for any number of epochs."""

    def on_batch_end(self, run: TrainingRun) -> None:
        if run.epoch > 1:
            run.interrupt("that will do")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("checkpoint") / "checkpoint"
    network = small_network()
    network.epochs, network.batch_size = 3, 20
    callbacks = [EarlyStopping(), ReduceOnPlateau(), Checkpoint(path, every=100, every_batches=2), StopAtOnce()]
    network.fit(DATA, callbacks=callbacks)
    return path.read_bytes()


@FEW
@given(where=st.integers(0, 10**6), value=JSON, remove=st.booleans())
def test_any_checkpoint_resumes_or_is_refused(
    checkpoint: bytes, tmp_path: Path, where: int, value: Any, remove: bool
) -> None:
    """A checkpoint may also ask for settings that its data do not suit: that is told as for any fit."""

    def resume(content: bytes) -> None:
        path = tmp_path / "given"
        path.write_bytes(content)
        try:
            NeuralNetwork.resume(path, DATA, callbacks=[StopAtOnce(), EarlyStopping(), ReduceOnPlateau()])
        except ChainruleError:
            return

    check_mutated_json(checkpoint, resume, where, value, remove)


@pytest.mark.slow
@MANY
@given(edits=BYTES)
def test_any_bytes_load_or_are_refused_at_length(valid: bytes, tmp_path: Path, edits: list[tuple[int, int]]) -> None:
    check_mutated_bytes(valid, tmp_path, edits)


@pytest.mark.slow
@MANY
@given(where=st.integers(0, 10**6), value=JSON, remove=st.booleans())
def test_any_description_loads_or_is_refused_at_length(
    valid: bytes, tmp_path: Path, where: int, value: Any, remove: bool
) -> None:
    check_mutated_json(valid, lambda content: loads_or_refuses(content, tmp_path), where, value, remove)


def test_a_loaded_network_can_be_trained_further(tmp_path: Path) -> None:
    network = small_network()
    network.save(tmp_path / "model")
    loaded = NeuralNetwork.load(tmp_path / "model")
    network.optimizer = network.optimizer.fresh()  # a model file keeps no optimizer state; a checkpoint does
    for layer, other in zip(network.layers, loaded.layers, strict=True):
        other.rng.bit_generator.state, other.noise = layer.rng.bit_generator.state, layer.noise
    assert bits_of(loaded.fit(DATA)) == bits_of(network.fit(DATA))
    assert history_without_seconds(loaded) == history_without_seconds(network)


class Stretched(ActivationLayer):
    """As a user writes it: an __init__ of its own, no dataclass."""

    def __init__(self, by: float = 1.0, **unknown: Any) -> None:
        self.by = by

    def activation_function(self, x: Array) -> Array:
        return np.asarray(np.tanh(self.by * x))

    def derivative(self, x: Array) -> Array:
        return np.asarray(self.by * (1 - np.tanh(self.by * x) ** 2))


class Forgetful(Stretched):
    def __init__(self, factor: float) -> None:
        super().__init__(by=2 * factor)


def test_a_users_own_class_keeps_its_settings(tmp_path: Path) -> None:
    network = saved(tmp_path / "model", DenseLayer(1, (5,)), Stretched(2.0))
    loaded = NeuralNetwork.load(tmp_path / "model", custom_objects={"Stretched": Stretched})
    assert loaded.predict(DATA).tobytes() == network.predict(DATA).tobytes()
    with pytest.raises(InvalidInputError, match=r"takes 'factor' and does not keep it as self\.factor"):
        saved(tmp_path / "other", DenseLayer(1, (5,)), Forgetful(1.0))
    assert not (tmp_path / "other").exists()


class Doubled(Layer):
    """A layer with arrays as a user writes it, whose constructor does not take the settings of all layers."""

    def __init__(self, n_units: int) -> None:
        self.n_units = n_units

    penalized_parameters = ("weights",)
    weights = ArrayAttribute("W")

    def output_shape(self) -> tuple[int, ...]:
        return (self.n_units,)

    def parameter_shapes(self) -> dict[str, tuple[int, ...]]:
        return {"weights": (self.input_shape()[0], self.n_units)}

    def draw_parameters(self, rng: np.random.Generator) -> None:
        self.parameter_views["weights"][...] = rng.normal(size=self.parameter_shapes()["weights"])

    def forward_propagation(self, inputs: Any, training: bool = False) -> Array:
        self.input, self.output = inputs, inputs @ self.weights
        return self.output

    def backward_propagation(self, output_error: Array) -> Array:
        self.gradient_views["weights"][...] = self.input.T @ output_error
        return output_error @ self.weights.T


def test_a_users_own_layer_keeps_the_settings_of_all_layers(tmp_path: Path) -> None:
    layer = Doubled(2)
    layer.trainable, layer.rate_factor, layer.decays, layer.penalty = False, 0.5, False, L1(0.25)
    saved(tmp_path / "model", layer)
    loaded = NeuralNetwork.load(tmp_path / "model", custom_objects={"Doubled": Doubled}).layers[0]
    assert (loaded.trainable, loaded.rate_factor, loaded.decays, loaded.penalty) == (False, 0.5, False, L1(0.25))
    assert loaded.parameter_groups()["weights"] == layer.parameter_groups()["weights"]
    saved(tmp_path / "plain", Doubled(2))
    assert "trainable" not in str(read_model_file(tmp_path / "plain", "network")[0]["network"]["layers"][0])


class Halved(Optimizer):
    """An optimizer as a user writes it, whose constructor takes no learning rate and no weight decay."""

    def __init__(self) -> None:
        self.learning_rate = 0.5

    def rule(self, weights: Any, gradient: Any, rate: Any) -> Any:
        return weights - rate * gradient / 2


def test_a_users_own_optimizer_keeps_the_settings_of_all_optimizers(tmp_path: Path) -> None:
    optimizer = Halved()
    optimizer.weight_decay = 0.125
    network = NeuralNetwork(optimizer=optimizer, learning_rate=0.25, seed=0).add(DenseLayer(1, (2,)))
    network.save(tmp_path / "model")
    loaded = NeuralNetwork.load(tmp_path / "model", custom_objects={"Halved": Halved}).optimizer
    assert (loaded.learning_rate, loaded.weight_decay) == (0.25, 0.125)
