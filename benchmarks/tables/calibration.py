"""Coverage of intervals, and log loss with and without a temperature, on the development tables below 1,600 rows.

    python benchmarks/tables/calibration.py intervals
    python benchmarks/tables/calibration.py temperatures

Each prints a table in Markdown. The estimators have ``preset="tabular"``: intervals and temperatures are learnt from
the out-of-fold predictions of the training rows, and measured on the test rows.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")  # before NumPy is loaded

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parent))
from collection import TABLES, Table, divide, load

MOST_ROWS = 1_600
ALPHAS = (0.1, 0.2)
LOSSES = {"squared error": "squared_error", "Gaussian": "gaussian_nll", "quantiles": "multi_quantile"}

Row = dict[str, Any]
Part = tuple[pd.DataFrame, np.ndarray]


def parts(table: Table, seed: int) -> tuple[Part, Part]:
    """Return the training rows and the test rows."""
    inputs, target = load(table)
    rows, test = divide(target, table.task, seed)
    return tuple((inputs.iloc[some], target.iloc[some].to_numpy()) for some in (rows, test))  # type: ignore[return-value]


def measure_intervals(table: Table, seed: int) -> dict[str, float]:
    """Return coverage and width, in standard deviations of the target, for each loss."""
    from chainrule import MLPRegressor

    (X, y), (X_test, y_test) = parts(table, seed)
    found = {}
    for name, loss in LOSSES.items():
        regressor = MLPRegressor(loss, preset="tabular", random_state=seed).fit(X, y)
        for alpha in ALPHAS:
            lower, upper = regressor.predict_interval(X_test, alpha).T
            found[f"{name} {1 - alpha:.0%}"] = float(np.mean((lower <= y_test) & (y_test <= upper)))
            if alpha == ALPHAS[0]:
                found[f"{name} width"] = float(np.mean(upper - lower) / y.std())
    return found


def measure_temperature(table: Table, seed: int) -> dict[str, float]:
    """Return the temperature, and log loss, Brier score and calibration error without and with it."""
    from chainrule import MLPClassifier
    from chainrule.metrics import brier_score, expected_calibration_error, log_loss

    (X, y), (X_test, y_test) = parts(table, seed)
    classifier = MLPClassifier(preset="tabular", calibrate=True, random_state=seed).fit(X, y)
    codes = np.searchsorted(classifier.classes_, y_test)
    calibrated, temperature = classifier.predict_proba(X_test), classifier.calibration_.temperature
    classifier.calibration_ = None
    plain = classifier.predict_proba(X_test)
    assert (plain.argmax(axis=1) == calibrated.argmax(axis=1)).all()
    found = {"temperature": temperature}
    for name, metric in (("log loss", log_loss), ("Brier", brier_score), ("ECE", expected_calibration_error)):
        found |= {name: metric(codes, plain), f"{name} with T": metric(codes, calibrated)}
    return found | {"change of log loss": found["log loss with T"] - found["log loss"]}


def measured(measure: Callable[[Table, int], dict[str, float]], tables: list[Table], n_seeds: int) -> Iterator[Row]:
    """Yield one row for each seed and table."""
    for seed, table in itertools.product(range(n_seeds), tables):
        row = {"table": table.name, "rows": table.n_rows, **measure(table, seed)}
        print(json.dumps(row), file=sys.stderr, flush=True)
        yield row


def markdown(rows: list[Row], spread: str) -> str:
    """Return the means over the seeds, with the standard error of the column ``spread``."""
    frame = pd.DataFrame(rows)
    grouped = frame.groupby(["rows", "table"], sort=True)
    means, errors = grouped.mean(numeric_only=True), grouped[spread].sem()
    means.loc[("", "mean"), :] = means.mean()
    lines = ["| table | rows | " + " | ".join(means.columns) + " |", "|---|---:|" + "---:|" * len(means.columns)]
    for (n_rows, name), values in means.iterrows():  # type: ignore[misc]
        cells = [f"{value:.3f}" for value in values]
        if (n_rows, name) in errors:
            cells[means.columns.get_loc(spread)] += f" ± {errors[n_rows, name]:.3f}"
        lines.append(f"| {name} | {n_rows} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("intervals", "temperatures"))
    parser.add_argument("--seeds", type=int, default=3, help="number of divisions into training and test rows")
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    of_numbers = given.what == "intervals"
    tables = [t for t in TABLES if not t.confirm and t.n_rows < MOST_ROWS and (t.task == "regression") == of_numbers]
    if of_numbers:
        print("Coverage of intervals on test rows, and the mean width of 90 % intervals in standard deviations:\n")
        print(markdown([*measured(measure_intervals, tables, given.seeds)], "squared error 90%"))
    else:
        print("Probabilities of test rows, without and with the temperature T:\n")
        print(markdown([*measured(measure_temperature, tables, given.seeds)], "change of log loss"))


if __name__ == "__main__":
    main()
