"""Schedules: PyTorch's values at whole epochs, sense between them, refusals."""

from __future__ import annotations

import dataclasses
import math
import pickle
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chainrule.errors import InvalidInputError
from chainrule.schedules import (
    SCHEDULES,
    ConstantRate,
    CosineDecay,
    CosineRestarts,
    CyclicRate,
    ExponentialDecay,
    InverseScaling,
    InverseTimeDecay,
    MultiStepDecay,
    OneCycle,
    PolynomialDecay,
    Schedule,
    StepDecay,
    WarmUp,
)

N_EPOCHS = 40
EXAMPLES: list[Schedule] = [
    ConstantRate(),
    StepDecay(every=7, factor=0.3),
    ExponentialDecay(0.9),
    InverseTimeDecay(0.2),
    CosineDecay(30, final=0.1),
    PolynomialDecay(30, power=2, final=0.05),
    WarmUp(5),
    WarmUp(5, CosineDecay(35)),
    OneCycle(40),
    OneCycle(40, peak=0),
    OneCycle(40, peak=1),
    MultiStepDecay((3, 20), 0.3),
    InverseScaling(100, 0.4),
    CosineRestarts(7, 1.5, final=0.1),
    CosineRestarts(7),
    CyclicRate(3, 5, shrink=0.5),
]


def torchs(make: Any, n: int = N_EPOCHS) -> list[float]:
    """The factors of one of PyTorch's schedulers after 0, 1, 2, ... epochs."""
    torch = pytest.importorskip("torch")
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    scheduler = make(torch.optim.lr_scheduler, optimizer)
    factors = []
    for _ in range(n):
        factors.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return factors


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (StepDecay(7, 0.3), lambda s, o: s.StepLR(o, 7, 0.3)),
        (ExponentialDecay(0.9), lambda s, o: s.ExponentialLR(o, 0.9)),
        (InverseTimeDecay(0.2), lambda s, o: s.LambdaLR(o, lambda t: 1 / (1 + 0.2 * t))),
        (CosineDecay(40, 0.1), lambda s, o: s.CosineAnnealingLR(o, 40, 0.1)),
        (PolynomialDecay(30, 1), lambda s, o: s.PolynomialLR(o, 30, 1)),
        (PolynomialDecay(30, 2.5), lambda s, o: s.PolynomialLR(o, 30, 2.5)),
        (WarmUp(8, start=0.25), lambda s, o: s.LinearLR(o, 0.25, 1, 8)),
        (ConstantRate(), lambda s, o: s.ConstantLR(o, 1.0)),
        (MultiStepDecay((3, 20, 21), 0.3), lambda s, o: s.MultiStepLR(o, [3, 20, 21], 0.3)),
        (CosineRestarts(7, final=0.1), lambda s, o: s.CosineAnnealingWarmRestarts(o, 7, eta_min=0.1)),
        (CosineRestarts(4, 2, final=0.1), lambda s, o: s.CosineAnnealingWarmRestarts(o, 4, 2, eta_min=0.1)),
        (CyclicRate(4, 6, 0.2), lambda s, o: s.CyclicLR(o, 0.2, 1, 4, 6, cycle_momentum=False)),
        (CyclicRate(3, 3, shrink=0.5), lambda s, o: s.CyclicLR(o, 0.1, 1, 3, mode="triangular2", cycle_momentum=False)),
    ],
)
def test_same_as_torch(ours: Schedule, theirs: Any) -> None:
    assert [ours(epoch) for epoch in range(N_EPOCHS)] == pytest.approx(torchs(theirs), abs=1e-12)


def test_inverse_scaling_is_that_of_scikit_learn() -> None:
    from sklearn.neural_network._stochastic_optimizers import SGDOptimizer

    optimizer = SGDOptimizer([], 1.0, lr_schedule="invscaling", power_t=0.4)
    for epoch in range(10):
        assert InverseScaling(50, 0.4)(epoch) == InverseScaling(50, 0.4)(epoch + 0.7)
        assert InverseScaling(50, 0.4)(epoch) == pytest.approx(optimizer.learning_rate)
        optimizer.iteration_ends((epoch + 1) * 50)


def test_what_follows_a_warm_up_starts_its_own_clock() -> None:
    theirs = torchs(
        lambda s, o: s.LambdaLR(o, lambda t: 0.1 + 0.9 * t / 8 if t < 8 else (1 + math.cos(math.pi * (t - 8) / 32)) / 2)
    )
    assert [WarmUp(8, CosineDecay(32))(epoch) for epoch in range(N_EPOCHS)] == pytest.approx(theirs, abs=1e-12)


def test_one_cycle_is_torchs() -> None:
    """PyTorch counts the points of its cycle, we the spaces between them: 41 points, 40 epochs."""
    peak = (0.3 * 40 + 1) / 41
    theirs = torchs(
        lambda s, o: s.OneCycleLR(o, 1.0, 41, pct_start=peak, div_factor=25, final_div_factor=1e4, cycle_momentum=False)
    )
    assert [OneCycle(40)(epoch) for epoch in range(N_EPOCHS)] == pytest.approx(theirs, abs=1e-12)


def test_every_schedule_is_registered_final_and_frozen() -> None:
    subclasses = [cls for cls in Schedule.__subclasses__() if cls.__module__.startswith("chainrule.")]
    found = {cls for cls in subclasses if not cls.__name__.startswith("_")}
    assert found == set(SCHEDULES.classes.values())
    for cls in found:
        assert dataclasses.is_dataclass(cls)
        assert cls.__dataclass_params__.frozen  # type: ignore[attr-defined]
        assert getattr(cls, "__final__", False)
    assert {type(example) for example in EXAMPLES} == found
    for name in SCHEDULES.names():  # a short name leads to the name that files use
        assert SCHEDULES.name_of(SCHEDULES.create(name, epochs=10)) in (name, f"{name}_decay", f"{name}_rate")


@pytest.mark.parametrize("schedule", EXAMPLES, ids=repr)
@given(epoch=st.floats(0, 200))
def test_factors_are_within_zero_and_one_at_every_moment(schedule: Schedule, epoch: float) -> None:
    factor = schedule(epoch)
    assert type(factor) is float
    assert 0 <= factor <= 1 + 1e-12


@pytest.mark.parametrize("schedule", EXAMPLES, ids=repr)
def test_they_pickle_and_compare(schedule: Schedule) -> None:
    assert pickle.loads(pickle.dumps(schedule)) == schedule
    assert hash(schedule) == hash(pickle.loads(pickle.dumps(schedule)))


def test_between_epochs() -> None:
    assert StepDecay(2, 0.5)(1.99) == 1
    assert StepDecay(2, 0.5)(2) == 0.5
    assert CosineDecay(10)(5) == pytest.approx(0.5)
    assert WarmUp(10, start=0)(2.5) == 0.25
    assert InverseTimeDecay(0.1)(10) == 0.5
    assert ExponentialDecay(0.25)(0.5) == 0.5
    assert OneCycle(10, peak=0.5)(5) == 1
    assert OneCycle(10)(10) == OneCycle(10)(99) == pytest.approx(4e-6)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: StepDecay(0), "every of StepDecay is 0; allowed are finite numbers above 0"),
        (lambda: StepDecay(factor=2), "factor of StepDecay is 2; allowed are numbers above 0 and up to 1"),
        (lambda: MultiStepDecay((3, "x")), "milestones of MultiStepDecay are (3, 'x'); give increasing epochs"),
        (lambda: CosineRestarts(growth=0.5), "growth of CosineRestarts is 0.5"),
        (lambda: CyclicRate(up=0), "up of CyclicRate is 0"),
        (lambda: InverseScaling(power=-1), "power of InverseScaling is -1"),
        (lambda: ExponentialDecay(float("nan")), "factor of ExponentialDecay is nan"),
        (lambda: InverseTimeDecay(-1), "rate of InverseTimeDecay is -1; allowed are finite numbers from 0 up"),
        (lambda: CosineDecay(float("inf")), "epochs of CosineDecay is inf"),
        (lambda: CosineDecay(10, final=1.5), "final of CosineDecay"),
        (lambda: PolynomialDecay(10, power=0), "power of PolynomialDecay"),
        (lambda: WarmUp(0), "warm_up_epochs of WarmUp"),
        (lambda: WarmUp(5, then=0.5), "0.5 is no schedule"),
        (lambda: OneCycle(10, peak="high"), "peak of OneCycle is 'high'"),
        (lambda: OneCycle(10, start=True), "start of OneCycle is True"),
        (lambda: SCHEDULES.create("cosin_decay"), "Did you mean 'cosine_decay'?"),
    ],
)
def test_refusals(make: Any, words: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        make()
    assert words in str(caught.value)
