"""Train every configuration with every seed, in parallel processes, and keep the results of finished runs."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from chainrule.data.dataset import Dataset
from chainrule.errors import ChainruleError, DivergenceError, InvalidInputError, shown
from chainrule.experiments.comparison import Comparison
from chainrule.experiments.configuration import Configuration, Run, train_and_measure
from chainrule.experiments.results_file import ResultsFile
from chainrule.history import History
from chainrule.kernels.compiling import quiet_about_compiling
from chainrule.metrics import Metric, find_metric
from chainrule.model import REPORTED_METRICS
from chainrule.named import checked
from chainrule.neuralnet import NeuralNetwork
from chainrule.ranges import is_finite
from chainrule.runs import TrainOptions, train
from chainrule.runs.source import RunSource, source_checksum

__all__ = ["compare", "compare_options", "compare_training"]

Division = tuple[int, int, tuple[Any, Any] | None]  # seed, fold, and the training and test rows


class Trial(Protocol):
    """One configuration, to be trained with one seed on the rows of one fold."""

    @property
    def name(self) -> str:
        """The name of the configuration."""

    def key(self) -> str:
        """Return a checksum of everything that the result depends on."""

    def run(self) -> Run:
        """Train and measure."""


@dataclass(frozen=True, eq=False)
class _ModelTrial:
    name: str
    seed: int
    fold: int
    configuration: Configuration
    dataset: Dataset
    test: Dataset | None
    rows: tuple[Any, Any] | None  # the training rows and the test rows of the dataset; None if there is a test set
    standardize: bool
    metrics: tuple[Metric, ...]
    data_key: str

    def key(self) -> str:
        from joblib import hash as checksum

        described = (self.configuration.build(self.seed), dict(self.configuration.fit), self.rows, self.standardize)
        names = [metric.name for metric in self.metrics]
        try:
            key: str = checksum((version("chainrule"), described, names, self.data_key, self.seed, self.fold))
        except Exception as error:  # what cannot be pickled raises errors of many types
            raise InvalidInputError(
                f"The configuration {self.name!r} cannot be recognised in a later call ({error}); define its functions "
                "in a module, or leave folder out."
            ) from error
        return key

    def run(self) -> Run:
        train, test = self.dataset, self.test
        if self.rows is not None:
            train, test = self.dataset.take(self.rows[0]), self.dataset.take(self.rows[1])
        assert test is not None
        if self.standardize:
            train = train.standardize()
            test = test.standardize(like=train)
        with quiet_about_compiling():
            return train_and_measure(self.configuration, train, test, self.metrics, self.name, self.seed, self.fold)


@dataclass(frozen=True, eq=False)
class _TrainingTrial:
    name: str
    seed: int
    fold: int
    options: TrainOptions
    data_key: str

    def key(self) -> str:
        from joblib import hash as checksum

        key: str = checksum((version("chainrule"), replace(self.options, source="").to_dict(), self.data_key))
        return key

    def run(self) -> Run:
        settings = {name: value for name, value in vars(self.options).items() if name != "source"}
        try:
            result = train(self.options.source, **settings, verbose=False)
        except DivergenceError as error:
            return Run(self.name, self.seed, self.fold, {}, History(), 0.0, str(error))
        return Run(self.name, self.seed, self.fold, result.metrics, result.history, result.seconds)


@checked
def compare(
    configurations: Mapping[str, Any],
    dataset: Dataset,
    test: Dataset | None = None,
    *,
    seeds: int | Iterable[int] = 5,
    cv: int | None = None,
    test_size: float = 0.2,
    standardize: bool = False,
    validation: Any = None,
    metrics: str | Metric | Sequence[str | Metric] | None = None,
    n_jobs: int | None = None,
    folder: str | Path | None = None,
    verbose: bool = True,
) -> Comparison:
    """Train each configuration with several seeds, and return the scores on rows that were not trained on.

    Parameters
    ----------
    configurations
        A mapping of names to models. Each model is a :class:`NeuralNetwork`, a scikit-learn estimator, a function that
        takes a seed and returns one of these, or a :class:`Configuration`, which also has arguments for ``fit``.
        Networks and estimators are copied, with the seed of each run.
    dataset
        The training rows.
    test
        The test rows. By default, each seed holds out ``test_size`` of the rows of the dataset, the same rows for all
        configurations.
    seeds
        The seeds, or their number n for the seeds 0, 1, ..., n - 1.
    cv
        The number of folds of a cross-validation, which is repeated for each seed. The folds are stratified by class,
        or split by the groups of the dataset, if it has some.
    test_size
        The share of the rows that each seed holds out if neither ``test`` nor ``cv`` is given.
    standardize
        Whether to standardise the columns by the training rows of each run.
    validation
        The argument ``validation`` of ``fit`` for all networks: a share of the training rows, or a Dataset. With it,
        the histories have validation curves.
    metrics
        The metrics of the test rows, the main metric first. The default depends on the task, such as accuracy, AUC and
        log loss for two classes.
    n_jobs
        The number of parallel processes, each with one thread; by default the number of cores. 1 trains in this
        process. The results do not depend on it.
    folder
        A folder for the results of finished runs. A comparison that is called again, for example after an interruption
        or with more seeds, trains only the runs that are missing in it.
    verbose
        Whether to print one line per finished run.

    Returns
    -------
    Comparison
        The runs, with their table, tests and plots. A run that diverged has no scores.

    Raises
    ------
    InvalidInputError
        If an argument or a configuration is not valid. This is checked for each configuration before the first run.

    Examples
    --------
    >>> from chainrule import build_network, load_dataset
    >>> iris = load_dataset("iris")
    >>> networks = {f"{n} units": build_network(4, iris.target, hidden=(n,), epochs=5) for n in (2, 16)}
    >>> result = compare(networks, iris, seeds=3, standardize=True, n_jobs=1, verbose=False)
    >>> result.best, result.scores("accuracy")["16 units"].shape
    ('16 units', (3,))
    """
    numbers, trials_of = _seeds(seeds), _as_configurations(configurations, validation)
    if dataset.task is None or dataset.y is None:
        raise InvalidInputError(
            "The dataset has no targets y to compare the predictions with; give them, as in Dataset(X, y)."
        )
    given = (metrics,) if isinstance(metrics, str | Metric) else metrics
    measured = tuple(find_metric(metric) for metric in (REPORTED_METRICS[dataset.task] if given is None else given))
    divisions, test_share = _divisions(dataset, test, numbers, cv, test_size)
    data_key = "" if folder is None else _checksum_of(dataset, test)
    trials = [
        _ModelTrial(name, seed, fold, one, dataset, test, rows, standardize, measured, data_key)
        for name, one in trials_of.items()
        for seed, fold, rows in divisions
    ]
    for name, one in trials_of.items():
        _check(name, one, dataset, numbers[0])
    return Comparison(tuple(_run(trials, n_jobs, folder, verbose)), measured, test_share)


@checked
def compare_training(
    configurations: Mapping[str, Mapping[str, Any]],
    source: RunSource,
    target: str | None = None,
    *,
    seeds: int | Iterable[int] = 5,
    n_jobs: int | None = None,
    folder: str | Path | None = None,
    verbose: bool = True,
) -> Comparison:
    """Train on a table with several sets of options and several seeds, like ``chainrule compare``.

    Each configuration is a mapping of options of :func:`chainrule.train`, such as ``{"hidden": (64,), "dropout": .5}``.
    The seed determines which rows are held out as the test set, except for data sets with an official test set. The
    other arguments are those of :func:`compare` and :func:`chainrule.train`.

    Examples
    --------
    >>> result = compare_training({"plain": {"preset": "plain", "epochs": 3}}, "iris", seeds=2, n_jobs=1, verbose=False)
    >>> [run.seed for run in result.runs]
    [0, 1]
    """
    options = {
        str(name): TrainOptions.of(source, **{"target": target, **given}) for name, given in configurations.items()
    }
    return compare_options(options, seeds, n_jobs=n_jobs, folder=folder, verbose=verbose)


def compare_options(
    configurations: Mapping[str, TrainOptions],
    seeds: int | Iterable[int],
    *,
    n_jobs: int | None,
    folder: str | Path | None,
    verbose: bool,
) -> Comparison:
    """Compare options with their source and target: the form of :func:`compare_training` for the command line."""
    if not configurations:
        raise InvalidInputError(_NONE)
    numbers, trials = _seeds(seeds), []
    for name, options in configurations.items():
        options.check()
        data_key = "" if folder is None else f"{source_checksum(options.source) or options.source}"
        trials += [_TrainingTrial(name, seed, 0, replace(options, seed=seed, out=None), data_key) for seed in numbers]
    runs = _run(trials, n_jobs, folder, verbose)
    metrics = tuple(find_metric(name) for name in dict.fromkeys(name for run in runs for name in run.scores))
    size = trials[0].options.test_size
    share = 0.2 if size is None else size
    return Comparison(tuple(runs), metrics, share / (1 - share) if share < 1 else 0.0)


_NONE = "There are no configurations to compare; give at least one, with its name."


def _seeds(given: int | Iterable[int]) -> list[int]:
    seeds = list(range(given)) if isinstance(given, int) else list(given)
    if not seeds or len(set(seeds)) < len(seeds) or not all(isinstance(s, int | np.integer) and s >= 0 for s in seeds):
        raise InvalidInputError(f"seeds is {shown(given)}; give a number of seeds, or different whole numbers >= 0.")
    return [int(seed) for seed in seeds]


def _as_configurations(given: Mapping[str, Any], validation: Any) -> dict[str, Configuration]:
    if not given:
        raise InvalidInputError(_NONE)
    configurations = {str(name): c if isinstance(c, Configuration) else Configuration(c) for name, c in given.items()}
    if validation is None:
        return configurations
    return {name: replace(one, fit={"validation": validation, **one.fit}) for name, one in configurations.items()}


def _check(name: str, configuration: Configuration, dataset: Dataset, seed: int) -> None:
    """Build the model once, and compare its inputs with the columns, so that mistakes are found before any run."""
    try:
        model = configuration.build(seed)
        if isinstance(model, NeuralNetwork):
            if not model.stack.is_built:
                model.stack.build((dataset.n_features,))
            model.stack.check_inputs(dataset.X[:1])
    except ChainruleError as error:
        raise InvalidInputError(f"The configuration {name!r} does not suit the dataset: {error}") from error


def _divisions(
    dataset: Dataset, test: Dataset | None, seeds: Sequence[int], cv: int | None, test_size: float
) -> tuple[Sequence[Division], float]:
    """Return (seed, fold, rows) of each run of a configuration, and the number of test rows per training row."""
    if test is not None:
        if cv is not None:
            raise InvalidInputError("Give either cv, which divides the dataset, or a test set.")
        return [(seed, 0, None) for seed in seeds], 0.0
    if cv is None:
        drawn = [(seed, 0, dataset.split_numbers(test_size, seed=seed)) for seed in seeds]
        train, held_out = drawn[0][2]
        return drawn, len(held_out) / len(train)
    if not is_finite(cv) or int(cv) != cv or not 2 <= cv <= dataset.n_rows:
        raise InvalidInputError(f"cv is {shown(cv)}; give a number of folds from 2 to the number of rows.")
    divisions = [(seed, fold, rows) for seed in seeds for fold, rows in enumerate(_folds(dataset, int(cv), seed))]
    return divisions, 1 / (cv - 1)


def _folds(dataset: Dataset, n_folds: int, seed: int) -> Iterator[tuple[Any, Any]]:
    from sklearn.model_selection import GroupKFold, KFold, StratifiedKFold

    placeholder = np.empty((dataset.n_rows, 0))
    if dataset.groups is not None:
        splitter = GroupKFold(n_folds, shuffle=True, random_state=seed)
        return iter(splitter.split(placeholder, groups=dataset.groups))
    has_classes = dataset.target is not None and bool(dataset.target.classes)
    splitter = (StratifiedKFold if has_classes else KFold)(n_folds, shuffle=True, random_state=seed)
    return iter(splitter.split(placeholder, dataset.y))


def _checksum_of(dataset: Dataset, test: Dataset | None) -> str:
    from joblib import hash as checksum

    parts = [one for one in (dataset, test) if one is not None]
    key: str = checksum([(one.X, one.y, one.sample_weight, one.groups) for one in parts])
    return key


def _run(trials: Sequence[Trial], n_jobs: int | None, folder: str | Path | None, verbose: bool) -> list[Run]:
    """Return one run per trial, in the order of the trials; those whose results are in the folder are not repeated."""
    from joblib import Parallel, delayed, parallel_config

    if n_jobs is not None and (not isinstance(n_jobs, int) or n_jobs < 1):
        raise InvalidInputError(f"n_jobs is {shown(n_jobs)}; give a number of processes >= 1.")
    results = None if folder is None else ResultsFile(folder)
    keys = [""] * len(trials) if results is None else [trial.key() for trial in trials]
    runs: list[Run | None] = [None] * len(trials)
    if results is not None:
        runs = [results.find(key, trial.name) for key, trial in zip(keys, trials, strict=True)]
    missing = [place for place, run in enumerate(runs) if run is None]
    if verbose and len(missing) < len(trials):
        print(f"{len(trials) - len(missing)} of {len(trials)} runs are in {folder}")
    n_jobs = min(n_jobs or len(os.sched_getaffinity(0)), max(len(missing), 1))
    backend: dict[str, Any] = {"backend": "loky", "inner_max_num_threads": 1} if n_jobs > 1 else {}
    with parallel_config(**backend, n_jobs=n_jobs):
        found = Parallel(return_as="generator_unordered")(delayed(_run_trial)(n, trials[n]) for n in missing)
        for n_done, (place, run) in enumerate(found, len(trials) - len(missing) + 1):
            runs[place] = run
            if results is not None:
                results.add(keys[place], run)
            if verbose:
                print(f"{n_done}/{len(trials)} {_describe(run)}", flush=True)
    return [run for run in runs if run is not None]


def _run_trial(place: int, trial: Trial) -> tuple[int, Run]:
    return place, trial.run()


def _describe(run: Run) -> str:
    scores = ", ".join(f"{name} {value:.4g}" for name, value in run.scores.items())
    fold = f", fold {run.fold}" if run.fold else ""
    return f"{run.configuration}, seed {run.seed}{fold}: {scores or 'diverged'}, {run.seconds:.1f} s"
