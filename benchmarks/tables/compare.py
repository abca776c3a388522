"""Compare models at their defaults on the tables of collection.py: accuracy or R2, log loss or RMSE, and fit time.

    python benchmarks/tables/compare.py run [--models linear,xgboost] [--tables auto,pima] [--seeds 5] [--rows choice]
    python benchmarks/tables/compare.py show [--ours chainrule] [--rows choice]

Every model is fitted to the same 80 % of the rows, once for each seed, on one thread, without tuning by hand, and
measured on the other 20 %. ``run`` appends a line to the results file for every model, table and seed that it does not
have yet, so that it can be interrupted and started again. ``show`` prints the results as Markdown tables.

``--rows`` chooses the tables and their rows:

``development``
    The development tables. To choose settings, take ``choice`` instead.
``choice``
    The same, but only the training rows, which are divided once more: the test rows are not used.
``confirmation``
    The confirmation tables.
``published``
    Adult and California housing as papers divide them. Adult: the 32,561 rows of adult.data for training and the 16,281
    rows of adult.test for testing; the seed is that of the models. California housing, with the eight columns of
    scikit-learn and values in 100,000 $: 64 % training rows, 16 % validation rows, which are not used here, and 20 %
    test rows.

Seconds are those of the processor, without the compilation that chainrule does once per installation.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import os
import sys
import time
import warnings
from collections.abc import Callable, Iterable, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ[name] = "1"  # the libraries read it when they are loaded

import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402
from collection import TABLES, Table, Task, divide, find, load  # noqa: E402

LIBRARIES = ("numpy", "numba", "scikit-learn", "xgboost", "pytabkit", "torch")
RESULTS = Path(__file__).resolve().parent / "results"
# A difference counts if its mean over the seeds exceeds this multiple of its standard error.
STANDARD_ERRORS = 2.0

# Takes rows and returns class probabilities, in the order of the sorted classes, or predicted numbers.
Predict = Callable[[pd.DataFrame], np.ndarray]
Fit = Callable[[pd.DataFrame, np.ndarray, Task, int], Predict]
Row = dict[str, Any]


# The models


def _numbers_and_categories(inputs: pd.DataFrame) -> tuple[list[str], list[str]]:
    numbers = [name for name in inputs.columns if pd.api.types.is_numeric_dtype(inputs[name])]
    return numbers, [name for name in inputs.columns if name not in numbers]


def _encoder(inputs: pd.DataFrame) -> Any:
    """Return the usual preprocessing: medians and indicators, standardised; categories one-hot."""
    from sklearn.compose import ColumnTransformer
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    numbers, categories = _numbers_and_categories(inputs)
    for_numbers = make_pipeline(SimpleImputer(strategy="median", add_indicator=True), StandardScaler())
    for_categories = make_pipeline(
        SimpleImputer(strategy="constant", fill_value="missing"),
        OneHotEncoder(handle_unknown="infrequent_if_exist", max_categories=64, sparse_output=False),
    )
    return ColumnTransformer([("numbers", for_numbers, numbers), ("categories", for_categories, categories)])


def _predictor(model: Any, task: Task) -> Predict:
    return model.predict if task == "regression" else model.predict_proba


def fit_linear(inputs: pd.DataFrame, target: np.ndarray, task: Task, seed: int) -> Predict:
    """Ridge or logistic regression, with the penalty chosen by cross-validation."""
    from sklearn.linear_model import LogisticRegressionCV, RidgeCV
    from sklearn.model_selection import StratifiedKFold
    from sklearn.pipeline import make_pipeline

    strengths = np.logspace(-3, 3, 7)
    if task == "regression":
        model: Any = RidgeCV(alphas=1 / np.logspace(-4, 3, 15))
    else:
        folds = StratifiedKFold(5 if len(target) < 10_000 else 3, shuffle=True, random_state=seed)
        model = LogisticRegressionCV(Cs=strengths, cv=folds, scoring="neg_log_loss", max_iter=200)
    return _predictor(make_pipeline(_encoder(inputs), model).fit(inputs, target), task)


def fit_sklearn_mlp(inputs: pd.DataFrame, target: np.ndarray, task: Task, seed: int) -> Predict:
    """The multilayer perceptron of scikit-learn with its defaults, on standardised inputs and targets."""
    from sklearn.compose import TransformedTargetRegressor
    from sklearn.neural_network import MLPClassifier, MLPRegressor
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    model: Any = MLPClassifier(random_state=seed)
    if task == "regression":
        model = TransformedTargetRegressor(MLPRegressor(random_state=seed), transformer=StandardScaler())
    return _predictor(make_pipeline(_encoder(inputs), model).fit(inputs, target), task)


def _with_categories(inputs: pd.DataFrame) -> Callable[[pd.DataFrame], pd.DataFrame]:
    """Return a function that makes the columns of text categorical, with the 200 most frequent values of ``inputs``."""
    _, names = _numbers_and_categories(inputs)
    kinds = {name: pd.CategoricalDtype(inputs[name].value_counts().index[:200].tolist()) for name in names}

    def convert(frame: pd.DataFrame) -> pd.DataFrame:
        known = {name: frame[name].where(frame[name].isin(kind.categories)) for name, kind in kinds.items()}
        return frame.assign(**known).astype(kinds)

    return convert


def fit_boosting(inputs: pd.DataFrame, target: np.ndarray, task: Task, seed: int) -> Predict:
    """Gradient boosting of scikit-learn with its defaults."""
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    convert = _with_categories(inputs)
    kind = HistGradientBoostingRegressor if task == "regression" else HistGradientBoostingClassifier
    model = kind(random_state=seed).fit(convert(inputs), target)
    predict = _predictor(model, task)
    return lambda frame: predict(convert(frame))


def fit_xgboost(inputs: pd.DataFrame, target: np.ndarray, task: Task, seed: int) -> Predict:
    """XGBoost with its defaults."""
    from xgboost import XGBClassifier, XGBRegressor

    convert = _with_categories(inputs)
    model = (XGBRegressor if task == "regression" else XGBClassifier)(
        random_state=seed, n_jobs=1, enable_categorical=True
    )
    codes = target if task == "regression" else np.unique(target, return_inverse=True)[1]
    predict = _predictor(model.fit(convert(inputs), codes), task)
    return lambda frame: predict(convert(frame))


def _fit_pytabkit(model: str, inputs: pd.DataFrame, target: np.ndarray, task: Task, seed: int) -> Predict:
    """A model of pytabkit with its tuned defaults; it takes categories, but no missing numbers."""
    import pytabkit

    numbers, categories = _numbers_and_categories(inputs)
    medians, convert = inputs[numbers].median(), _with_categories(inputs)

    def complete(frame: pd.DataFrame) -> pd.DataFrame:
        frame = convert(frame)
        filled = {name: frame[name].cat.add_categories("missing").fillna("missing") for name in categories}
        return frame.assign(**frame[numbers].fillna(medians).astype(np.float32), **filled)

    kind = getattr(pytabkit, f"{model}_{'Regressor' if task == 'regression' else 'Classifier'}")
    fitted = kind(device="cpu", n_threads=1, random_state=seed, verbosity=0).fit(complete(inputs), target)
    predict = _predictor(fitted, task)
    return lambda frame: predict(complete(frame))


def fit_realmlp(inputs: pd.DataFrame, target: np.ndarray, task: Task, seed: int) -> Predict:
    """RealMLP of pytabkit with its tuned defaults."""
    return _fit_pytabkit("RealMLP_TD", inputs, target, task, seed)


def fit_tabm(inputs: pd.DataFrame, target: np.ndarray, task: Task, seed: int) -> Predict:
    """TabM of pytabkit with its defaults."""
    return _fit_pytabkit("TabM_D", inputs, target, task, seed)


def fit_chainrule(inputs: pd.DataFrame, target: np.ndarray, task: Task, seed: int) -> Predict:
    """``chainrule train`` with its defaults; as few rows as possible go to its own test part."""
    from chainrule import runs

    name = "the target"
    frame = inputs.assign(**{name: target})
    n_classes = 1 if task == "regression" else len(np.unique(target))
    trained = runs.train(
        frame, name, verbose=False, test_size=n_classes, seed=seed,
        task="regression" if task == "regression" else None,
    )  # fmt: skip

    def predict(rows: pd.DataFrame) -> np.ndarray:
        found = runs.predict(trained.model, rows)
        if task == "regression":
            return found["prediction"].to_numpy()
        return found[[f"probability_{label}" for label in np.unique(target)]].to_numpy()

    return predict


MODELS: dict[str, Fit] = {
    "linear": fit_linear,
    "sklearn_mlp": fit_sklearn_mlp,
    "boosting": fit_boosting,
    "xgboost": fit_xgboost,
    "realmlp": fit_realmlp,
    "tabm": fit_tabm,
    "chainrule": fit_chainrule,
}


# The rows


class Division(NamedTuple):
    """A table and the numbers of its training and test rows."""

    inputs: pd.DataFrame
    target: pd.Series
    rows: np.ndarray
    test: np.ndarray


def all_rows(table: Table, seed: int) -> Division:
    inputs, target = load(table)
    return Division(inputs, target, *divide(target, table.task, seed))


def training_rows_only(table: Table, seed: int) -> Division:
    inputs, target, rows, _ = all_rows(table, seed)
    inputs, target = inputs.iloc[rows].reset_index(drop=True), target.iloc[rows].reset_index(drop=True)
    return Division(inputs, target, *divide(target, table.task, seed))


def published(table: Table, seed: int) -> Division:
    inputs, target = load(table)
    if table.name == "adult":
        order = np.arange(len(target))
        return Division(inputs, target, order[:N_TRAINING_ROWS_OF_ADULT], order[N_TRAINING_ROWS_OF_ADULT:])
    frame = pd.DataFrame({
        "MedInc": inputs["income"],
        "HouseAge": inputs["age"],
        "AveRooms": inputs["rooms"] / inputs["households"],
        "AveBedrms": inputs["bedrooms"] / inputs["households"],
        "Population": inputs["population"],
        "AveOccup": inputs["population"] / inputs["households"],
        "Latitude": inputs["latitude"],
        "Longitude": inputs["longitude"],
    })  # fmt: skip
    target = target / 100_000
    rows, test = divide(target, table.task, seed)
    training, _ = divide(target.iloc[rows], table.task, seed)
    return Division(frame, target, rows[training], test)


N_TRAINING_ROWS_OF_ADULT = 32_561
CALIFORNIA = Table(
    "california", "file:california-housing/cal_housing.data.gz", "value", "regression", 20_640, "as papers divide it"
)


class Collection(NamedTuple):
    """Tables, the division of their rows, and what they are for."""

    tables: Sequence[Table]
    divided: Callable[[Table, int], Division]
    description: str


DEVELOPMENT = tuple(table for table in TABLES if not table.confirm)
COLLECTIONS = {
    "development": Collection(
        DEVELOPMENT, all_rows, "Development tables, of which the training rows were used to choose settings."
    ),
    "choice": Collection(DEVELOPMENT, training_rows_only, "The training rows of the development tables only."),
    "confirmation": Collection(
        tuple(table for table in TABLES if table.confirm), all_rows, "Tables that were not used to choose settings."
    ),
    "published": Collection(
        (find("adult"), CALIFORNIA), published, "Adult and California housing, divided as papers divide them."
    ),
}


# Measuring


def measure(fit: Fit, table: Table, seed: int, divided: Callable[[Table, int], Division]) -> Row:
    """Fit a model to the training rows and measure it on the test rows."""
    from chainrule.kernels.compiling import training_clock

    inputs, target, rows, test = divided(table, seed)
    known = target.iloc[rows].to_numpy()
    started = time.process_time(), time.perf_counter(), training_clock()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        predict = fit(inputs.iloc[rows].reset_index(drop=True), known, table.task, seed)
        cpu, wall, without_compiling = time.process_time(), time.perf_counter(), training_clock()
        predicted = predict(inputs.iloc[test].reset_index(drop=True))
    # Processor time while compiling is not known; its share is taken to be that of the time on the clock.
    training = (without_compiling - started[2]) / (wall - started[1])
    truth = target.iloc[test].to_numpy()
    return score(predicted, truth, known, table.task) | {"seconds": (cpu - started[0]) * training}


def score(predicted: np.ndarray, truth: np.ndarray, known: np.ndarray, task: Task) -> Row:
    """Return the score (accuracy or R2; larger is better) and the loss (log loss or RMSE; smaller is better)."""
    if task == "regression":
        error = np.mean((np.asarray(predicted, np.float64).reshape(len(truth)) - truth) ** 2)
        return {"score": float(1 - error / np.var(truth)), "loss": math.sqrt(error)}
    from sklearn.metrics import roc_auc_score

    classes = np.unique(known)
    places = np.searchsorted(classes, truth)
    probabilities = np.clip(np.asarray(predicted, np.float64), 1e-15, None)
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    loss = -np.log(probabilities[np.arange(len(truth)), places]).mean()
    found = {"score": float(np.mean(probabilities.argmax(axis=1) == places)), "loss": float(loss)}
    return found | ({"auc": float(roc_auc_score(places, probabilities[:, 1]))} if len(classes) == 2 else {})


def read_results(paths: Iterable[Path]) -> list[Row]:
    """Return all lines of the results files that exist."""
    return [json.loads(line) for path in paths if path.exists() for line in path.read_text().splitlines()]


def run(models: Sequence[str], chosen: Collection, n_seeds: int, path: Path) -> None:
    """Measure what the results file lacks; small tables and first seeds come first."""
    path.parent.mkdir(exist_ok=True, parents=True)
    have = {(row["model"], row["table"], row["seed"]) for row in read_results([path])}
    tables = sorted(chosen.tables, key=lambda one: one.n_rows)
    for seed, table, model in itertools.product(range(n_seeds), tables, models):
        if (model, table.name, seed) in have:
            continue
        try:
            row = measure(MODELS[model], table, seed, chosen.divided)
        except Exception as error:  # one model that fails must not end the comparison
            print(f"{model} failed on {table.name}, seed {seed}: {type(error).__name__}: {error}", file=sys.stderr)
            continue
        with path.open("a") as file:
            file.write(json.dumps({"model": model, "table": table.name, "seed": seed, **row}) + "\n")
        print(
            f"{table.name:14} {seed} {model:14} {row['score']:.4f} {row['loss']:.4g} {row['seconds']:.2f} s", flush=True
        )


# Showing


def show(rows: Sequence[Row], chosen: Collection, models: Sequence[str], ours: str) -> str:
    """Return the results as Markdown: scores, losses, seconds, and how often ``ours`` wins and loses."""
    import chainrule

    frame = pd.DataFrame(rows)
    models = [name for name in models if name in set(frame["model"])]
    n_seeds = frame.groupby(["table", "model"])["seed"].nunique()
    lines = [
        f"{chosen.description} Mean and standard deviation over "
        f"{n_seeds.max()} seeds{' (fewer where marked)' if n_seeds.min() < n_seeds.max() else ''}; no model was tuned "
        "by hand. Seconds are those of the processor, on one thread.", "",
        f"Versions: chainrule {chainrule.__version__}, "
        + ", ".join(f"{name} {metadata.version(name)}" for name in LIBRARIES) + ".", "",
    ]  # fmt: skip
    for quantity, title, digits in (
        ("score", "Accuracy or R2", 3),
        ("loss", "Log loss or RMSE", 3),
        ("auc", "Area under the ROC curve", 3),
        ("seconds", "Fit time in seconds", 1),
    ):
        if quantity not in frame:
            continue
        grouped = frame.groupby(["table", "model"])[quantity]
        means, spreads = grouped.mean().unstack(), grouped.std().unstack()
        means = means.dropna() if quantity == "auc" else means  # only tables for which all models have it
        if means.empty:
            continue
        lines += [f"{title}:", "", "| table | rows | " + " | ".join(models) + " |"]
        lines.append("|---|---:|" + "---:|" * len(models))
        for table in sorted(chosen.tables, key=lambda one: (one.task == "regression", one.n_rows)):
            if table.name not in means.index or means.loc[table.name].isna().all():
                continue
            cells = [
                _cell(means.loc[table.name, model], spreads.loc[table.name, model], digits, quantity != "seconds")
                + _mark(n_seeds.get((table.name, model), 0), n_seeds.max())
                for model in models
            ]
            lines.append(f"| {table.name} | {table.n_rows:,} | " + " | ".join(cells) + " |")
        lines.append("")
    lines += [f"{ours} against the others; wins and losses are differences of more than two standard errors:", "",
              "| against | quantity | wins | ties | losses | lost on |",
              "|---|---|---:|---:|---:|---|"]  # fmt: skip
    for other in models:
        if other == ours:
            continue
        for quantity, sign in (("score", 1), ("loss", -1)):
            outcomes = compare(frame, ours, other, quantity, sign)
            lost = ", ".join(sorted(table for table, outcome in outcomes.items() if outcome < 0))
            counts = [sum(outcome == kind for outcome in outcomes.values()) for kind in (1, 0, -1)]
            lines.append(f"| {other} | {quantity} | {counts[0]} | {counts[1]} | {counts[2]} | {lost} |")
    return "\n".join(lines)


def _cell(mean: float, spread: float, digits: int, with_spread: bool) -> str:
    if math.isnan(mean):
        return ""
    form = f".{digits}f" if abs(mean) < 1000 else ",.0f"
    return f"{mean:{form}}" + (f" ± {spread:{form}}" if with_spread and not math.isnan(spread) else "")


def _mark(n_seeds: int, most: int) -> str:
    return f" ({n_seeds})" if 0 < n_seeds < most else ""


def compare(frame: pd.DataFrame, ours: str, other: str, quantity: str, sign: int) -> dict[str, int]:
    """Return 1 (ours is better), -1 (worse) or 0 (no difference beyond noise) for each table that both have."""
    wide = frame.pivot_table(index=["table", "seed"], columns="model", values=quantity)
    if ours not in wide or other not in wide:
        return {}
    differences = sign * (wide[ours] - wide[other]).dropna()
    outcomes = {}
    for table, values in differences.groupby(level="table"):
        mean, n = values.mean(), len(values)
        noise = STANDARD_ERRORS * values.std() / math.sqrt(n) if n > 1 else math.inf
        outcomes[str(table)] = int(np.sign(mean)) if abs(mean) > noise else 0
    return outcomes


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("do", choices=("run", "show"))
    parser.add_argument("--models", help="only these, separated by commas")
    parser.add_argument("--tables", help="only these, separated by commas")
    parser.add_argument("--seeds", type=int, default=5, help="number of divisions into training and test rows")
    parser.add_argument("--rows", choices=COLLECTIONS, default="development", help="the tables and their rows")
    parser.add_argument("--ours", default="chainrule", help="the model whose wins and losses are counted")
    parser.add_argument("--file", type=Path, action="append", help="results files; `run` writes to the first")
    given = parser.parse_args(arguments)
    chosen = COLLECTIONS[given.rows]
    if given.tables:
        names = given.tables.split(",")
        chosen = chosen._replace(tables=[table for table in chosen.tables if table.name in names])
    models = given.models.split(",") if given.models else list(MODELS)
    files = given.file or [RESULTS / f"{given.rows}.jsonl"]
    if given.do == "run":
        run(models, chosen, given.seeds, files[0])
    else:
        names = [table.name for table in chosen.tables]
        print(show([row for row in read_results(files) if row["table"] in names], chosen, models, given.ours))


if __name__ == "__main__":
    main()
