"""Files that version 0.1 wrote open with what they held: the golden files beside this module."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from chainrule.callbacks import EarlyStopping, ReduceOnPlateau
from chainrule.data import read_table
from chainrule.files.config import build_piece, describe_piece
from chainrule.model import Model
from chainrule.neuralnet import NeuralNetwork
from chainrule.types import Array

GOLDEN = Path(__file__).parent / "golden"
PIECES: list[tuple[str, dict[str, Any]]] = json.loads((GOLDEN / "pieces_0_1.json").read_text())


def rows() -> tuple[Array, Array]:
    """What the network and the run of the checkpoint were trained on."""
    X = np.round(np.random.default_rng(0).normal(size=(60, 5)), 3).astype(np.float32)
    return X, np.arange(60) % 3


@pytest.mark.parametrize(("kind", "description"), PIECES, ids=[f"{kind} {one['type']}" for kind, one in PIECES])
def test_every_piece_is_built_with_its_settings(kind: str, description: dict[str, Any]) -> None:
    built = describe_piece(build_piece(description, kind))
    assert {name: built[name] for name in description} == description


def test_a_network() -> None:
    network = NeuralNetwork.load(GOLDEN / "network_0_1.safetensors")
    outputs = np.load(GOLDEN / "network_0_1_outputs.npy")
    np.testing.assert_allclose(network.predict(rows()[0][:5]), outputs, rtol=1e-5)
    assert network.history.n_epochs == 3
    assert network.class_weight == {0: 2.0, 1: 1.0, 2: 1.0}


def test_a_model_of_a_table() -> None:
    model = Model.load(GOLDEN / "model_0_1.safetensors")
    predictions = np.load(GOLDEN / "model_0_1_predictions.npy")
    np.testing.assert_allclose(model.predict(read_table(GOLDEN / "rows_0_1.csv")), predictions, rtol=1e-5)
    assert (model.target_name, model.target.task, model.notes["data"]) == ("price", "regression", "houses.csv")


def test_a_checkpoint_goes_on() -> None:
    X, y = rows()
    callbacks = [EarlyStopping(), ReduceOnPlateau()]
    network = NeuralNetwork.resume(
        GOLDEN / "checkpoint_0_1.safetensors", X, y, validation=(X[:15], y[:15]), callbacks=callbacks
    )
    assert network.history.n_epochs == 3
    first = NeuralNetwork.load(GOLDEN / "checkpoint_0_1.safetensors").history["loss"]
    assert network.history["loss"][: len(first)] == first
