"""chainrule, by its public interface."""

from __future__ import annotations

from datasets import Array
from workload import Workload

from chainrule import Dataset, NeuralNetwork, TorchEngine
from chainrule.activations import ReLUActivation, SigmoidActivation, SoftmaxActivation
from chainrule.layers import BatchNormalizationLayer, DenseLayer, DropoutLayer
from peers.base import Peer

_HEADS = {"cross_entropy": SoftmaxActivation, "binary_cross_entropy": SigmoidActivation}


def build(workload: Workload, **settings: object) -> NeuralNetwork:
    """Return the workload's network with its first weights."""
    network = NeuralNetwork(
        epochs=workload.epochs_a_round,
        batch_size=workload.batch,
        optimizer=workload.optimizer,
        learning_rate=workload.learning_rate,
        loss=workload.loss,
        seed=workload.seed,
        l2=workload.l2,
        engine=TorchEngine(workload.device, workload.precision) if workload.engine == "torch" else workload.engine,
        **settings,  # type: ignore[arg-type]
    )
    for number, (W, b) in enumerate(workload.weights(), start=1):
        dense = DenseLayer(W.shape[1], (W.shape[0],) if number == 1 else None)
        network.add(dense)
        dense.weights, dense.biases = W, b
        if number == len(workload.widths) - 1:
            break
        if workload.batch_norm:
            network.add(BatchNormalizationLayer())
        network.add(ReLUActivation() if workload.activation == "relu" else SigmoidActivation())
        if workload.dropout:
            network.add(DropoutLayer(workload.dropout))
    if workload.loss in _HEADS:
        network.add(_HEADS[workload.loss]())
    return network


class Ours(Peer):
    """``NeuralNetwork.fit`` of whole epochs, without callbacks and metric: the time of ``fit`` divided by its steps.

    Each round is one call of ``fit``, which continues with the current weights. ``fit`` shuffles the rows itself; in
    the check, the rows are in the given order and ``shuffle=False``.
    """

    library = "chainrule"

    def prepare(self, workload: Workload) -> None:
        self.workload = workload
        X, y = workload.inputs(), workload.targets()
        if workload.for_check:
            order = workload.order(0)[: workload.n_rows]
            X, y = X[order], y[order]
        self.dataset = Dataset(X, y, task=None if workload.n_classes else "regression")
        self.network = build(workload, shuffle=not workload.for_check)

    def epoch(self, order: Array) -> None:
        self.network.fit(self.dataset)
        self.step_seconds = sum(self.network.history["seconds"][-self.workload.epochs_a_round :])

    def outputs(self, X: Array) -> Array:
        return self.network.predict(X)
