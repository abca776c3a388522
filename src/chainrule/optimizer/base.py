"""The contract that every optimizer keeps.

An optimizer's settings are dataclass fields and are never changed by training. What it accumulates lives in
:attr:`Optimizer.state`, arrays by name, so that it can be saved and resumed bit for bit. The learning rate of a step
is passed in by the training loop, which knows the schedule; by hand it defaults to the setting.

Most methods need nothing but a gradient: :class:`Optimizer`. A few ask for the objective at points of their own
choosing, or for its residuals: :class:`ObjectiveOptimizer`, which asks an :class:`Objective`.
"""

from __future__ import annotations

import copy
import functools
import inspect
import numbers
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Protocol, Self

import numpy as np

from chainrule import kernels
from chainrule.errors import InvalidInputError, shown
from chainrule.formulas import Attempt, Expression, Formula, Loop, values_of
from chainrule.kernels.subnormals import subnormals_are_zero
from chainrule.named import check_arguments
from chainrule.parameters import ParameterBlock
from chainrule.ranges import is_finite
from chainrule.types import Array

__all__ = ["Objective", "ObjectiveOptimizer", "Optimizer", "TracedRule", "check_choice", "check_count", "check_setting"]


# The attributes on which no rule depends.
RUNTIME = frozenset({"state", "blocks", "loss", "_checked", "_traced"})


class Optimizer(ABC):
    """Base class of all optimizers: a subclass gives the formula of a step as :meth:`rule`.

    Attributes
    ----------
    learning_rate
        The step size; each class says what it means by it.
    state
        What the optimizer accumulates, arrays by name; empty before the first update.
    blocks
        Where the vector's parameters lie and what shape they have; see :meth:`set_layout`.
    loss
        The objective at the weights of the next update; whoever trains sets it where ``needs_loss``, None elsewhere.
    full_batch
        Whether the method is made for the gradient of all rows at once (Rprop, Quickprop, L-BFGS, Levenberg-Marquardt).
    needs_loss
        Whether :attr:`loss` has to be set before every update.
    scalar_state
        The state arrays that hold one number for all weights. :meth:`rule` takes them as numbers, and :meth:`advance`
        brings them up to date.
    """

    full_batch: ClassVar[bool] = False
    needs_loss: ClassVar[bool] = False
    scalar_state: ClassVar[tuple[str, ...]] = ()

    learning_rate: float
    state: dict[str, Array]
    blocks: tuple[ParameterBlock, ...]
    loss: float | None

    _traced: Attempt[TracedRule] | None

    def __new__(cls, *args: object, **kwargs: object) -> Self:
        check_arguments(cls.__name__, cls.__init__, kwargs)
        if cls.rule is Optimizer.rule and cls.step is Optimizer.step:
            raise InvalidInputError(f"{cls.__name__} does not say how it steps; give it a method rule.")
        self = super().__new__(cls)
        self._forget()
        return self

    def _forget(self) -> None:
        self.state = {}
        self.blocks = ()
        self.loss = None
        self._checked: tuple[dict[str, Array], int, np.dtype[Any]] | None = None
        self._traced = None

    def rule(self, weights: Any, gradient: Any, *arguments: Any) -> Any:
        """Return the weights after a step, and with them the state arrays, in their order: a NumPy formula.

        A parameter named ``rate`` gets the learning rate of the step, and one named ``step`` its number, counted from
        1. The others are the state arrays, by name. Where an optimizer has a ``weight_decay``, it is 0 for parameters
        that are not penalised, such as biases.

        The formula is traced and compiled. One that cannot be traced, such as one with an ``if`` on the values of an
        array, is computed by NumPy.
        """
        raise NotImplementedError

    def advance(self, learning_rate: float, step: int) -> None:  # noqa: B027  (most rules have nothing to prepare)
        """Prepare a step: bring those state arrays up to date that hold one number for all weights."""

    def allocate_state(self, size: int, dtype: np.dtype[Any]) -> dict[str, Array]:
        """Return the arrays for a vector of ``size`` parameters, at their values before the first step.

        They are the state arrays that :meth:`rule` takes, zero, and ``steps``, which counts the steps if it takes their
        number.
        """
        names = self._rule_names()
        state = {name: np.zeros(size, dtype) for name in self._vector_names()}
        return {**state, "steps": np.zeros(1, np.int64)} if "step" in names else state

    def step(self, weights: Array, gradient: Array, learning_rate: float) -> None:
        """Take one step in place; ``state`` is allocated. Settings have been checked by the constructor."""
        step, parts = self.begin_step(learning_rate), self.parts(weights.size)
        if len(parts) == 1:
            self.apply_rule(weights, gradient, learning_rate, step, self.state, decays=parts[0][1])
            return
        vectors = self._vector_names()
        for part, decays in parts:
            state = {name: array[part] if name in vectors else array for name, array in self.state.items()}
            self.apply_rule(weights[part], gradient[part], learning_rate, step, state, decays=decays)

    def begin_step(self, learning_rate: float) -> int:
        """Count a step and prepare for it; return its number, or 0 where steps are not counted."""
        step = 0
        if "steps" in self.state:
            self.state["steps"] += 1
            step = int(self.state["steps"][0])
        self.advance(learning_rate, step)
        return step

    def parts(self, size: int) -> list[tuple[slice, bool]]:
        """Return the parts of a vector that are stepped alike, and whether weight decay acts on them."""
        n = self.n_penalized if getattr(self, "weight_decay", 0.0) != 0 else size
        both = [(slice(0, n), True), (slice(n, size), False)]
        return [(part, decays) for part, decays in both if part.start < part.stop]

    def apply_rule(
        self, weights: Array, gradient: Array, rate: float, step: int, state: Mapping[str, Array], *, decays: bool
    ) -> None:
        """Change weights and state arrays in place by :meth:`rule`; ``decays`` leaves the weight decay on."""
        traced = self.traced() if kernels.active_set() == "numba" else None
        if traced is not None:
            arrays = [state[name] for name in traced.state]
            traced.loop(weights, gradient, *arrays, settings=traced.numbers(self, rate, step, decays=decays))
            return
        owner, vectors = self, self._vector_names()
        if not decays and hasattr(self, "weight_decay"):
            owner = copy.copy(self)
            owner.weight_decay = 0.0
        known: dict[str, Any] = {"rate": rate, "step": step}
        known |= {name: array if name in vectors else array.item() for name, array in state.items()}
        with np.errstate(all="ignore"):  # what is not finite is found and reported by name
            results = owner.rule(weights, gradient, *(known[name] for name in self._rule_names()))
        results = results if isinstance(results, tuple) else (results,)
        for array, result in zip((weights, *(state[name] for name in vectors)), results, strict=True):
            array[...] = result

    def traced(self) -> TracedRule | None:
        """Return the rule as expressions and as a compiled loop; None where there is none that can be traced."""
        if type(self).rule is Optimizer.rule or (type(self).step, type(self).parts) != (
            Optimizer.step,
            Optimizer.parts,
        ):
            return None
        if self._traced is None or not self._traced.is_current(self):
            self._traced = Attempt.make(self, RUNTIME, functools.partial(TracedRule.of, self))
        return self._traced.formulas

    @classmethod
    @functools.cache
    def _rule_names(cls) -> tuple[str, ...]:
        """Return the names of what the rule takes beside weights and gradient."""
        return tuple(inspect.signature(cls.rule).parameters)[3:]

    @classmethod
    @functools.cache
    def _vector_names(cls) -> tuple[str, ...]:
        """Return the names of the state arrays in the shape of the weights, in the order of the rule."""
        return tuple(name for name in cls._rule_names() if name not in ("rate", "step", *cls.scalar_state))

    def update(self, weights: Array, gradient: Array, learning_rate: float | None = None) -> Array:
        """Take one step along ``gradient``, in place, and return the updated weights.

        Arrays of any shape will do, as long as every call has the same: by hand, a weight matrix; in a network, the
        flat vector of all parameters.
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
        """Learn which slices of the vector are matrices and which are penalised; decay and Muon ask for it.

        By hand, without a layout, the array of the first update is taken as one penalised parameter of its own shape.
        """
        self.blocks = tuple(blocks)

    @property
    def n_penalized(self) -> int:
        """The length of the leading slice of the vector that weight decay acts on."""
        return sum(block.size for block in self.blocks if block.penalized)

    def restore_state(self, state: Mapping[str, Array], size: int, dtype: np.dtype[Any]) -> None:
        """Take copies of ``state``, read from a file, for a vector of ``size`` parameters; refuse what does not fit."""
        self._check_state(state, size, dtype)
        for name, array in state.items():
            too_low = array.dtype.kind == "i" and array.min() < 0  # steps taken, pairs kept
            infinite = array.size > 1 and np.isinf(array).any()  # a loss is, before the first step
            if too_low or infinite or np.isnan(array).any():
                raise InvalidInputError(
                    f"The array '{name}' in the state of {type(self).__name__} holds numbers that cannot be."
                )
        self.state = {name: np.array(array, order="C") for name, array in state.items()}

    def fresh(self) -> Self:
        """Return a copy with the same settings and no state, so that two networks never share one."""
        twin = copy.copy(self)
        twin._forget()
        return twin

    def prepare(self, weights: Array) -> None:
        """Allocate the state on the first call; make sure on later ones that it fits, for kernels check no bounds.

        :meth:`update` and :meth:`minimize` see to it; whoever calls :meth:`step` directly must have called this.
        """
        size, dtype = weights.size, weights.dtype
        checked = self._checked
        if checked is not None and checked[0] is self.state and checked[1] == size and checked[2] == dtype:
            return
        if not self.blocks:
            self.set_layout((ParameterBlock(0, "weights", weights.shape, penalized=True),))
        if sum(block.size for block in self.blocks) != size:
            raise InvalidInputError(
                f"This {type(self).__name__} steps {sum(block.size for block in self.blocks)} parameters and was given "
                f"{size}; give every array an optimizer of its own, made by fresh()."
            )
        if self.state:
            self._check_state(self.state, size, dtype)
        else:
            self.state = self.allocate_state(size, dtype)
        self._checked = (self.state, size, dtype)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_traced": None}

    def _check_state(self, state: Mapping[str, Array], size: int, dtype: np.dtype[Any]) -> None:
        name = type(self).__name__
        expected = self.allocate_state(size, dtype)
        if set(state) != set(expected):
            raise InvalidInputError(
                f"The state of {name} has the arrays {sorted(state)}; it needs {sorted(expected)}. "
                f"Is it another optimizer's?"
            )
        for key, like in expected.items():
            if state[key].shape != like.shape or state[key].dtype != like.dtype:
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
        The new weights and state arrays by name, of the symbols ``weights``, ``gradient``, ``rate``, ``step``, the
        state arrays and the settings.
    state
        The names of the state arrays in the shape of the weights.
    scalars
        The names of the state arrays of one number.
    formula
        What the results are.
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
        """Trace the rule of an optimizer. Raises ``TraceError`` for what cannot be traced."""
        names, vectors, scalars = optimizer._rule_names(), optimizer._vector_names(), optimizer.scalar_state
        samples = {"rate": np.array(0.01), "step": np.array(3.0), **{name: np.array(0.5) for name in scalars}}
        formula = Formula.trace(type(optimizer).rule, optimizer, ["weights", "gradient", *names], samples=samples)
        results = dict(zip(("weights", *vectors), formula.expressions, strict=True))
        return cls(results, vectors, scalars, formula)

    @cached_property
    def loop(self) -> Loop:
        """Takes the arrays ``weights``, ``gradient`` and :attr:`state`, and changes all but the gradient in place."""
        changed = {name: value for name, value in self.results.items() if value.operands or value.value != name}
        numbers = ("rate", "step", *self.scalars, *self.settings)
        return Loop(("weights", "gradient", *self.state), numbers, changed)

    @property
    def decay_place(self) -> int:
        """The place of the weight decay among the numbers of the loop; -1 where there is none."""
        return 2 + len(self.scalars) + self.settings.index("weight_decay") if "weight_decay" in self.settings else -1

    def numbers(self, optimizer: Optimizer, rate: float, step: int, *, decays: bool = True) -> list[float]:
        """Return what the loop takes beside arrays: rate, step, scalars and settings."""
        numbers = [rate, float(step), *(optimizer.state[name].item() for name in self.scalars)]
        numbers += values_of(optimizer, self.settings)
        if not decays and self.decay_place >= 0:
            numbers[self.decay_place] = 0.0
        return numbers


class Objective(Protocol):
    """What a second-order method may ask of the training session: the objective over all rows, at weights it tries.

    ``weights`` is a flat vector like the network's own. The arrays that come back may be buffers that the next call
    writes over, and the objective may do its trials in the very vector that is being minimised: a method copies what it
    keeps, and puts its result in place at the end. An iteration begins where the one before ended, so an objective that
    remembers its last answer saves an evaluation.
    """

    @property
    def l2_rate(self) -> float:
        """The rate r of the penalty r / 2 * sum w^2 on the penalised slice; 0 without one. Other penalties: an error.

        Only :meth:`residuals_and_jacobian` leaves the penalty out, so only Levenberg-Marquardt asks for it.
        """
        ...

    def value_and_gradient(self, weights: Array) -> tuple[float, Array]:
        """Return mean loss + penalty, and its gradient."""
        ...

    def residuals_and_jacobian(self, weights: Array) -> tuple[Array, Array] | Iterable[tuple[Array, Array]]:
        """Return the residuals r, (m,), and J = dr/dw, (m, p); or yield such pairs for one block of rows after another.

        In blocks, J need never fit into memory as one. The residuals are weighted and scaled so that, over all blocks,
        mean loss = r.r and its gradient = 2 J^T r; only the mean squared error has them.
        """
        ...


class ObjectiveOptimizer(Optimizer):
    """Base class of the methods that ask for the objective themselves; one call of :meth:`minimize` is one iteration.

    ``state["converged"]`` is 1 once there is nothing left to gain.
    """

    full_batch: ClassVar[bool] = True

    @property
    def converged(self) -> bool:
        """Whether the last iteration found no way down, or a gradient that is zero to within the tolerance."""
        flag = self.state.get("converged")
        return flag is not None and bool(flag[0])

    def minimize(self, weights: Array, objective: Objective, learning_rate: float | None = None) -> float:
        """Do one iteration on the flat vector ``weights``, in place, and return the objective where it ends.

        Never ends higher than it began: where no way down is found, or an error stops it, the weights are as they were.
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
        """Do one iteration from ``start``, which is left as it is; return where it ends, and the objective there."""

    def step(self, weights: Array, gradient: Array, learning_rate: float) -> None:
        """Raise InvalidInputError: a gradient is not enough."""
        raise InvalidInputError(
            f"{type(self).__name__} needs the objective, not only a gradient; train a network with it, "
            f"or call minimize(weights, objective)."
        )


def check_setting(
    optimizer: Optimizer, name: str, low: float, high: float = float("inf"), *, open_low: bool = False
) -> None:
    """Store a setting as a float; raise InvalidInputError unless it is within bounds.

    The bounds are ``low <= value < high``, or ``low < value < high`` with ``open_low``.
    """
    value = getattr(optimizer, name)
    if not is_finite(value) or not (value > low if open_low else value >= low) or not value < high:
        bounds = f"{'above' if open_low else 'at least'} {low:g}" + (
            f" and below {high:g}" if high < float("inf") else ""
        )
        raise InvalidInputError(
            f"The {name} of {type(optimizer).__name__} is {shown(value)}; it must be a finite number {bounds}."
        )
    # One type for every number: a kernel is compiled once, not again for momentum=0 or a NumPy scalar.
    setattr(optimizer, name, float(value))


def check_count(optimizer: Optimizer, name: str, high: int) -> None:
    """Raise InvalidInputError unless a setting is a whole number from 1 to ``high``."""
    value: Any = getattr(optimizer, name)
    if isinstance(value, bool) or not isinstance(value, numbers.Integral) or not 1 <= int(value) <= high:
        raise InvalidInputError(
            f"The {name} of {type(optimizer).__name__} is {shown(value)}; it must be a whole number from 1 to {high}."
        )
    setattr(optimizer, name, int(value))


def check_choice(optimizer: Optimizer, name: str, choices: Sequence[Any]) -> None:
    """Raise InvalidInputError unless a setting is one of ``choices``."""
    value = getattr(optimizer, name)
    if not any(value is choice or (isinstance(choice, str) and value == choice) for choice in choices):
        raise InvalidInputError(
            f"The {name} of {type(optimizer).__name__} is {shown(value)}; it must be one of "
            f"{', '.join(repr(choice) for choice in choices)}."
        )
