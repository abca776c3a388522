"""Train every configuration with every seed, in parallel processes, and keep the results of finished runs."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from chainrule.callbacks.interrupt import interrupts_raised
from chainrule.data.dataset import Dataset
from chainrule.data.file_content import is_pipe
from chainrule.data.sources import open_source
from chainrule.data.target import Target
from chainrule.errors import ChainruleError, DivergenceError, InvalidInputError, shown
from chainrule.experiments.comparison import Comparison
from chainrule.experiments.configuration import Configuration, Run, train_and_measure
from chainrule.experiments.results_file import ResultsFile
from chainrule.history import History
from chainrule.kernels.compiling import quiet_about_compiling
from chainrule.metrics import Metric, find_metric
from chainrule.model import REPORTED_METRICS
from chainrule.named import check_arguments, checked
from chainrule.neuralnet import NeuralNetwork
from chainrule.ranges import is_finite
from chainrule.runs import TrainOptions, train
from chainrule.runs.data_split import DEFAULT_SHARE
from chainrule.runs.source import RunSource, files_to_stream, source_checksum, with_full_paths

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
    validation: Any
    metrics: tuple[Metric, ...]
    data_key: str

    def key(self) -> str:
        from joblib import hash as checksum

        described = (self.configuration.build(self.seed), dict(self.configuration.fit), self.rows, self.standardize)
        names = [metric.name for metric in self.metrics]
        validation = _checksum_of(self.validation) if isinstance(self.validation, Dataset) else self.validation
        rest = (validation, names, self.data_key, self.seed, self.fold)
        try:
            key: str = checksum((version("chainrule"), described, rest))
        except Exception as error:  # what cannot be pickled raises errors of many types
            raise InvalidInputError(
                f"The configuration {self.name!r} cannot be recognised in a later call, because it contains a function "
                "or class that cannot be pickled; define it at the top of a module, or leave folder out."
            ) from error
        return key

    def run(self) -> Run:
        train, test = self.dataset, self.test
        if self.rows is not None:
            train, test = self.dataset.take(self.rows[0]), self.dataset.take(self.rows[1])
        assert test is not None
        validation = self.validation
        if self.standardize:
            train = train.standardize()
            test = test.standardize(like=train)
            validation = validation.standardize(like=train) if isinstance(validation, Dataset) else validation
        scores, history, seconds, problem = train_and_measure(
            self.configuration, self.seed, train, test, validation, self.metrics
        )
        return Run(self.name, self.seed, self.fold, scores, history, seconds, problem)


@dataclass(frozen=True, eq=False)
class _TrainingTrial:
    name: str
    seed: int
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
            return Run(self.name, self.seed, 0, {}, History(), 0.0, str(error))
        return Run(self.name, self.seed, 0, result.metrics, result.history, result.seconds)


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
        Whether to standardise the columns by the training rows of each run, also those of ``test`` and ``validation``.
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
        or with more seeds, trains only the runs that are missing in it. They are recognised by the
        settings of the models and by the data, but not by the code of user-defined classes and metrics: empty the
        folder after changing it.
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
    numbers, trials_of = _seeds(seeds), _as_configurations(configurations)
    if not isinstance(dataset, Dataset):
        raise InvalidInputError(
            f"The rows are a Dataset, not a {type(dataset).__name__}; make one with Dataset(X, y), or use "
            "compare_training for data frames and files."
        )
    if dataset.target is None or dataset.task is None:
        raise InvalidInputError(
            "The dataset has no targets y to compare the predictions with; give them, as in Dataset(X, y)."
        )
    test = None if test is None else _with_target(test, dataset.target)
    given = (metrics,) if isinstance(metrics, str | Metric) else metrics
    if given is not None and not given:
        raise InvalidInputError("metrics is empty; give at least one metric, or leave it out.")
    measured = tuple(find_metric(metric) for metric in (REPORTED_METRICS[dataset.task] if given is None else given))
    divisions, test_share = _divisions(dataset, test, numbers, cv, test_size)
    data_key = "" if folder is None else _checksum_of(*(one for one in (dataset, test) if one is not None))
    trials = [
        _ModelTrial(name, seed, fold, one, dataset, test, rows, standardize, validation, measured, data_key)
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
    _check_names(configurations)
    for name, given in configurations.items():
        fixed = [option for option in ("source", "seed", "out") if option in given]
        if fixed:
            raise InvalidInputError(
                f"The configuration {name!r} has the option {fixed[0]!r}; compare_training sets it."
            )
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
    for name in ("source", "target", "task"):
        values = [getattr(options, name) for options in configurations.values()]
        if any(value is not values[0] and str(value) != str(values[0]) for value in values):
            raise InvalidInputError(f"The configurations differ in {name}, so that their scores cannot be compared.")
    numbers, trials = _seeds(seeds), []
    for name, options in configurations.items():
        options.check()
        if isinstance(options.source, str | Path) and is_pipe(options.source):
            raise InvalidInputError("A pipe can be read only once; save it as a file, and compare on that.")
        source = with_full_paths(options.source)
        data_key = "" if folder is None else f"{source_checksum(source) or source}"
        trials += [_TrainingTrial(name, seed, replace(options, seed=seed, out=None), data_key) for seed in numbers]
    runs = _run(trials, n_jobs, folder, verbose)
    metrics = tuple(find_metric(name) for name in dict.fromkeys(name for run in runs for name in run.scores))
    return Comparison(tuple(runs), metrics, max(_test_share(options) for options in configurations.values()))


def _test_share(options: TrainOptions) -> float:
    """Return the number of test rows per training row, or 0 if all seeds have the same training rows."""
    if options.split == "time" or options.time is not None or options.test_size == 0:
        return 0.0
    size = DEFAULT_SHARE if options.test_size is None else options.test_size
    if files_to_stream(options.source) is None:
        source = open_source(options.source, options.target)
        if source.test is not None:
            return 0.0
        size = size if size < 1 else size / len(source.train)
    return size / (1 - size) if size < 1 else 0.0


def _check_names(configurations: Any) -> None:
    """Raise InvalidInputError unless the configurations are a mapping with at least one of them."""
    if not isinstance(configurations, Mapping):
        raise InvalidInputError(
            f"The configurations are a mapping of names to configurations, not a {type(configurations).__name__}."
        )
    if not configurations:
        raise InvalidInputError("There are no configurations to compare; give at least one, with its name.")


def _seeds(given: int | Iterable[int]) -> list[int]:
    seeds = list(range(given)) if isinstance(given, int | np.integer) else list(given)
    if not seeds or len(set(seeds)) < len(seeds) or not all(isinstance(s, int | np.integer) and s >= 0 for s in seeds):
        raise InvalidInputError(f"seeds is {shown(given)}; give a number of seeds, or different whole numbers >= 0.")
    return [int(seed) for seed in seeds]


def _as_configurations(given: Mapping[str, Any]) -> dict[str, Configuration]:
    _check_names(given)
    return {str(name): one if isinstance(one, Configuration) else Configuration(one) for name, one in given.items()}


def _with_target(test: Dataset, target: Target) -> Dataset:
    """Return a test set whose class codes are those of the training set."""
    if test.target is None:
        raise InvalidInputError("The test set has no targets y to compare the predictions with.")
    if test.target.classes == target.classes:
        return test
    labels = np.asarray(test.target.classes)[test.y]
    recoded = copy.copy(test)
    recoded.y, recoded.target = Dataset(test.X, labels, target=target).y, target
    recoded.label_names = tuple(map(str, target.classes))
    return recoded


def _check(name: str, configuration: Configuration, dataset: Dataset, seed: int) -> None:
    """Build the model once, and compare it with the dataset, so that mistakes are found before any run."""
    from sklearn.utils.validation import has_fit_parameter

    try:
        model = configuration.build(seed)
        if isinstance(model, NeuralNetwork):
            if not model.stack.is_built:
                model.stack.build((dataset.n_features,))
            model.stack.check_inputs(dataset.X[:1])
            check_arguments("NeuralNetwork.fit", configuration.fit, NeuralNetwork.fit)
            if dataset.target is not None and not model.suits(dataset.target):
                raise InvalidInputError(
                    f"its outputs have the shape {model.stack.output_shape()}, which does not suit the target "
                    f"({dataset.task})."
                )
        elif dataset.sample_weight is not None and not has_fit_parameter(model, "sample_weight"):
            raise InvalidInputError(f"{type(model).__name__}.fit takes no sample_weight, which the dataset has.")
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
    try:
        divisions = [(seed, fold, rows) for seed in seeds for fold, rows in enumerate(_folds(dataset, int(cv), seed))]
    except ValueError as error:  # fewer groups, or fewer rows of a class, than folds
        raise InvalidInputError(f"The dataset cannot be divided into {cv} folds: {error}") from error
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


def _checksum_of(*parts: Dataset) -> str:
    from joblib import hash as checksum

    key: str = checksum([(one.X, one.y, one.sample_weight, one.groups) for one in parts])
    return key


def _run(trials: Sequence[Trial], n_jobs: int | None, folder: str | Path | None, verbose: bool) -> list[Run]:
    """Return one run per trial, in the order of the trials; those whose results are in the folder are not repeated."""
    from joblib import Parallel, cpu_count, delayed, parallel_config

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
    n_jobs = min(n_jobs or cpu_count(), max(len(missing), 1))
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
    with quiet_about_compiling(), interrupts_raised():
        return place, trial.run()


def _describe(run: Run) -> str:
    scores = ", ".join(f"{name} {value:.4g}" for name, value in run.scores.items())
    fold = f", fold {run.fold}" if run.fold else ""
    return f"{run.configuration}, seed {run.seed}{fold}: {scores or 'diverged'}, {run.seconds:.1f} s"
