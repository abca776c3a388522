"""Coverage of intervals, and log loss with and without a temperature, on the development tables below 3,100 rows.

    python benchmarks/tables/calibration.py --seeds 5

Prints both tables in Markdown. The estimators have ``preset="tabular"``: intervals and temperatures are learnt from the
out-of-fold predictions of the training rows, and measured on the test rows.
"""

from __future__ import annotations

import argparse
import os
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")  # before NumPy is loaded

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parent))
from collection import TABLES, Table, divide, load

MOST_ROWS = 3_100
ALPHAS = (0.1, 0.2)
LOSSES = {"squared error": "squared_error", "Gaussian": "gaussian_nll", "quantiles": "multi_quantile"}

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


def measured(tables: list[Table], n_seeds: int) -> Iterator[dict[str, Any]]:
    """Yield one row for each table and seed."""
    for table in tables:
        measure = measure_intervals if table.task == "regression" else measure_temperature
        for seed in range(n_seeds):
            yield {"table": table.name, "rows": table.n_rows, **measure(table, seed)}
            print(table.name, seed, file=sys.stderr, flush=True)


def markdown(rows: list[dict[str, Any]], spread: str) -> str:
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
    parser.add_argument("--seeds", type=int, default=5, help="number of divisions into training and test rows")
    n_seeds = parser.parse_args().seeds
    warnings.simplefilter("ignore")
    small = [one for one in TABLES if not one.confirm and one.n_rows < MOST_ROWS]
    numbers = [one for one in small if one.task == "regression"]
    print("## Coverage on test rows, and mean width of 90% intervals in standard deviations of the target\n")
    print(markdown([*measured(numbers, n_seeds)], "squared error 90%"), flush=True)
    print("\n## Class probabilities on test rows, without and with the temperature T\n")
    classes = [one for one in small if one.task != "regression"]
    print(markdown([*measured(classes, n_seeds)], "change of log loss"))


if __name__ == "__main__":
    main()
