"""The modules of PyTorch around a network: columns into features, and outputs into what they mean."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from chainrule.data.feature_plan import FeaturePlan

__all__ = ["Classes", "Numbers", "TableFeatures"]


class TableFeatures(nn.Module):
    """From the (rows, columns) float64 matrix of a table to the network's (rows, features), as the table learnt it."""

    order: Tensor

    def __init__(self, plan: FeaturePlan, columns: tuple[str, ...], dtype: torch.dtype) -> None:
        super().__init__()
        self.dtype = dtype
        self.groups = nn.ModuleList()
        if plan.numbers or plan.dates:
            self.groups.append(_Numbers(plan, columns))
        if plan.categories:
            self.groups.append(_Categories(plan, columns))
        _keep(self, order=plan.order)

    def forward(self, columns: Tensor) -> Tensor:
        features = torch.cat([group(columns) for group in self.groups], dim=1)
        return features[:, self.order].to(self.dtype)


class _Numbers(nn.Module):
    """Numbers and parts of dates, filled, centred and scaled, and then 1 where one was missing."""

    numbers: Tensor
    missing: Tensor
    dates: Tensor
    chosen: Tensor
    fill: Tensor
    center: Tensor
    scale: Tensor
    indicators: Tensor

    def __init__(self, plan: FeaturePlan, columns: tuple[str, ...]) -> None:
        super().__init__()
        _keep(self, chosen=plan.chosen, fill=plan.fill, center=plan.center, scale=plan.scale)
        # A program cannot be written with empty tensors in it.
        self.has_numbers, self.has_dates, self.has_gaps = bool(plan.numbers), bool(plan.dates), plan.indicators.size > 0
        self.n_missing = max(map(len, plan.missing_numbers), default=0)
        if self.has_numbers:
            _keep(self, numbers=[columns.index(name) for name in plan.numbers])
        if self.n_missing:
            missing = np.full((len(plan.numbers), self.n_missing), np.nan)  # which equals nothing
            for row, numbers in zip(missing, plan.missing_numbers, strict=True):
                row[: len(numbers)] = numbers
            _keep(self, missing=missing)
        if self.has_dates:
            _keep(self, dates=[columns.index(name) for name in plan.dates])
        if self.has_gaps:
            _keep(self, indicators=plan.indicators)

    def forward(self, columns: Tensor) -> Tensor:
        parts = [columns[:, self.numbers]] if self.has_numbers else []
        if self.n_missing:
            is_missing = (parts[0][:, :, None] == self.missing).any(dim=2)
            parts = [torch.where(is_missing, torch.nan, parts[0])]
        if self.has_dates:
            parts += _date_parts(columns[:, self.dates])
        raw = torch.cat(parts, dim=1)
        chosen = raw[:, self.chosen]
        filled = torch.where(torch.isnan(chosen), self.fill, chosen)
        scaled = ((filled - self.center) / self.scale).to(torch.float32)
        if not self.has_gaps:
            return scaled
        return torch.cat([scaled, torch.isnan(raw[:, self.indicators]).to(torch.float32)], dim=1)


class _Categories(nn.Module):
    """One 0/1 column a value."""

    # For each 0/1 column: the column it comes from, the codes of a gap and of an unknown value there, and its own.
    source: Tensor
    missing: Tensor
    unknown: Tensor
    code: Tensor

    def __init__(self, plan: FeaturePlan, columns: tuple[str, ...]) -> None:
        super().__init__()
        outputs = [(category, int(code)) for category in plan.categories for code in category.outputs]
        _keep(
            self,
            source=[columns.index(category.name) for category, _ in outputs],
            missing=[category.missing for category, _ in outputs],
            unknown=[category.unknown for category, _ in outputs],
            code=[code for _, code in outputs],
        )

    def forward(self, columns: Tensor) -> Tensor:
        given = columns[:, self.source]
        is_known = (given >= 0) & (given < self.missing)
        codes = torch.where(torch.isnan(given), self.missing, torch.where(is_known, given, self.unknown))
        return (codes == self.code).to(torch.float32)


def _keep(module: nn.Module, **arrays: Any) -> None:
    """Give the module these arrays as buffers, which are written with it and are not trained."""
    for name, values in arrays.items():
        module.register_buffer(name, torch.from_numpy(np.array(values)))


def _date_parts(days: Tensor) -> tuple[Tensor, ...]:
    """Return year, month, weekday (Monday is 0), days and hour of a matrix of days since 1970; NaN stays NaN.

    The year begins with March, so that a leap day is its last: Howard Hinnant's ``civil_from_days``, in whole float64
    numbers. An era is 400 years of 146,097 days.
    """

    def quotient(a: Tensor, b: int) -> Tensor:
        return torch.floor(a / b)

    whole = torch.floor(days)
    shifted = whole + 719468  # since 0000-03-01
    era = quotient(shifted, 146097)
    day = shifted - era * 146097  # of the era
    year = quotient(day + quotient(day, 36524) - quotient(day, 1460) - quotient(day, 146096), 365)  # of the era
    passed = year * 365 + quotient(year, 4) - quotient(year, 100)
    march_based = quotient((day - passed) * 5 + 2, 153)  # 0 is March
    january_on = march_based >= 10
    month = torch.where(january_on, march_based - 9, march_based + 3)
    civil = year + era * 400 + january_on
    weekday = whole + 3 - quotient(whole + 3, 7) * 7
    return civil, month, weekday, days, (days - whole) * 24


class Classes(nn.Module):
    """Gives each row's class as its place among the classes, and a probability for each of them."""

    def forward(self, probabilities: Tensor) -> dict[str, Tensor]:
        if probabilities.shape[1] > 1:
            return {"code": probabilities.argmax(dim=1), "probabilities": probabilities}
        second = probabilities[:, 0] >= 0.5
        return {"code": second.to(torch.int64), "probabilities": torch.cat([1 - probabilities, probabilities], dim=1)}


class Numbers(nn.Module):
    """Gives the predicted numbers."""

    def forward(self, predictions: Tensor) -> dict[str, Tensor]:
        return {"value": predictions}
