"""The checks of scikit-learn for estimators: how many its own MLP passes, and how many ours pass.

    python benchmarks/estimator_checks.py

Prints a table in Markdown. No failures are declared as expected.
"""

from __future__ import annotations

import warnings
from collections import Counter

import sklearn.neural_network
from sklearn.utils.estimator_checks import check_estimator

import chainrule


def main() -> None:
    warnings.simplefilter("ignore")
    print("| class | checks | passed | skipped | failed |\n|---|---:|---:|---:|---:|")
    for name in ("MLPClassifier", "MLPRegressor"):
        for module in (sklearn.neural_network, chainrule):
            results = check_estimator(getattr(module, name)(), on_fail=None, on_skip=None)
            counts = Counter(result["status"] for result in results)
            cells = [len(results), counts["passed"], counts["skipped"], counts["failed"] + counts["xfail"]]
            library = module.__name__.partition(".")[0]
            print(f"| `{library}`: `{name}` | {' | '.join(map(str, cells))} |", flush=True)


if __name__ == "__main__":
    main()
