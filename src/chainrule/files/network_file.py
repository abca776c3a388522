"""A network's settings and layers as JSON values, and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from chainrule.activations import ACTIVATIONS
from chainrule.arrays import all_finite
from chainrule.engines import Engine, read_engine
from chainrule.errors import InvalidInputError, ModelFileError, shown
from chainrule.files.config import PIECES, build_piece, describe_piece, describe_value
from chainrule.files.model_file import check_keys
from chainrule.history import History
from chainrule.layers import LAYERS, Layer, StandardizationLayer
from chainrule.layers.own import adapt_lecture_layer
from chainrule.metrics import METRICS, Metric
from chainrule.named import settings_of
from chainrule.settings import Declared
from chainrule.stack import LayerStack
from chainrule.types import Array

__all__ = [
    "build_layers",
    "build_settings",
    "describe_network",
    "describe_settings",
    "read_checkpoint_engine",
    "read_history",
]

CustomObjects = Mapping[str, Any] | None


def describe_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return constructor arguments as JSON values; metrics are kept by name."""
    described: dict[str, Any] = {}
    for name, value in settings.items():
        if name == "metric":
            described[name] = [metric.name for metric in value]
        elif isinstance(value, Mapping):  # JSON would turn the labels of class weights into strings
            described[name] = [[describe_value(label, name), float(weight)] for label, weight in value.items()]
        else:
            described[name] = describe_value(value, "NeuralNetwork")
    return described


def describe_network(settings: Mapping[str, Any], stack: LayerStack) -> dict[str, Any]:
    """Return everything but the arrays."""
    return {
        "settings": describe_settings(settings),
        "input_shape": list(stack.input_shape()),
        "layers": [describe_piece(layer) for layer in stack.layers],
    }


def build_settings(description: Any, declared: Mapping[str, Declared], custom_objects: CustomObjects) -> dict[str, Any]:
    """Return the constructor arguments that :func:`describe_settings` described.

    ``declared`` has the settings of the network; those that are newer than the file keep their defaults.
    """
    kept = {name: one for name, one in declared.items() if one.setting.in_files}
    required = [name for name, one in kept.items() if one.setting.since == "0.1"]
    settings = dict(check_keys(description, required, "the settings of a network"))
    for name in PIECES & kept.keys() & settings.keys():
        if settings[name] is not None:
            settings[name] = build_piece(settings[name], name, custom_objects)
    switches = {name: bool for name, one in kept.items() if one.hint is bool and name in settings}
    for name, type_ in {"metric": list, "seed": int, **switches}.items():
        if type(settings[name]) is not type_:
            raise ModelFileError(f"The file is damaged: its settings have {str(settings[name])[:40]!r} for '{name}'.")
    settings["metric"] = [_metric(name, custom_objects) for name in settings["metric"]]
    if isinstance(settings["class_weight"], list):
        settings["class_weight"] = dict(settings["class_weight"])
    return settings


def build_layers(
    description: Mapping[str, Any], arrays: Mapping[str, Array], custom_objects: CustomObjects
) -> tuple[list[Layer], tuple[int, ...]]:
    """Return the layers, with their parameters and states from the arrays, and the shape of an input row.

    The sizes in the description are compared with the arrays first: a file cannot make us reserve more memory than it
    has itself.
    """
    if not isinstance(custom_objects, Mapping | None):
        raise InvalidInputError(
            f"custom_objects is {shown(custom_objects)}; give a dictionary from names to classes, such as "
            "{'MyLayer': MyLayer}."
        )
    given, shape = description["layers"], description["input_shape"]
    if not isinstance(given, list) or not isinstance(shape, list) or not all(isinstance(n, int) for n in shape):
        raise ModelFileError("The file is damaged: it has no layers or no input shape.")
    layers: list[Layer] = [build_piece(layer, "layer", custom_objects) for layer in given]
    n_elements, row_shape = 0, tuple(shape)
    known = {*LAYERS.classes.values(), *ACTIVATIONS.classes.values()}
    try:
        for index, layer in enumerate(layers):
            adapt_lecture_layer(layer)
            layer.set_input_shape(row_shape)
            for name, wanted in (*layer.parameter_shapes().items(), *layer.state_shapes().items()):
                found = arrays.get(f"{index}.{name}")
                if found is None or found.shape != wanted:
                    raise ModelFileError(
                        f"The file is damaged: layer {index + 1} ({layer.layer_name()}) needs '{name}' of shape "
                        f"{wanted}, " + ("which is missing." if found is None else f"but it has shape {found.shape}.")
                    )
                n_elements += found.size
                _check_values(found, f"'{name}' of layer {index + 1} ({layer.layer_name()})", layer, name)
            if type(layer) in known and not layer.has_arrays:  # without a first draw, which nobody would see
                layer.parameter_views = {name: arrays[f"{index}.{name}"] for name in layer.parameter_shapes()}
                layer.state = {name: arrays[f"{index}.{name}"].copy() for name in layer.state_shapes()}
            row_shape = layer.output_shape()
    except InvalidInputError as error:
        raise ModelFileError(f"The file is damaged: {error}") from error
    if n_elements != sum(array.size for array in arrays.values()):
        raise ModelFileError("The file is damaged: it holds arrays that belong to no layer.")
    return layers, tuple(shape)


def _check_values(values: Array, what: str, layer: Layer, name: str) -> None:
    """Refuse numbers that no trained layer has."""
    if not all_finite(values):
        raise ModelFileError(f"The file is damaged: {what} holds a number that is not finite.")
    too_low = name == "running_variance" and values.min() < 0
    if too_low or (isinstance(layer, StandardizationLayer) and name == "scale" and values.min() <= 0):
        raise ModelFileError(f"The file is damaged: {what} holds {values.min():g}, which is too small.")


def _metric(name: Any, custom_objects: CustomObjects) -> Any:
    if isinstance(name, str) and name in METRICS:
        return METRICS[name]
    custom = (custom_objects or {}).get(name) if isinstance(name, str) else None
    if isinstance(custom, Metric) or callable(custom):
        return custom
    raise ModelFileError(
        f"The file uses the metric '{str(name)[:60]}', which chainrule does not know; if it is a function of yours, "
        f"pass custom_objects={{'{str(name)[:60]}': ...}}."
    )


def read_history(description: Any) -> History:
    """Return the history in a file."""
    try:
        if description is None:
            raise InvalidInputError("A history is a list of numbers for each quantity.")
        return History.from_dict(description)
    except (InvalidInputError, OverflowError) as error:
        raise ModelFileError(f"The file is damaged: {error}") from error


def read_checkpoint_engine(training: Mapping[str, Any], device: str = "auto") -> Engine:
    """Return the engine of the run that wrote a checkpoint, on another device if one is given."""
    try:
        engine = read_engine(training.get("engine"))
    except InvalidInputError as error:
        raise ModelFileError(f"The checkpoint is damaged: {error}") from error
    if device == "auto":
        return engine
    moved: Engine = type(engine)(**{**settings_of(engine), "device": device})
    return moved
