"""How the learning rate changes while training goes on.

A schedule is a factor by which the optimizer's learning rate is multiplied, as a function of the epochs done; inside
an epoch that number is fractional: 2.5 is half-way through the third.
"""

from __future__ import annotations

import itertools
import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Annotated, Any, final

from chainrule.errors import InvalidInputError, shown
from chainrule.named import Registry, also_called, settings_of
from chainrule.ranges import Range, is_finite
from chainrule.settings import ABOVE_ZERO, FROM_ONE, FROM_ZERO, SHARE, CheckedSettings, Setting

__all__ = [
    "SCHEDULES",
    "ConstantRate",
    "CosineDecay",
    "CosineRestarts",
    "CyclicRate",
    "ExponentialDecay",
    "InverseScaling",
    "InverseTimeDecay",
    "MultiStepDecay",
    "OneCycle",
    "PolynomialDecay",
    "Schedule",
    "StepDecay",
    "WarmUp",
    "stretched",
]

FACTOR = Range(0, 1, includes_high=True)
_PLATEAU = "it follows the loss and not the epoch; give fit (or chainrule.train) the callback ReduceOnPlateau()."


@also_called(
    arguments={
        "learning_rate": "A schedule is a factor on the learning rate, which is a setting of the optimizer.",
        "initial_learning_rate": "A schedule is a factor on the learning rate, which is a setting of the optimizer.",
        "lr": "A schedule is a factor on the learning rate, which is a setting of the optimizer.",
        "max_lr": "A schedule is a factor on the learning rate, which is a setting of the optimizer.",
        "optimizer": "Give the schedule to the network, as in NeuralNetwork(schedule=...).",
        "eta_min": "Its share of the learning rate is 'final'.",
        "end_learning_rate": "Its share of the learning rate is 'final'.",
        "decay_steps": "Schedules count epochs, not steps.",
        "total_steps": "Schedules count epochs, not steps.",
        "steps_per_epoch": "Schedules count epochs, not steps.",
        "decay_rate": "factor",
        "total_iters": "epochs",
        "alpha": "final",
    }
)
class Schedule(CheckedSettings, ABC):
    r"""Base class of the schedules: a function of the epoch, which returns a factor on the learning rate.

    .. math:: \eta_t = \eta \, s(\text{epoch})

    The epoch is a float: 2.5 is the middle of the third epoch. A subclass defines ``__call__``.
    """

    @abstractmethod
    def __call__(self, epoch: float) -> float:
        """Return the factor after ``epoch`` epochs, 0 at the start."""


def _cosine(start: float, end: float, done: float) -> float:
    """Go from ``start`` to ``end`` along half a cosine, as ``done`` goes from 0 to 1."""
    return end + (start - end) * (1 + math.cos(math.pi * done)) / 2


@also_called(
    unlike={"ConstantLR": "PyTorch's is a third of the rate for 5 epochs, then all of it; 'constant' is all of it."},
)
@final
@dataclass(frozen=True)
class ConstantRate(Schedule):
    """The factor 1: the rate does not change.

    >>> ConstantRate()(7.5)
    1.0
    """

    def __call__(self, epoch: float) -> float:
        return 1.0


@also_called(
    "step",
    "StepLR",
    unlike={
        "piecewise_constant_decay": "it counts steps; 'multi_step_decay' drops at epochs that are listed.",
        "on_plateau": _PLATEAU,
        "reduce_on_plateau": _PLATEAU,
        "ReduceLROnPlateau": _PLATEAU,
        "adaptive": _PLATEAU,
    },
    arguments={"step_size": "every"},
)
@final
@dataclass(frozen=True)
class StepDecay(Schedule):
    r"""A drop of the rate after every few epochs.

    .. math:: s(e) = \text{factor}^{\lfloor e / \text{every} \rfloor}

    >>> schedule = StepDecay(every=10, factor=0.5)
    >>> [schedule(epoch) for epoch in (0, 9.9, 10, 20)]
    [1.0, 1.0, 0.5, 0.25]
    """

    every: Annotated[float, Setting("Epochs between two drops.", ABOVE_ZERO)] = 30
    factor: Annotated[float, Setting("Factor at every drop.", FACTOR)] = 0.1

    def __call__(self, epoch: float) -> float:
        return float(self.factor ** math.floor(min(epoch / self.every, 1e9)))


@also_called(
    "multi_step",
    "MultiStepLR",
    arguments={"boundaries": "milestones"},
)
@final
@dataclass(frozen=True)
class MultiStepDecay(Schedule):
    r"""A drop of the rate at each of some epochs.

    .. math:: s(e) = \text{factor}^{k}, \qquad k = \text{the number of milestones passed}

    >>> [MultiStepDecay(milestones=(5, 8))(epoch) for epoch in (4.9, 5, 8)]
    [1.0, 0.1, 0.010000000000000002]
    """

    milestones: tuple[float, ...] = (30, 60)
    factor: Annotated[float, Setting("Factor at every milestone.", FACTOR)] = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        given: Any = self.milestones
        are_numbers = isinstance(given, tuple | list) and all(is_finite(epoch) and epoch >= 0 for epoch in given)
        if not are_numbers or any(one >= other for one, other in itertools.pairwise(given)):
            raise InvalidInputError(
                f"The milestones of MultiStepDecay are {shown(given)}; give increasing epochs, such as (30, 60)."
            )
        object.__setattr__(self, "milestones", tuple(given))  # a list, from a file

    def __call__(self, epoch: float) -> float:
        return float(self.factor ** sum(milestone <= epoch for milestone in self.milestones))


@also_called("exponential", "ExponentialLR")
@final
@dataclass(frozen=True)
class ExponentialDecay(Schedule):
    r"""The same fraction less in every epoch.

    .. math:: s(e) = \text{factor}^e

    >>> [round(ExponentialDecay(factor=0.9)(epoch), 3) for epoch in (0, 1, 10)]
    [1.0, 0.9, 0.349]
    """

    factor: Annotated[float, Setting("Factor per epoch.", FACTOR)] = 0.95

    def __call__(self, epoch: float) -> float:
        return float(self.factor**epoch)


@also_called(
    "inverse_time",
    arguments={"decay_rate": "rate"},
)
@final
@dataclass(frozen=True)
class InverseTimeDecay(Schedule):
    r"""A decay with half the rate after 1 / ``rate`` epochs.

    .. math:: s(e) = \frac{1}{1 + \text{rate} \cdot e}

    >>> [InverseTimeDecay(rate=0.1)(epoch) for epoch in (0, 10, 30)]
    [1.0, 0.5, 0.25]
    """

    rate: Annotated[float, Setting("Reciprocal of the number of epochs until the rate is halved.", FROM_ZERO)] = 0.1

    def __call__(self, epoch: float) -> float:
        return 1 / (1 + self.rate * epoch)


@also_called(
    unlike={"invscaling": "scikit-learn counts rows: it is InverseScaling(rows) with the rows of an epoch."},
    arguments={"power_t": "power"},
)
@final
@dataclass(frozen=True)
class InverseScaling(Schedule):
    r"""scikit-learn's ``learning_rate="invscaling"``.

    .. math:: s(e) = \frac{1}{(1 + \text{rows} \cdot \lfloor e \rfloor)^{\text{power}}}

    ``power`` is scikit-learn's ``power_t``. It counts the rows trained on, after each epoch; ``rows=1`` counts epochs
    instead.

    >>> [InverseScaling(rows=1)(epoch) for epoch in (0, 3, 3.9)]
    [1.0, 0.5, 0.5]
    """

    rows: Annotated[float, Setting("Rows per epoch.", ABOVE_ZERO)] = 1.0
    power: Annotated[float, Setting("Exponent.", FROM_ZERO)] = 0.5

    def __call__(self, epoch: float) -> float:
        return float((1 + self.rows * math.floor(epoch)) ** -self.power)


@also_called(
    "cosine",
    "CosineAnnealingLR",
    "cosine_annealing",
    arguments={"T_max": "epochs"},
)
@final
@dataclass(frozen=True)
class CosineDecay(Schedule):
    r"""From 1 to ``final`` along half a cosine in ``epochs`` epochs, then ``final`` (Loshchilov and Hutter 2017).

    .. math:: s(e) = \text{final} + \frac{1 - \text{final}}{2} \left(1 + \cos \frac{\pi e}{\text{epochs}}\right)

    >>> [round(CosineDecay(epochs=10)(epoch), 3) for epoch in (0, 5, 10, 12)]
    [1.0, 0.5, 0.0, 0.0]
    """

    epochs: Annotated[float, Setting("Epochs until the end of the decay.", ABOVE_ZERO)]
    final: Annotated[float, Setting("Factor at the end.", SHARE)] = 0.0

    def __call__(self, epoch: float) -> float:
        return _cosine(1.0, self.final, min(epoch / self.epochs, 1.0))


@also_called(
    "CosineAnnealingWarmRestarts",
    unlike={"cosine_decay_restarts": "Keras counts steps; it is CosineRestarts()."},
    arguments={
        "T_0": "period",
        "T_mult": "growth",
        "t_mul": "growth",
        "first_decay_steps": "Schedules count epochs, not steps.",
    },
)
@final
@dataclass(frozen=True)
class CosineRestarts(Schedule):
    """From 1 to ``final`` along half a cosine, again and again (SGDR, Loshchilov and Hutter 2017, equation 5).

    The first period has ``period`` epochs, and each further one is ``growth`` times longer. PyTorch calls them T_0 and
    T_mult. Within a period of T epochs, the factor is that of :class:`CosineDecay` in T epochs.

    >>> [round(CosineRestarts(period=10, growth=2)(epoch), 3) for epoch in (0, 5, 10, 20, 30)]
    [1.0, 0.5, 1.0, 0.5, 1.0]
    """

    period: Annotated[float, Setting("Epochs of the first period.", ABOVE_ZERO)] = 10.0
    growth: Annotated[float, Setting("Length of a period relative to the one before.", FROM_ONE)] = 1.0
    final: Annotated[float, Setting("Factor at the end of a period.", SHARE)] = 0.0

    def __call__(self, epoch: float) -> float:
        if self.growth == 1:
            return _cosine(1.0, self.final, epoch % self.period / self.period)
        period = self.period
        while epoch >= period:
            epoch, period = epoch - period, period * self.growth
        return _cosine(1.0, self.final, epoch / period)


@also_called(
    "cyclic",
    unlike={
        "CyclicLR": "PyTorch's counts steps and cycles the momentum; 'cyclic_rate' counts epochs, of the same shape."
    },
    arguments={
        "base_lr": "Its share of the learning rate is 'low'.",
        "step_size_up": "up",
        "step_size_down": "down",
        "gamma": "shrink",
        "mode": "'triangular' is shrink=1, and 'triangular2' is shrink=0.5.",
    },
)
@final
@dataclass(frozen=True)
class CyclicRate(Schedule):
    """From ``low`` to 1 and back in straight lines, again and again (Smith 2017, arXiv 1506.01186).

    The rise takes ``up`` epochs and the fall ``down``. The height above ``low`` is multiplied by ``shrink`` after each
    cycle: 1 is the policy "triangular", 1/2 is "triangular2".

    >>> [CyclicRate(low=0.2, up=5, down=5)(epoch) for epoch in (0, 5, 10)]
    [0.2, 1.0, 0.2]
    """

    up: Annotated[float, Setting("Epochs of the rise.", ABOVE_ZERO)] = 4.0
    down: Annotated[float, Setting("Epochs of the fall.", ABOVE_ZERO)] = 4.0
    low: Annotated[float, Setting("Lowest factor.", SHARE)] = 0.1
    shrink: Annotated[float, Setting("Factor on the height after each cycle.", FACTOR)] = 1.0

    def __call__(self, epoch: float) -> float:
        cycle, place = divmod(epoch, self.up + self.down)
        height = place / self.up if place < self.up else (self.up + self.down - place) / self.down
        return float(self.low + (1 - self.low) * height * self.shrink**cycle)


@also_called(
    "polynomial",
    "linear_decay",
    unlike={
        "PolynomialLR": "PyTorch's ends after 5 epochs unless told otherwise; 'polynomial_decay' ends with the fit.",
        "linear": "a straight line from the full rate to 0 is 'linear_decay', one up to it is 'warm_up'.",
        "LinearLR": "PyTorch's rises from a third of the rate in 5 epochs: WarmUp(5, start=1 / 3).",
    },
)
@final
@dataclass(frozen=True)
class PolynomialDecay(Schedule):
    r"""From 1 to ``final`` in ``epochs`` epochs, then ``final``; a straight line with ``power=1``.

    .. math:: s(e) = \text{final} + (1 - \text{final}) \left(1 - \frac{e}{\text{epochs}}\right)^{\text{power}}

    >>> [PolynomialDecay(epochs=10)(epoch) for epoch in (0, 5, 10)]
    [1.0, 0.5, 0.0]
    """

    epochs: Annotated[float, Setting("Epochs until the end of the decay.", ABOVE_ZERO)]
    power: Annotated[float, Setting("Exponent; 1 is a straight line.", ABOVE_ZERO)] = 1.0
    final: Annotated[float, Setting("Factor at the end.", SHARE)] = 0.0

    def __call__(self, epoch: float) -> float:
        left = 1 - min(epoch / self.epochs, 1.0)
        return self.final + (1 - self.final) * float(left**self.power)


@also_called(arguments={"epochs": "warm_up_epochs", "total_iters": "warm_up_epochs", "start_factor": "start"})
@final
@dataclass(frozen=True)
class WarmUp(Schedule):
    """From ``start`` to 1 in a straight line over ``warm_up_epochs``; then the schedule ``then``, from its epoch 0.

    >>> schedule = WarmUp(5, then=CosineDecay(epochs=95))
    >>> [round(schedule(epoch), 3) for epoch in (0, 2.5, 5, 100)]
    [0.1, 0.55, 1.0, 0.0]
    """

    warm_up_epochs: Annotated[float, Setting("Epochs of the rise.", ABOVE_ZERO)] = 5.0
    then: str | Schedule | None = None
    start: Annotated[float, Setting("Factor at the start.", SHARE)] = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.then is not None:
            object.__setattr__(self, "then", SCHEDULES.create(self.then))

    def __call__(self, epoch: float) -> float:
        if epoch < self.warm_up_epochs:
            return self.start + (1 - self.start) * epoch / self.warm_up_epochs
        return self.then(epoch - self.warm_up_epochs) if isinstance(self.then, Schedule) else 1.0


@also_called(
    "1cycle",
    unlike={
        "OneCycleLR": "PyTorch's also cycles the momentum; 'one_cycle' changes the rate alone, in the same way.",
    },
    arguments={"pct_start": "peak", "div_factor": "It is 1 / start.", "final_div_factor": "It is start / final."},
)
@final
@dataclass(frozen=True)
class OneCycle(Schedule):
    """Up to the full rate, then far down, along cosines (Smith and Topin 2018; the shape is fastai's and PyTorch's).

    From ``start`` to 1 in the first ``peak`` (a fraction) of ``epochs``, then to ``final``. The optimizer's learning
    rate is the highest one. PyTorch's ``div_factor`` is 1 / start, its ``final_div_factor`` start / final.

    >>> [round(OneCycle(epochs=10, peak=0.3)(epoch), 3) for epoch in (0, 3, 10)]
    [0.04, 1.0, 0.0]
    """

    epochs: Annotated[float, Setting("Epochs of the cycle.", ABOVE_ZERO)]
    peak: Annotated[float, Setting("Share of the epochs before the peak.", SHARE)] = 0.3
    start: Annotated[float, Setting("Factor at the start.", SHARE)] = 0.04
    final: Annotated[float, Setting("Factor at the end.", SHARE)] = 4e-6

    def __call__(self, epoch: float) -> float:
        done = min(epoch / self.epochs, 1.0)
        if done < self.peak:
            return _cosine(self.start, 1.0, done / self.peak)
        if self.peak == 1:
            return 1.0
        return _cosine(1.0, self.final, (done - self.peak) / (1 - self.peak))


#: The schedules by name, in a :class:`chainrule.named.Registry` with the dictionary ``classes``.
#:
#: :meta hide-value:
SCHEDULES: Registry[Schedule] = Registry(
    "schedule",
    Schedule,
    {
        "constant": ConstantRate,
        "step_decay": StepDecay,
        "exponential_decay": ExponentialDecay,
        "multi_step_decay": MultiStepDecay,
        "inverse_time_decay": InverseTimeDecay,
        "inverse_scaling": InverseScaling,
        "cosine_decay": CosineDecay,
        "cosine_restarts": CosineRestarts,
        "cyclic_rate": CyclicRate,
        "polynomial_decay": PolynomialDecay,
        "warm_up": WarmUp,
        "one_cycle": OneCycle,
    },
)


def stretched(schedule: Schedule | None, epochs: int, new_epochs: int) -> Schedule | None:
    """Return the schedule of a fit of ``epochs`` epochs for one of ``new_epochs``: over all of them if it was so.

    >>> stretched(CosineDecay(epochs=10), 10, 20)
    CosineDecay(epochs=20, final=0.0)
    >>> stretched(CosineDecay(epochs=5), 10, 20)
    CosineDecay(epochs=5, final=0.0)
    """
    if schedule is None or getattr(schedule, "epochs", None) != epochs:
        return schedule
    return type(schedule)(**{**settings_of(schedule), "epochs": new_epochs})
