"""Line search for a step that meets the strong Wolfe conditions.

For phi(t) = objective(weights + t * direction), with 0 < c1 < c2 < 1:

* sufficient decrease: phi(t) <= phi(0) + c1 t phi'(0);
* curvature: |phi'(t)| <= c2 |phi'(0)|, so that the next quasi-Newton pair has s.y > 0.

Nocedal and Wright 2006, Numerical Optimization, algorithms 3.5 (widen) and 3.6 (zoom), with the safeguards of
Schmidt's minFunc, which PyTorch also uses.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from chainrule.types import Array

__all__ = ["Trial", "cubic_minimum", "strong_wolfe"]


@dataclass(frozen=True)
class Trial:
    """One point along the line: phi(step), phi'(step), and the gradient there."""

    step: float
    value: float
    slope: float
    gradient: Array


def cubic_minimum(a: Trial, b: Trial, low: float, high: float) -> float:
    """Return the minimum in [low, high] of the cubic through two values and slopes; the middle if it has no minimum.

    Nocedal and Wright 2006, equation 3.59.
    """
    if a.step > b.step:
        a, b = b, a
    middle = (low + high) / 2
    width = b.step - a.step
    if not (width > 0 and math.isfinite(a.value) and math.isfinite(b.value)):
        return middle
    d1 = a.slope + b.slope - 3 * (b.value - a.value) / width
    radicand = d1 * d1 - a.slope * b.slope
    if not radicand >= 0:
        return middle
    d2 = math.sqrt(radicand)
    bottom = b.slope - a.slope + 2 * d2
    if bottom == 0 or not math.isfinite(bottom):
        return middle
    return min(max(b.step - width * (b.slope + d2 - d1) / bottom, low), high)


def strong_wolfe(
    evaluate: Callable[[float], Trial], start: Trial, first_step: float, c1: float, c2: float, max_evaluations: int
) -> Trial:
    """Return a trial that meets both conditions, or the best one with sufficient decrease when evaluations run out.

    ``start`` has step 0 and a negative slope; it is returned if nothing better is found. Values that are not finite
    count as too high.
    """

    def too_high(trial: Trial) -> bool:
        return not trial.value <= start.value + c1 * trial.step * start.slope

    def flat_enough(trial: Trial) -> bool:
        return abs(trial.slope) <= -c2 * start.slope

    previous, trial, used = start, evaluate(first_step), 1
    while True:
        if too_high(trial) or (used > 1 and trial.value >= previous.value):
            low, high = previous, trial
            break
        if flat_enough(trial):
            return trial
        if trial.slope >= 0:
            low, high = trial, previous
            break
        if used >= max_evaluations:
            return trial
        nearest, farthest = trial.step + 0.01 * (trial.step - previous.step), 10 * trial.step
        previous, trial = trial, evaluate(cubic_minimum(previous, trial, nearest, farthest))
        used += 1

    stalled = False
    while used < max_evaluations:
        left, right = min(low.step, high.step), max(low.step, high.step)
        if right - left <= 1e-12 * right:
            break
        step = cubic_minimum(low, high, left, right)
        margin = 0.1 * (right - left)
        if min(right - step, step - left) < margin:
            # A step close to an end of the interval tells little: allow it once, then move a tenth of the way inside.
            if stalled or step >= right or step <= left:
                step = right - margin if right - step < step - left else left + margin
                stalled = False
            else:
                stalled = True
        else:
            stalled = False
        trial = evaluate(step)
        used += 1
        if too_high(trial) or trial.value >= low.value:
            high = trial
            continue
        if flat_enough(trial):
            return trial
        if trial.slope * (high.step - low.step) >= 0:
            high = low
        low = trial
    return low
