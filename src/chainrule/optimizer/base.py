"""The base classes of the optimizers.

The settings of an optimizer are dataclass fields, and training never changes them. The arrays that it accumulates are
in :attr:`Optimizer.state`, by name, so that they can be saved and resumed bit for bit. The training loop passes in the
learning rate of each step, which depends on the schedule; in a direct call it defaults to the setting.

Most methods need only a gradient: they are subclasses of :class:`Optimizer`. A few evaluate the objective, or its
residuals, at points that they choose: they are subclasses of :class:`ObjectiveOptimizer` and get an :class:`Objective`.
"""

from __future__ import annotations

import copy
import functools
import inspect
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from functools import cached_property
from typing import Annotated, Any, ClassVar, Protocol, Self

import numpy as np

from chainrule import kernels
from chainrule.arrays import aligned_zeros
from chainrule.errors import InvalidInputError
from chainrule.formulas import Attempt, Expression, Formula, Loop, TraceError, values_of
from chainrule.formulas.translate import evaluate_torch
from chainrule.kernels.subnormals import subnormals_are_zero
from chainrule.named import FixedAttributes, also_called
from chainrule.parameters import ParameterBlock
from chainrule.settings import ABOVE_ZERO, FROM_ZERO, CheckedSettings, Setting
from chainrule.types import Array

__all__ = [
    "BlockOptimizer",
    "Objective",
    "ObjectiveOptimizer",
    "Optimizer",
    "TracedRule",
]


# The attributes on which no rule depends.
RUNTIME = frozenset({"state", "blocks", "loss", "_checked", "_traced"})


@also_called(
    arguments={
        "params": "Give the optimizer to the network, as in NeuralNetwork(optimizer=...).",
        "betas": "Give its two numbers as beta1 and beta2.",
        "beta_1": "beta1",
        "beta_2": "beta2",
        "clipnorm": "It is the setting clip_norm of NeuralNetwork.",
        "clipvalue": "It is the setting clip_value of NeuralNetwork.",
        "ema_momentum": "It is the setting ema_decay of NeuralNetwork.",
        "history_size": "memory",
    }
)
@dataclass(init=False, eq=False)
class Optimizer(FixedAttributes, CheckedSettings, ABC):
    """Base class of all optimizers: a subclass defines the formula of a step in :meth:`rule`.

    Attributes
    ----------
    learning_rate
        The step size, as described in each class.
    weight_decay
        The decoupled weight decay of every optimizer: before each step, w -= rate * weight_decay * w for penalised
        parameters, such as weight matrices, and not for biases. It does not pass through the running averages of the
        gradient (Loshchilov and Hutter 2019). The decay that PyTorch adds to the gradient, in ``SGD(weight_decay=...)``
        and ``Adam(weight_decay=...)``, is the penalty L2 of the network.
    state
        The arrays that the optimizer accumulates, by name; empty before the first update.
    blocks
        The positions and shapes of the parameters in the vector; see :meth:`set_layout`.
    loss
        The objective before the next update. The caller sets it if ``needs_loss`` is True; otherwise it is None.
    full_batch
        Whether the method is intended for the gradient of all rows (Rprop, Quickprop, L-BFGS, Levenberg-Marquardt).
    needs_loss
        Whether :attr:`loss` must be set before every update.
    scalar_state
        The state arrays that hold one number for all weights. :meth:`rule` takes them as numbers, and :meth:`advance`
        updates them.
    optional_arguments
        The last arguments of :meth:`rule` that exist only if a setting is neither 0 nor False, each with the name of
        the setting. Their default is None.
    """

    full_batch: ClassVar[bool] = False
    needs_loss: ClassVar[bool] = False
    scalar_state: ClassVar[tuple[str, ...]] = ()
    optional_arguments: ClassVar[tuple[tuple[str, str], ...]] = ()

    learning_rate: Annotated[float, Setting("The step size.", ABOVE_ZERO)]
    _: KW_ONLY
    weight_decay: Annotated[float, Setting("Decoupled weight decay.", FROM_ZERO, since="0.2")] = 0.0
    state: dict[str, Array] = field(init=False, repr=False)
    blocks: tuple[ParameterBlock, ...] = field(init=False, repr=False)
    loss: float | None = field(init=False, repr=False)

    def __new__(cls, *args: object, **kwargs: object) -> Self:
        if cls.rule is Optimizer.rule and cls.step is Optimizer.step:
            raise InvalidInputError(f"{cls.__name__} has no formula of a step; define its method rule.")
        if "weight_decay" in cls.rule.__code__.co_names:
            raise InvalidInputError(
                f"The rule of {cls.__name__} uses weight_decay, which the base class applies before the rule; remove "
                "it from the rule, or give the setting another name."
            )
        self = super().__new__(cls)
        self._forget()
        return self

    def _forget(self) -> None:
        self.state, self.blocks, self.loss = {}, (), None
        self._checked: tuple[dict[str, Array], int, np.dtype[Any]] | None = None
        self._traced: Attempt[TracedRule] | None = None

    def rule(self, weights: Any, gradient: Any, *arguments: Any) -> Any:
        """Return the weights after a step and the new state arrays, in the order of the arguments, by a NumPy formula.

        An argument named ``rate`` is the learning rate of the step, and one named ``step`` is its number, counted from
        1. The other arguments are the state arrays, by name. The weights have already been decayed, see
        :attr:`weight_decay`.

        The formula is traced and compiled. A formula that cannot be traced, such as one with an ``if`` on the values of
        an array, is computed by NumPy.
        """
        raise NotImplementedError

    def advance(self, learning_rate: float, step: int) -> None:
        """Prepare a step: update the state arrays that hold one number for all weights.

        The other state arrays may still be those of an earlier step.
        """

    def allocate_state(self, size: int, dtype: np.dtype[Any]) -> dict[str, Array]:
        """Return the arrays for a vector of ``size`` parameters, at their values before the first step.

        These are the state arrays that :meth:`rule` takes, filled with zeros, and the counter ``steps`` if :meth:`rule`
        takes ``step``.
        """
        names = self.rule_names()
        state = {name: aligned_zeros(size, dtype) for name in self.vector_names()}
        return {**state, "steps": np.zeros(1, np.int64)} if "step" in names else state

    def step(self, weights: Array, gradient: Array, learning_rate: float) -> None:
        """Take one step in place. The state must be allocated; the constructor has checked the settings."""
        step = self.begin_step(learning_rate)
        for part, decays, factor in self.parts():
            state = self.state_of(part)
            self.apply_rule(weights[part], gradient[part], factor * learning_rate, step, state, decays=decays)

    def state_of(self, part: slice) -> dict[str, Array]:
        """Return the state arrays for a slice of the vector."""
        vectors = self.vector_names()
        return {name: array[part] if name in vectors else array for name, array in self.state.items()}

    def begin_step(self, learning_rate: float) -> int:
        """Count a step and prepare for it; return its number, or 0 if steps are not counted."""
        step = 0
        if "steps" in self.state:
            self.state["steps"] += 1
            step = int(self.state["steps"][0])
        self.advance(learning_rate, step)
        return step

    def parts(self) -> list[tuple[slice, bool, float]]:
        """Return the slices of the vector with equal settings, without frozen parameters.

        Each slice is returned with two settings: whether weight decay acts on it, and the factor on its learning rate.
        """
        found: list[tuple[slice, bool, float]] = []
        for block in self.blocks:
            start, settings = block.start, (block.decays or self.weight_decay == 0, block.rate_factor)
            if found and found[-1][1:] == settings and found[-1][0].stop == start:
                start = found.pop()[0].start
            if block.size and block.rate_factor:
                found.append((slice(start, block.start + block.size), *settings))
        return found

    def apply_rule(
        self, weights: Any, gradient: Any, rate: float, step: int, state: Mapping[str, Any], *, decays: bool
    ) -> None:
        """Change weights and state arrays in place by :meth:`rule`; the weight decay is 0 unless ``decays`` is True.

        The arrays may be tensors of PyTorch if the rule can be traced.
        """
        vectors = self.vector_names()
        arrays = [state[name] for name in vectors]
        if not isinstance(weights, np.ndarray):
            self._apply_to_tensors(weights, gradient, arrays, rate, step, decays=decays)
            return
        traced = self._trace() if kernels.active_set() == "numba" else None
        if traced is not None:
            traced.loop(weights, gradient, *arrays, settings=traced.numbers(self, rate, step, decays=decays))
            return
        owner = self
        if not decays:
            owner = copy.copy(self)
            owner.weight_decay = 0.0
        known: dict[str, Any] = {"rate": rate, "step": step}
        known |= {name: array if name in vectors else array.item() for name, array in state.items()}
        with np.errstate(all="ignore"):  # the training loop reports numbers that are not finite
            results = owner._decayed_rule(weights, gradient, *(known[name] for name in self.rule_names()))
        if len(results) != 1 + len(vectors) or any(result is None for result in results):
            names = ", ".join(("weights", *vectors))
            raise InvalidInputError(f"The rule of {type(self).__name__} must return {names}, in this order.")
        results = tuple(np.array(result) for result in results)  # one may be an array that is about to be written
        for array, result in zip((weights, *arrays), results, strict=True):
            array[...] = result

    def _apply_to_tensors(
        self, weights: Any, gradient: Any, state: Sequence[Any], rate: float, step: int, *, decays: bool
    ) -> None:
        """Change tensors of PyTorch in place by the traced rule."""
        traced = self._trace()
        assert traced is not None  # see supports_tensors
        numbers = traced.numbers(self, rate, step, decays=decays)
        symbols: dict[str, Any] = dict(zip(traced.loop.settings, numbers, strict=True))
        symbols |= {"weights": weights, "gradient": gradient, **dict(zip(traced.state, state, strict=True))}
        results = evaluate_torch(list(traced.results.values()), symbols)
        written = (weights, *state)  # a result may be a tensor that is about to be written
        fresh = [result.clone() if any(result is one for one in written) else result for result in results]
        for tensor, result in zip(written, fresh, strict=True):
            tensor[...] = result

    def _decayed_rule(self, weights: Any, gradient: Any, *arguments: Any) -> tuple[Any, ...]:
        """Return the results of :meth:`rule` for weights that have decayed."""
        names = self.rule_names()
        rate = arguments[names.index("rate")] if "rate" in names else self.learning_rate
        results = self.rule(weights - rate * self.weight_decay * weights, gradient, *arguments)
        n_results = 1 + len(self.vector_names())
        results = results if isinstance(results, tuple) else (results,)
        return results[:n_results] if self.optional_arguments else results

    def traced(self) -> TracedRule | None:
        """Return the rule as expressions and a compiled loop; None if it cannot be traced or is not the whole step."""
        if (type(self).step, type(self).parts) != (Optimizer.step, Optimizer.parts):
            return None
        return self._trace()

    def supports_tensors(self) -> bool:
        """Whether :meth:`step` can be called with tensors of PyTorch, also in :attr:`state`."""
        return self.traced() is not None

    def _trace(self) -> TracedRule | None:
        if type(self).rule is Optimizer.rule:
            return None
        traced = self._traced
        if traced is None or not traced.is_current(self) or not _takes_arguments_of(self, traced.formulas):
            self._traced = traced = Attempt.make(self, RUNTIME, functools.partial(TracedRule.of, self))
        return traced.formulas

    def rule_names(self) -> tuple[str, ...]:
        """Return the names of the arguments of :meth:`rule` after the weights and the gradient."""
        names = self._all_rule_names()
        absent = [name for name, setting in self.optional_arguments if not getattr(self, setting)]
        return tuple(name for name in names if name not in absent) if absent else names

    def vector_names(self) -> tuple[str, ...]:
        """Return the names of the state arrays with the shape of the weights, in the order of the rule."""
        return tuple(name for name in self.rule_names() if name not in ("rate", "step", *self.scalar_state))

    @classmethod
    @functools.cache
    def _all_rule_names(cls) -> tuple[str, ...]:
        return tuple(inspect.signature(cls.rule).parameters)[3:]

    def update(self, weights: Array, gradient: Array, learning_rate: float | None = None) -> Array:
        """Take one step along ``gradient``, which is not changed; return the weights, which are updated in place.

        The arrays may have any shape, but the same one in every call: a single weight matrix, for example, or the flat
        vector of all parameters, as in a network.
        """
        if not isinstance(weights, np.ndarray) or weights.dtype not in (np.float32, np.float64):
            weights = np.array(weights, dtype=np.float64)
        gradient = np.ascontiguousarray(gradient, dtype=weights.dtype).reshape(np.shape(gradient))
        if weights.shape != gradient.shape:
            raise InvalidInputError(f"The weights have shape {weights.shape} and their gradient {gradient.shape}.")
        if not weights.flags.c_contiguous:
            weights[...] = self.update(np.ascontiguousarray(weights), gradient, learning_rate)
            return weights
        self.prepare(weights)
        rate = float(self.learning_rate if learning_rate is None else learning_rate)
        with subnormals_are_zero():
            self.step(weights.reshape(-1), gradient.reshape(-1), rate)
        return weights

    def set_layout(self, blocks: Sequence[ParameterBlock]) -> None:
        """Set which slices of the vector are matrices and which are penalised, for weight decay and Muon.

        Without a layout, the array of the first update is one penalised parameter with the shape of the array.
        """
        factors = {block.rate_factor for block in blocks}
        if type(self).step is not Optimizer.step and not isinstance(self, BlockOptimizer):
            if factors - {1.0}:
                raise InvalidInputError(
                    f"{type(self).__name__} trains all parameters alike; leave out the settings trainable and "
                    "rate_factor of the layers."
                )
        elif factors - {0.0, 1.0} and type(self).rule is not Optimizer.rule and "rate" not in self.rule_names():
            raise InvalidInputError(
                f"{type(self).__name__} computes its own step lengths; leave out the setting rate_factor of the layers."
            )
        self.blocks = tuple(blocks)

    @property
    def n_penalized(self) -> int:
        """The length of the leading slice of the vector that weight decay acts on."""
        return sum(block.size for block in self.blocks if block.penalized)

    def restore_state(self, state: Mapping[str, Array], size: int, dtype: np.dtype[Any]) -> None:
        """Take copies of ``state``, read from a file; refuse arrays that do not fit ``size`` parameters."""
        self._check_state(state, size, dtype)
        for name, array in state.items():
            too_low = array.dtype.kind == "i" and array.min() < 0  # steps taken, pairs kept
            infinite = array.size > 1 and np.isinf(array).any()  # the loss is infinite before the first step
            if too_low or infinite or np.isnan(array).any():
                raise InvalidInputError(
                    f"The array '{name}' in the state of {type(self).__name__} has negative counts, NaN or infinite "
                    "numbers; the file is damaged."
                )
        self.state = {name: np.array(array, order="C") for name, array in state.items()}

    def fresh(self) -> Self:
        """Return a copy with the same settings and no state, so that two networks never share a state."""
        twin = copy.copy(self)
        twin._forget()
        return twin

    def prepare(self, weights: Array) -> None:
        """Allocate the state on the first call; check on later calls that it fits, because kernels check no bounds.

        :meth:`update` and :meth:`minimize` do this. Call it before a direct call of :meth:`step`.
        """
        size, dtype = weights.size, weights.dtype
        checked = self._checked
        if checked is not None and checked[1:] == (size, dtype) and self._has_arrays(checked[0]):
            return
        if not self.blocks:
            self.set_layout((ParameterBlock(0, "weights", weights.shape, penalized=True),))
        if sum(block.size for block in self.blocks) != size:
            raise InvalidInputError(
                f"This {type(self).__name__} updates {sum(block.size for block in self.blocks)} parameters and was "
                f"given {size}; use a separate optimizer for each array, made by fresh()."
            )
        if self.state:
            self._check_state(self.state, size, dtype)
        else:
            self.state = self.allocate_state(size, dtype)
        self._checked = (dict(self.state), size, dtype)

    def _has_arrays(self, checked: Mapping[str, Array]) -> bool:
        return len(checked) == len(self.state) and all(self.state.get(n) is array for n, array in checked.items())

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_traced": None}

    def _check_state(self, state: Mapping[str, Array], size: int, dtype: np.dtype[Any]) -> None:
        name = type(self).__name__
        expected = self.allocate_state(size, dtype)
        if set(state) != set(expected):
            raise InvalidInputError(
                f"The state of {name} has the arrays {sorted(state)}; it needs {sorted(expected)}, so it belongs to "
                "another optimizer."
            )
        for key, like in expected.items():
            given = state[key]
            if given.shape != like.shape or given.dtype != like.dtype or not given.flags.c_contiguous:
                raise InvalidInputError(
                    f"The array '{key}' in the state of {name} is {state[key].dtype} {state[key].shape}; "
                    f"{size} parameters of type {dtype} need {like.dtype} {like.shape}."
                )


@dataclass(frozen=True, eq=False)
class TracedRule:
    """The rule of an optimizer, as expressions and as a compiled loop.

    Attributes
    ----------
    results
        The new weights and state arrays by name, as expressions of the symbols ``weights``, ``gradient``, ``rate``,
        ``step``, the state arrays and the settings.
    state
        The names of the state arrays with the shape of the weights.
    scalars
        The names of the state arrays with one number.
    formula
        The formula that the results belong to.
    """

    results: dict[str, Expression]
    state: tuple[str, ...]
    scalars: tuple[str, ...]
    formula: Formula

    @property
    def settings(self) -> tuple[str, ...]:
        """The names of the optimizer's settings that are symbols."""
        return self.formula.settings

    @classmethod
    def of(cls, optimizer: Optimizer) -> TracedRule:
        """Trace the rule of an optimizer. Raises ``TraceError`` if it cannot be traced."""
        names, vectors, scalars = optimizer.rule_names(), optimizer.vector_names(), optimizer.scalar_state
        samples = {"rate": np.array(0.01), "step": np.array(3.0), **{name: np.array(0.5) for name in scalars}}
        arguments = ["weights", "gradient", *names]
        formula = Formula.trace(type(optimizer)._decayed_rule, optimizer, arguments, samples=samples)
        if any(node.is_reduction for result in formula.expressions for node in result.visit()):
            raise TraceError(
                "The rule reduces an array, such as by np.sum, but it is applied to parts of the arrays separately."
            )
        results = dict(zip(("weights", *vectors), formula.expressions, strict=True))
        return cls(results, vectors, scalars, formula)

    @cached_property
    def loop(self) -> Loop:
        """The loop that takes ``weights``, ``gradient`` and the :attr:`state`, and changes all but the gradient."""
        changed = {name: value for name, value in self.results.items() if value.operands or value.value != name}
        numbers = ("rate", "step", *self.scalars, *self.settings)
        return Loop(("weights", "gradient", *self.state), numbers, changed)

    @property
    def decay_index(self) -> int:
        """The index of the weight decay among the numbers of the loop."""
        return 2 + len(self.scalars) + self.settings.index("self.weight_decay")

    def numbers(self, optimizer: Optimizer, rate: float, step: int, *, decays: bool = True) -> list[float]:
        """Return the numbers that the loop takes: rate, step, scalars and settings."""
        numbers = [rate, float(step), *(optimizer.state[name].item() for name in self.scalars)]
        numbers += values_of(optimizer, self.settings)
        if not decays:
            numbers[self.decay_index] = 0.0
        return numbers


def _takes_arguments_of(optimizer: Optimizer, traced: TracedRule | None) -> bool:
    return traced is None or traced.formula.arguments[2:] == optimizer.rule_names()


class BlockOptimizer(Optimizer):
    """Base class of the optimizers whose step depends on a parameter as a whole: a matrix, or its root mean square.

    :meth:`step_block` is written with operators and methods that NumPy arrays and PyTorch tensors share.
    """

    def step(self, weights: Array, gradient: Array, learning_rate: float) -> None:
        """Take one step in place."""
        step = self.begin_step(learning_rate)
        for block in (block for block in self.blocks if block.rate_factor):
            part, rate = block.slice, block.rate_factor * learning_rate
            self.step_block(block, weights[part], gradient[part], rate, step, self.state_of(part))

    @abstractmethod
    def step_block(
        self, block: ParameterBlock, weights: Array, gradient: Array, rate: float, step: int, state: Mapping[str, Array]
    ) -> None:
        """Take a step for one parameter, whose flat weights, gradient and state arrays are given, in place."""

    def decay(self, weights: Array, rate: float, block: ParameterBlock) -> None:
        """Apply the weight decay to the weights of a parameter, in place."""
        if block.decays and self.weight_decay != 0:
            weights *= 1 - rate * self.weight_decay

    def supports_tensors(self) -> bool:
        """Return True."""
        return True


class Objective(Protocol):
    """The objective over all rows, which a second-order method evaluates at the weights that it tries.

    ``weights`` is a flat vector like that of the network. The returned arrays may be buffers that the next call
    overwrites, and the objective may use the vector that is minimised as its working memory. A method therefore copies
    the arrays that it keeps, and writes its result into the vector at the end. An iteration starts where the previous
    one ended, so an objective that keeps its last result saves an evaluation.
    """

    @property
    def l2_rate(self) -> float:
        """The rate r of the penalty r / 2 * sum w^2 on penalised parameters; 0 without a penalty.

        Other penalties are an error. :meth:`residuals_and_jacobian` leaves the penalty out, so Levenberg-Marquardt adds
        it; :meth:`value_and_gradient` includes it.
        """
        ...

    def value_and_gradient(self, weights: Array) -> tuple[float, Array]:
        """Return mean loss + penalty, and its gradient."""
        ...

    def residuals_and_jacobian(self, weights: Array) -> tuple[Array, Array] | Iterable[tuple[Array, Array]]:
        """Return the residuals r, (m,), and J = dr/dw, (m, p), or yield such pairs for one block of rows after another.

        With blocks, J as a whole need not fit into memory. The residuals are weighted and scaled so that, over all
        blocks, the mean loss is r.r and its gradient 2 J^T r. Only the mean squared error has residuals.
        """
        ...


@dataclass(init=False, eq=False)
class ObjectiveOptimizer(Optimizer):
    """Base class of the methods that evaluate the objective themselves; each call of :meth:`minimize` is one iteration.

    ``state["converged"]`` is 1 as soon as no further decrease is possible.
    """

    full_batch: ClassVar[bool] = True
    weight_decay: ClassVar[float] = 0.0  # type: ignore[misc]  # the penalty is a part of the objective

    @property
    def converged(self) -> bool:
        """Whether the last iteration found no lower point, or a gradient that is 0 within the tolerance."""
        flag = self.state.get("converged")
        return flag is not None and bool(flag[0])

    @property
    def stop_reason(self) -> str | None:
        """Why there is no further iteration, in words; None if there is one."""
        return f"{type(self).__name__} has converged" if self.converged else None

    def minimize(self, weights: Array, objective: Objective, learning_rate: float | None = None) -> float:
        """Do one iteration on the flat vector ``weights``, in place, and return the objective at its end.

        The objective never increases: if no lower point is found, or if an exception is raised, the weights do not
        change.
        """
        if weights.ndim != 1 or not weights.flags.c_contiguous or weights.dtype not in (np.float32, np.float64):
            raise InvalidInputError("The weights must be one contiguous vector of float32 or float64 numbers.")
        self.prepare(weights)
        rate = float(self.learning_rate if learning_rate is None else learning_rate)
        end = start = weights.copy()
        try:
            end, value = self.iterate(start, objective, rate)
        finally:
            weights[...] = end
        return value

    def check_size(self, n_parameters: int, n_residuals: int) -> None:
        """Raise InvalidInputError, before training, if a network is too large for this method."""

    @abstractmethod
    def iterate(self, start: Array, objective: Objective, learning_rate: float) -> tuple[Array, float]:
        """Do one iteration from ``start``, which is not changed; return its last point and the objective there."""

    def step(self, weights: Array, gradient: Array, learning_rate: float) -> None:
        """Raise InvalidInputError: a gradient is not enough."""
        raise InvalidInputError(
            f"{type(self).__name__} needs the objective, not only a gradient; train a network with it, "
            f"or call minimize(weights, objective)."
        )
