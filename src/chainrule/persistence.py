"""How a network becomes a file or a module of PyTorch, and is read back from them."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from chainrule.data.target import Target
from chainrule.engines import Engine, read_engine
from chainrule.engines.torch_engine import check_installed
from chainrule.errors import InvalidInputError, ModelFileError, nearest_name
from chainrule.files.checkpoint import files_by_epoch
from chainrule.files.model_file import check_keys, read_model_file, write_model_file
from chainrule.files.network_file import build_layers, build_settings, describe_network
from chainrule.history import History
from chainrule.losses import LossFunction
from chainrule.metrics import Metric, lower_is_better
from chainrule.named import settings_of
from chainrule.stack import LayerStack
from chainrule.types import Array, Shape

if TYPE_CHECKING:
    from torch import nn

__all__ = ["SavedNetwork", "engine_of_checkpoint", "read_history", "weights_of_checkpoint"]

WEIGHTS_PREFIX = "weights/"  # of the arrays in a checkpoint that a model file would hold


class SavedNetwork(ABC):
    """What :class:`NeuralNetwork` knows of files and of PyTorch's modules.

    A file is one of safetensors, whole or not at all, and holds no code.
    """

    stack: LayerStack
    history: History
    target: Target | None
    metrics: tuple[Metric, ...]
    loss: LossFunction

    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """Return the constructor's arguments."""

    def save(self, path: str | Path) -> None:
        """Write the network to a safetensors file, whole or not at all."""
        metadata = {"network": self.describe(), "history": self.history.to_dict()}
        write_model_file(path, "model", metadata, self.stack.read_arrays())

    @classmethod
    def load(cls, path: str | Path, *, custom_objects: Mapping[str, Any] | None = None) -> Self:
        """Read a network from a file that :meth:`save` wrote, or from a checkpoint, as it stood there.

        ``custom_objects`` are your own classes and metrics by name, if the network uses any.
        """
        return cls._load(path, custom_objects)[0]

    @classmethod
    def _load(cls, path: str | Path, custom_objects: Mapping[str, Any] | None) -> tuple[Self, bool]:
        """Return the network, and whether it stands at the end of an epoch, as only a checkpoint may not."""
        metadata, arrays = read_model_file(path, "model", "checkpoint")
        is_checkpoint = metadata["kind"] == "checkpoint"
        check_keys(metadata, ("network", "training" if is_checkpoint else "history"), "a network")
        training = check_keys(metadata["training"], ("history", "batch"), "a run") if is_checkpoint else metadata
        if is_checkpoint:
            arrays = weights_of_checkpoint(arrays)
        network = cls.from_description(metadata["network"], arrays, custom_objects)
        network.history = read_history(training["history"])
        return network, not is_checkpoint or training["batch"] == 0

    @classmethod
    def load_best(
        cls, path: str | Path, monitor: str | None = None, *, custom_objects: Mapping[str, Any] | None = None
    ) -> Self:
        """Read the best of several files of one run, by the last value of ``monitor`` in their histories.

        ``path`` has ``{epoch}`` where the names of the files have the number, as for :class:`Checkpoint`; files that
        :meth:`save` wrote will do as well. ``monitor`` is a quantity of the history, the validation loss by default, or
        the loss where there is no validation. Checkpoints from inside an epoch are left out, since no value was
        measured there. Of equal values the one of the earlier epoch counts.
        """
        best: tuple[float, int, Self] | None = None
        for file in files_by_epoch(path):
            network, is_whole = cls._load(file, custom_objects)
            if not is_whole or not network.history.n_epochs:
                continue
            name = monitor or ("validation_loss" if "validation_loss" in network.history else "loss")
            if name not in network.history:
                raise InvalidInputError(
                    f"'{file}' has no '{name}' in its history.{nearest_name(name, network.history)} Recorded are: "
                    f"{', '.join(network.history)}."
                )
            value = network.history.last(name) * (1 if lower_is_better(name, network.metrics) else -1)
            place = value, network.history.n_epochs
            if math.isfinite(value) and (best is None or place < best[:2]):
                best = *place, network
        if best is None:
            raise ModelFileError(f"There is no file '{path}' of a whole epoch.")
        return best[2]

    def to_torch(self) -> nn.Sequential:
        """Return the network as a module of PyTorch on the CPU, with copies of its parameters, in evaluation mode.

        One module for each layer, in their order: ``nn.Linear`` for a DenseLayer, and so on.
        """
        check_installed()
        from chainrule.engines.torch_translation import build_module

        self.stack.output_shape()  # the network must have its parameters
        return build_module(self.stack)

    @classmethod
    def from_torch(cls, module: nn.Module, input_shape: Shape | None = None, **settings: Any) -> Self:
        """Return a network with the layers and parameters of an ``nn.Sequential`` of modules that chainrule knows.

        ``input_shape`` is the shape of a row, where the module does not tell it; ``settings`` are those of the
        network's constructor. The network computes in the precision of the module's parameters if they do not say.

        Raises InvalidInputError for a module that is not the same function as one of the layers.
        """
        check_installed()
        from chainrule.engines.torch_translation import check_same_function, dtype_of, export_arrays, layers_of

        layers, shape, parts = layers_of(module, input_shape)
        network = cls(**{"dtype": dtype_of(parts), **settings})
        for layer in layers:
            network.stack.add(layer)
        network.stack.build(shape)
        check_same_function(parts, network.stack)
        export_arrays(parts, network.stack)
        return network

    def describe(self) -> dict[str, Any]:
        """Return settings, layers and the meaning of the outputs as JSON values."""
        target = self.target
        if target is not None and not self.suits(target):  # layers were added since the fit that learnt it
            target = None
        described = describe_network(self.settings(), self.stack)
        return {**described, "target": None if target is None else target.to_dict()}

    def suits(self, target: Target) -> bool:
        """Tell whether the network has as many output units as this target and the loss need."""
        n_targets, rest = divmod(math.prod(self.stack.output_shape()), self.loss.n_outputs(1))
        return not rest and len(self.stack.output_shape()) == 1 and target.takes_outputs(n_targets)

    @classmethod
    def from_description(
        cls, description: Any, arrays: Mapping[str, Array], custom_objects: Mapping[str, Any] | None = None
    ) -> Self:
        """Return the network that :meth:`describe` described, with its parameters and layer states."""
        check_keys(description, ("settings", "input_shape", "layers", "target"), "a network")
        layers, input_shape = build_layers(description, arrays, custom_objects)
        try:
            network = cls(**build_settings(description["settings"], custom_objects))
            target = description["target"]
            network.target = None if target is None else Target.from_dict(target)
        except ModelFileError:
            raise
        except (TypeError, ValueError, KeyError, AttributeError, OverflowError) as error:
            raise ModelFileError(f"The file is damaged: its settings make no network ({error}).") from error
        for name, array in arrays.items():
            if array.dtype != network.stack.dtype:
                raise ModelFileError(f"The file is damaged: '{name}' is {array.dtype}, not {network.stack.dtype}.")
        network.stack.take(layers, input_shape)
        network.stack.write_arrays(arrays)
        if network.target is not None and not network.suits(network.target):
            raise ModelFileError("The file is damaged: the network's outputs are not those of its target.")
        return network


def read_history(description: Any) -> History:
    """Return the history in a file."""
    try:
        if description is None:
            raise InvalidInputError("A history is a list of numbers for each quantity.")
        return History.from_dict(description)
    except (InvalidInputError, OverflowError) as error:
        raise ModelFileError(f"The file is damaged: {error}") from error


def weights_of_checkpoint(arrays: Mapping[str, Array]) -> dict[str, Array]:
    """Return the arrays that a model file would hold."""
    return {name.removeprefix(WEIGHTS_PREFIX): a for name, a in arrays.items() if name.startswith(WEIGHTS_PREFIX)}


def engine_of_checkpoint(training: Mapping[str, Any], device: str = "auto") -> Engine:
    """Return the engine of the run that wrote a checkpoint, on another device if one is given."""
    try:
        engine = read_engine(training.get("engine"))
    except InvalidInputError as error:
        raise ModelFileError(f"The checkpoint is damaged: {error}") from error
    if device == "auto":
        return engine
    moved: Engine = type(engine)(**{**settings_of(engine), "device": device})
    return moved
