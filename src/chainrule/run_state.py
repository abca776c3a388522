"""Everything that the next step of a training run depends on, as JSON values and arrays, and back.

:func:`capture` takes it between any two batches. A run that begins from a :class:`SavedRun` makes the same steps, bit
for bit. A file may have been changed by anybody: every number is compared with the network, the data and the other
numbers before it is used.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from chainrule.callbacks import CALLBACKS, Callback, TrainingRun
from chainrule.data.batches import ArrayBatches, Batches
from chainrule.data.weights import weights_of_rows
from chainrule.engines import TrainingPlan
from chainrule.errors import InvalidInputError, ModelFileError
from chainrule.history import History
from chainrule.metrics import EpochRecord
from chainrule.randomness import check_generator_state
from chainrule.stack import LayerStack
from chainrule.types import Array

__all__ = ["SavedRun", "capture"]

# In training steps or epochs: more than any run has taken, and far from where counters overflow.
MOST_COUNTED = 2**53
WEIGHTS = "weights/"  # the beginning of the names of the arrays that a model file holds too


def capture(run: TrainingRun, record: EpochRecord) -> tuple[dict[str, Any], dict[str, Array]]:
    """Return everything the next step depends on: JSON values, and arrays by name."""
    values: dict[str, Any] = {
        "epoch": run.epoch,
        "batch": run.batch,
        "first_epoch": run.first_epoch,
        "last_epoch": run.last_epoch,
        "rate_factor": run.rate_factor,
        "learning_rate": run.learning_rate,
        "seconds": run.seconds,
        "stop_reason": None if run.is_interrupted else run.stop_reason,
        "n_recorded": record.n_recorded,
        "history": run.history.to_dict(),
        "layer_random_states": [layer.rng.bit_generator.state for layer in run.stack.walk()],
        "callbacks": [],
    }
    arrays = {f"{WEIGHTS}{name}": array for name, array in run.session.read_weights().items()}
    arrays |= {f"session/{name}": array for name, array in run.session.read_state().items()}
    if record.n_recorded:
        arrays |= {f"record/{name}": array for name, array in record.arrays.items()}
    for index, callback in enumerate(run.callbacks):
        state = callback.read_state()
        arrays |= {f"callback{index}/{name}": v for name, v in state.items() if isinstance(v, np.ndarray)}
        values["callbacks"].append(
            {
                "type": type(callback).__name__,
                "steers": callback.steers,
                "state": {name: v for name, v in state.items() if not isinstance(v, np.ndarray)},
            }
        )
    return values, arrays


@dataclass(frozen=True)
class SavedRun:
    """What a checkpoint holds of a run: values and arrays, as :func:`capture` returned them.

    ``epochs`` is the number of epochs of the fit in all, if it is not to be the number that the fit began with.
    The methods raise ModelFileError for what no run on this network and these data can have had.
    """

    values: dict[str, Any]
    arrays: dict[str, Array]
    epochs: int | None = None

    def weights(self) -> dict[str, Array]:
        """Return the arrays of the network, as a model file holds them."""
        return self._part(WEIGHTS)

    def check_data(self, fingerprint: list[int]) -> None:
        """Refuse other data than those of the run."""
        if self.values.get("data") != fingerprint:
            raise ModelFileError(
                "The checkpoint was written by a run on other data; give it the same training and validation rows, "
                "weights and augmentation again."
            )

    def place(self, history: History, batches: Batches) -> dict[str, Any]:
        """Return where the run stood, as arguments of :class:`TrainingRun`."""
        with _damage_told():
            n_epochs = history.n_epochs
            epoch = self._whole_number("epoch", n_epochs, n_epochs)
            if n_epochs and history.get("epoch") != [*range(1, n_epochs + 1)]:
                raise InvalidInputError("the history does not number its epochs from 1")
            first_epoch = self._whole_number("first_epoch", 0, epoch)
            last_epoch = self._whole_number("last_epoch", max(epoch, 1), MOST_COUNTED)
            place: dict[str, Any] = {
                "epoch": epoch,
                "first_epoch": first_epoch,
                "last_epoch": last_epoch,
                "batch": self._whole_number("batch", 0, batches.n_batches if epoch < last_epoch else 0),
                **{name: self._amount(name) for name in ("rate_factor", "learning_rate", "seconds")},
                "stop_reason": self._stop_reason(),
            }
            _check_session(self._part("session/"), _n_rows_done(place["batch"], batches))
        if self.epochs is None:
            return place
        if self.epochs <= (done := epoch - first_epoch):
            raise InvalidInputError(
                f"epochs is {self.epochs}, but the fit has already done {done}; give a larger number."
            )
        return {**place, "last_epoch": first_epoch + self.epochs, "stop_reason": None}

    def record(self, n_rows: int, stack: LayerStack, plan: TrainingPlan, batches: Batches) -> EpochRecord:
        """Return the predictions of the epoch that the run was in."""
        with _damage_told():
            n_done = _n_rows_done(self._whole_number("batch", 0, batches.n_batches), batches) if plan.metrics else 0
            n_recorded = self._whole_number("n_recorded", n_done, n_done)
            if not n_done:
                return EpochRecord(n_rows)
            outputs = np.zeros((1, *stack.output_shape()), stack.dtype)
            shapes: dict[str, tuple[int, ...]] = {
                "predictions": np.shape(plan.loss.predictions_of(outputs))[1:],
                "targets": (outputs.shape[1] // plan.loss.n_outputs(1),),
                "weights": (),
            }
            found = self._part("record/")
            if found.keys() - shapes.keys() or not {"predictions", "targets"} <= found.keys():
                raise InvalidInputError(
                    "the record of the epoch under way has other arrays than predictions, targets and weights"
                )
            for name, array in found.items():
                if array.shape != (n_rows, *shapes[name]) or array.dtype.kind != "f":
                    raise InvalidInputError(
                        f"the array 'record/{name}' is {array.dtype} {array.shape}, and not of these data"
                    )
                if not np.isfinite(array[:n_done]).all():
                    raise InvalidInputError(f"the array 'record/{name}' holds a number that is not finite")
            if isinstance(batches, ArrayBatches):
                rows = batches.order(self.values["epoch"])[:n_done]
                trained_on = {"targets": batches.targets[rows]}
                if batches.weights is not None:
                    trained_on["weights"] = weights_of_rows(batches.weights[rows])
                for name in found.keys() - {"predictions"} | trained_on.keys():
                    if not np.array_equal(found.get(name, [])[:n_done], trained_on.get(name, [])):
                        raise InvalidInputError(f"the array 'record/{name}' is not that of the rows trained on")
            return EpochRecord(n_rows, {name: array.copy() for name, array in found.items()}, n_recorded)

    def restore(self, run: TrainingRun) -> None:
        """Put back the states of the session, the layers' generators and the callbacks."""
        with _damage_told():
            run.session.write_weights(self.weights())
            run.session.write_state(self._part("session/"))
            states = self._of_type("layer_random_states", list)
            layers = list(run.stack.walk())
            if len(states) != len(layers):
                raise InvalidInputError(f"there are {len(states)} random states for {len(layers)} layers")
            for layer, random_state in zip(layers, states, strict=True):
                check_generator_state(random_state)
                layer.rng.bit_generator.state = random_state
            self._restore_callbacks(run)

    def _restore_callbacks(self, run: TrainingRun) -> None:
        waiting = []
        for index, one in enumerate(self._of_type("callbacks", list)):
            kinds = {"type": str, "steers": bool, "state": dict}
            if not isinstance(one, dict) or not all(isinstance(one.get(name), kind) for name, kind in kinds.items()):
                raise InvalidInputError("a callback has no type, no state, or does not say whether it steers")
            waiting.append((one, one["state"] | self._part(f"callback{index}/")))
        for callback in run.callbacks:
            match = next((item for item in waiting if item[0]["type"] == type(callback).__name__), None)
            if match is not None:
                waiting.remove(match)
                _restore_callback(run, callback, match[1])
        left = [one["type"] for one, _ in waiting if one["steers"]]
        if left:
            raise ModelFileError(f"The run was steered by the callback {left[0]}; give it again to resume.")

    def _stop_reason(self) -> str | None:
        reason = self.values.get("stop_reason", 0)
        if reason is not None and not isinstance(reason, str):
            raise InvalidInputError("'stop_reason' is not a text")
        return reason

    def _part(self, prefix: str) -> dict[str, Array]:
        """Return the arrays whose names begin with the prefix, by the rest of their names."""
        return {name.removeprefix(prefix): array for name, array in self.arrays.items() if name.startswith(prefix)}

    def _of_type(self, name: str, kind: type[Any]) -> Any:
        """Return a value of the given type."""
        if name not in self.values:
            raise InvalidInputError(f"'{name}' is missing")
        if not isinstance(self.values[name], kind):
            raise InvalidInputError(f"'{name}' is {str(self.values[name])[:40]!r}, and not of the type {kind.__name__}")
        return self.values[name]

    def _whole_number(self, name: str, low: int, high: int) -> int:
        """Return a whole number within bounds."""
        number = self._of_type(name, int)
        if isinstance(number, bool) or not low <= number <= high:
            raise InvalidInputError(f"'{name}' is {str(number)[:40]}; it must be a whole number from {low} to {high}")
        return int(number)

    def _amount(self, name: str) -> float:
        """Return a finite number that is not negative."""
        number = self.values.get(name)
        if isinstance(number, bool) or not isinstance(number, int | float) or not 0 <= number < np.inf:
            raise InvalidInputError(f"'{name}' is {str(number)[:40]}; it must be a finite number >= 0")
        return float(number)


@contextlib.contextmanager
def _damage_told() -> Iterator[None]:
    """Turn errors of all kinds within the block into one sentence about the checkpoint."""
    try:
        yield
    except ModelFileError:
        raise
    except (TypeError, ValueError, KeyError, IndexError, AttributeError, OverflowError) as error:
        raise ModelFileError(f"The checkpoint is damaged: {str(error)[:200]}") from error


def _n_rows_done(batch: int, batches: Batches) -> int:
    """Return how many rows of the epoch under way have been trained on."""
    return min(batch * batches.batch_size, batches.n_rows)


def _check_session(arrays: dict[str, Array], n_done: int) -> None:
    """Refuse a running mean, a gradient norm and counters that cannot be."""
    kinds = {"loss_sum": "f", "rows": "i", "gradient_norm": "f", "loss_scale": "f", "n_good": "i"}
    for name, kind in kinds.items():
        array = arrays.get(name)
        if array is None:
            if name in ("loss_sum", "rows", "gradient_norm"):  # the others are those of half precision
                raise InvalidInputError(f"the array 'session/{name}' is missing")
            continue
        if array.shape != (1,) or array.dtype.kind != kind:
            raise InvalidInputError(f"the array 'session/{name}' is no single number")
        too_low = name != "loss_sum" and array[0] < 0
        if too_low or np.isnan(array[0]) or (np.isinf(array[0]) and name != "gradient_norm"):
            raise InvalidInputError(f"the array 'session/{name}' is {array[0]}, which cannot be")
    if arrays["rows"][0] > n_done or bool(arrays["rows"][0]) != bool(n_done):
        raise InvalidInputError(
            f"the array 'session/rows' is {arrays['rows'][0]}, and {n_done} rows had been trained on"
        )


def _restore_callback(run: TrainingRun, callback: Callback, state: dict[str, Any]) -> None:
    """Put back the state of a callback; one of ours counts epochs of the run, and keeps weights of the network."""
    if type(callback) in CALLBACKS.classes.values():
        name = type(callback).__name__
        for key, value in state.items():
            if isinstance(value, int) and not 0 <= value <= run.epoch:
                raise InvalidInputError(f"the '{key}' of {name} is {str(value)[:40]} after {run.epoch} epochs")
        kept = {key: value for key, value in state.items() if isinstance(value, np.ndarray)}
        own = run.stack.read_arrays()
        if kept and (
            kept.keys() != own.keys()
            or any((kept[key].shape, kept[key].dtype) != (own[key].shape, own[key].dtype) for key in own)
            or not all(np.isfinite(array).all() for array in kept.values())
        ):
            raise InvalidInputError(f"the weights that {name} keeps are not those of this network")
    callback.write_state(state)
