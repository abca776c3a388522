"""Training on rows beyond memory: equal to memory where it must be, resumed to the bit, and bounded."""

from __future__ import annotations

import functools
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from chainrule import training as training_module
from chainrule.activations import SoftmaxActivation
from chainrule.architecture import build_network
from chainrule.callbacks import Callback, TrainingRun
from chainrule.data import Dataset, ImageAugmentation, NpyStream, ParquetStream, TablePreprocessor
from chainrule.data import stream as stream_module
from chainrule.errors import DataError, InvalidInputError
from chainrule.files import Checkpoint
from chainrule.layers import DenseLayer
from chainrule.metrics import EpochRecord
from chainrule.model import Model
from chainrule.neuralnet import NeuralNetwork
from chainrule.rate_finder import find_learning_rate
from support.networks import bits_of
from support.streams import table_of_visits, write_parquet

N_ROWS = 600
FRAME = table_of_visits(N_ROWS)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_parquet(tmp_path_factory.mktemp("stream") / "big", FRAME.drop(columns="place"), group_rows=50)


def stream_of(folder: Path, target: str = "bought", buffer_rows: int = 128) -> ParquetStream:
    return ParquetStream(folder, target, drop=["spent"] if target == "bought" else ["bought"], buffer_rows=buffer_rows)


def network_for(data: Any, **settings: Any) -> NeuralNetwork:
    settings = {"hidden": (8,), "epochs": 3, "batch_size": 16, "seed": 4, "dropout": 0.2, **settings}
    return build_network(data.n_features, data.target, **settings)


@pytest.mark.parametrize(
    "settings",
    [{}, {"class_weight": "balanced"}, {"class_weight": {"yes": 3.0}, "label_smoothing": 0.1}, {"dropout": 0.0}],
    ids=["plain", "balanced", "weights and smoothing", "compiled steps"],
)
def test_a_stream_of_one_block_trains_as_the_rows_in_memory_do(folder: Path, settings: dict[str, Any]) -> None:
    """Bit for bit, of one group; and up to the rounding of means, if the statistics come in pieces."""
    table = TablePreprocessor(drop=["spent"])
    inputs = FRAME.drop(columns=["place", "bought"])
    dataset = Dataset(table.fit_transform(inputs), FRAME["bought"])
    stream = ParquetStream(folder, "bought", preprocessor=table)  # what was learnt of the table in memory
    in_memory = network_for(dataset, **settings).fit(dataset)
    streamed = network_for(stream, **settings).fit(stream)
    assert bits_of(streamed) == bits_of(in_memory)
    for name in ("loss", "accuracy", "gradient_norm"):
        assert streamed.history[name] == in_memory.history[name]
    learnt = stream_of(folder, buffer_rows=N_ROWS)
    again = network_for(learnt, **settings).fit(learnt)
    np.testing.assert_allclose(again.history["loss"], in_memory.history["loss"], rtol=1e-4)


def test_class_weights_of_a_stream_of_probabilities_are_refused_in_one_sentence(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    np.save(tmp_path / "X.npy", rng.normal(size=(50, 3)))
    np.save(tmp_path / "y.npy", rng.dirichlet([1, 1, 1], size=50))
    network = NeuralNetwork(loss="categorical_cross_entropy", class_weight="balanced", seed=0)
    network.add(DenseLayer(3, (3,))).add(SoftmaxActivation())
    with pytest.raises(InvalidInputError, match=r"class_weight needs a stream of classes.*; leave class_weight out"):
        network.fit(NpyStream(tmp_path / "X.npy", tmp_path / "y.npy"))


def test_both_engines_take_the_same_batches_of_a_stream(folder: Path) -> None:
    pytest.importorskip("torch")
    settings = {"dropout": 0.0, "class_weight": "balanced"}
    numpy, torch = (
        network_for(stream_of(folder), **settings, engine=engine).fit(stream_of(folder), validation=0.2)
        for engine in ("numpy", "torch")
    )
    for name in ("loss", "accuracy", "validation_loss", "gradient_norm"):
        np.testing.assert_allclose(torch.history[name], numpy.history[name], rtol=1e-4)


def test_blocks_learn_as_well_as_memory(folder: Path) -> None:
    training, test = stream_of(folder, buffer_rows=64).split(0.2, strategy="random", seed=0)
    network = network_for(training, hidden=(16,), epochs=20, learning_rate=0.01, dropout=0.0)
    network.fit(training, validation=test)
    assert network.score(test) > 0.85
    assert network.history["validation_accuracy"][-1] > 0.85


def test_a_share_of_the_stream_is_held_out_for_validation(folder: Path) -> None:
    stream = stream_of(folder)
    network = network_for(stream).fit(stream, validation=0.25)
    assert not np.isnan(network.history["validation_loss"]).any()


class StopIn(Callback):
    """Interrupt the run after some batches of an epoch."""

    def __init__(self, epoch: int, batch: int) -> None:
        self.place = (epoch, batch)

    def on_batch_end(self, run: TrainingRun) -> None:
        if (run.epoch, run.batch) == self.place:
            run.interrupt("enough")


@functools.cache
def undisturbed(folder: Path, dropout: float) -> NeuralNetwork:
    return network_for(stream_of(folder), dropout=dropout).fit(stream_of(folder), validation=0.2)


@pytest.mark.parametrize("dropout", [0.0, 0.2], ids=["compiled steps", "by layers"])
@pytest.mark.parametrize(("epoch", "batch"), [(0, 1), (1, 8), (1, 21), (2, 29)])
def test_a_run_cut_off_in_an_epoch_goes_on_to_the_same_bits(
    folder: Path, tmp_path: Path, epoch: int, batch: int, dropout: float
) -> None:
    whole = undisturbed(folder, dropout)
    path = tmp_path / "checkpoint.safetensors"
    callbacks = [StopIn(epoch, batch), Checkpoint(path)]
    network_for(stream_of(folder), dropout=dropout).fit(stream_of(folder), validation=0.2, callbacks=callbacks)
    stream = stream_of(folder)
    resumed = NeuralNetwork.resume(path, stream, validation=0.2)
    assert bits_of(resumed) == bits_of(whole)
    for name in ("loss", "accuracy", "validation_loss", "gradient_norm"):
        assert resumed.history[name] == whole.history[name]


def test_a_run_is_not_resumed_on_another_stream(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.safetensors"
    network_for(stream_of(folder)).fit(stream_of(folder), callbacks=[StopIn(1, 3), Checkpoint(path)])
    with pytest.raises(ValueError, match="written by a run on other data"):
        NeuralNetwork.resume(path, stream_of(folder, buffer_rows=64))


def test_the_model_file_is_that_of_a_table(folder: Path, tmp_path: Path) -> None:
    stream = stream_of(folder)
    network = network_for(stream).fit(stream)
    Model(network, stream.target, stream.table, target_name=stream.target_name).save(tmp_path / "m.safetensors")
    model = Model.load(tmp_path / "m.safetensors")
    inputs = FRAME.drop(columns=["bought"])
    direct = stream.target.decode(network.predict(stream.table.transform(inputs)))
    np.testing.assert_array_equal(model.predict(inputs), direct)
    chunks = np.concatenate([network.predict(chunk) for chunk in stream.chunks()])
    np.testing.assert_allclose(model.outputs(inputs), chunks, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"y": [1]}, "A stream has its targets already"),
        ({"sample_weight": [1]}, "A stream has its targets already"),
        ({"augmentation": ImageAugmentation((2, 2))}, "The rows of a stream cannot be augmented"),
    ],
)
def test_what_a_stream_cannot_do_is_one_sentence(folder: Path, given: dict[str, Any], message: str) -> None:
    stream = stream_of(folder)
    with pytest.raises(InvalidInputError, match=message):
        network_for(stream).fit(stream, **given)


def test_optimizers_of_all_rows_and_measures_of_all_rows_are_refused(folder: Path) -> None:
    stream = stream_of(folder)
    with pytest.raises(InvalidInputError, match="LBFGS needs all rows in one batch, and a stream gives them in many"):
        network_for(stream, optimizer="lbfgs").fit(stream)
    network = network_for(stream).fit(stream)
    for ask in (network.evaluate, network.predict):
        with pytest.raises(InvalidInputError, match="A stream can be used for training only; predict and evaluate on"):
            ask(stream)


def test_a_learning_rate_can_be_found_on_a_stream(folder: Path) -> None:
    stream = stream_of(folder)
    search = find_learning_rate(network_for(stream), stream, n_steps=60)
    assert len(search.rates) > 20, "more steps than one epoch has"
    assert 1e-6 < search.suggestion < 10


def test_a_record_without_room_keeps_the_last_rows() -> None:
    rng = np.random.default_rng(0)
    targets, outputs = rng.normal(size=(2, 100, 1))
    for sizes in ([100], [30, 30, 30, 10], [1] * 100, [45, 55]):
        record, start = EpochRecord(40), 0
        for size in sizes:
            record.add(targets[start : start + size], None, outputs[start : start + size])
            start += size
        kept = np.sort(record.arrays["targets"][:, 0])
        np.testing.assert_array_equal(kept, np.sort(targets[60:, 0]))
        np.testing.assert_array_equal(np.sort(record.arrays["predictions"][:, 0]), np.sort(outputs[60:, 0]))
        assert record.n_recorded == 100


def test_the_memory_of_a_fit_does_not_grow_with_the_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Eight times the rows in the same memory: the buffer, and no more."""
    bounds = [(stream_module, "MEDIAN_SAMPLE_ROWS"), (stream_module, "SAMPLE_ROWS"), (training_module, "ROWS_RECORDED")]
    for module, bound in bounds:
        monkeypatch.setattr(module, bound, 1000)  # which 2**14 rows exceed, as they do the buffer

    def peak(n_rows: int) -> int:
        folder = tmp_path / str(n_rows)
        folder.mkdir(exist_ok=True)
        rng = np.random.default_rng(0)
        X = np.lib.format.open_memmap(folder / "X.npy", "w+", np.float32, (n_rows, 20))
        X[:] = rng.normal(size=(n_rows, 20))
        np.save(folder / "y.npy", rng.normal(size=n_rows))
        del X
        tracemalloc.start()
        try:
            stream = NpyStream(folder / "X.npy", folder / "y.npy", buffer_rows=2**13)
            network_for(stream, epochs=1, batch_size=64, hidden=(4,), dropout=0.0).fit(stream)
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    peak(2**14)  # whatever is loaded once
    small, large = peak(2**14), peak(2**17)
    assert large < 1.1 * small, f"{small} bytes, and {large} of eight times the rows"


def test_statistics_and_training_take_the_same_rows_for_any_number_of_pieces(tmp_path: Path) -> None:
    frame = FRAME.drop(columns=["place", "spent"])
    one = ParquetStream(write_parquet(tmp_path / "one", frame, 1, 50), "bought")
    many = ParquetStream(write_parquet(tmp_path / "many", frame, 4, 50), "bought")
    assert isinstance(frame, pd.DataFrame)
    assert one.table.to_dict() == many.table.to_dict()


# Files that change while they are read ------------------------------------------------------------


class Replace(Callback):
    """Puts another file in the place of one, by a rename, after the first epoch."""

    def __init__(self, path: Path, by: Path) -> None:
        self.path, self.by = path, by

    def on_epoch_end(self, run: TrainingRun) -> None:
        if run.epoch == 1:
            self.by.replace(self.path)


@pytest.mark.parametrize("change", ["other rows", "the same rows in another order"])
def test_a_parquet_file_that_is_replaced_while_it_is_trained_on_is_found(change: str, tmp_path: Path) -> None:
    numbers = FRAME[["minutes", "pages", "spent"]].dropna()
    write_parquet(tmp_path / "data", numbers)
    other = numbers * 2 if change == "other rows" else numbers.iloc[::-1]
    write_parquet(tmp_path / "other", other)
    stream = ParquetStream(tmp_path / "data", "spent", buffer_rows=64)
    replace = Replace(tmp_path / "data" / "part1.parquet", tmp_path / "other" / "part1.parquet")
    with pytest.raises(DataError, match=r"part1\.parquet has changed since it was opened; open it again"):
        network_for(stream).fit(stream, callbacks=[replace])


def test_an_array_file_that_is_written_again_while_it_is_trained_on_is_found(tmp_path: Path) -> None:
    X = np.random.default_rng(0).normal(size=(5000, 3)).astype(np.float32)
    for name, array in (("X", X), ("y", X[:, 0]), ("Z", X[::-1]), ("z", X[::-1, 0])):
        np.save(tmp_path / f"{name}.npy", array)
    for old, new in (("X", "Z"), ("y", "z")):
        stream = NpyStream(tmp_path / "X.npy", tmp_path / "y.npy", buffer_rows=1000)
        replace = Replace(tmp_path / f"{old}.npy", tmp_path / f"{new}.npy")
        with pytest.raises(DataError, match=rf"{old}\.npy has changed since it was opened; open it again"):
            network_for(stream).fit(stream, callbacks=[replace])


def test_a_file_that_is_only_read_by_others_has_not_changed(tmp_path: Path) -> None:
    write_parquet(tmp_path / "data", FRAME[["minutes", "spent"]])
    stream = ParquetStream(tmp_path / "data", "spent", buffer_rows=64).learn()
    for path in (tmp_path / "data").iterdir():
        path.read_bytes()
        path.chmod(0o600)
    assert sum(map(len, stream.chunks())) == N_ROWS
