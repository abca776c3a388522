"""The report of a training run: one self-contained HTML page, which loads no other files.

All texts from the data, such as the names of classes and columns, are escaped. A content security policy also forbids
the browser to run scripts and to load files. The same run gives the same bytes.
"""

from __future__ import annotations

import html
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from importlib import resources
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from chainrule.errors import listed
from chainrule.explain import Explanations
from chainrule.files.atomic import write_atomically
from chainrule.history import History
from chainrule.metrics import METRICS, default_metrics
from chainrule.metrics.inputs import as_columns, labels_of
from chainrule.plots import (
    MAX_CLASSES_WITH_CURVES,
    can_be_log,
    figure_as_inline_svg,
    metric_names,
    new_figure,
    plot_attribution,
    plot_calibration,
    plot_confusion_matrix,
    plot_importance,
    plot_loss,
    plot_metric,
    plot_partial_dependence,
    plot_precision_recall,
    plot_predicted_against_true,
    plot_residual_histogram,
    plot_residuals,
    plot_robustness,
    plot_roc,
    readable_metric,
    without_pyplot,
)
from chainrule.types import Array, Task

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["Comparison", "Report", "ReportData", "compare", "render_report"]

NETWORK = "this network"
CONSTANT_BASELINES = ("mean", "majority class")  # the baselines that use no column
INK = "#1b1c1e"  # the colour of axes and labels in figures, which the page replaces by the colour of its text
CALIBRATED = "The logits are divided by the temperature with the smallest log loss on rows that were held out:"
MAX_CATEGORIES_LISTED = 12
MAX_COLUMNS_LISTED = 300
MAX_BARS = 15
# The sizes of figures in inches of 96 pixels: as wide as the page, and two or three in a row.
WIDE, COLUMN, THIRD = (9.6, 3.4), (4.6, 3.5), (3.5, 3.4)


@dataclass(frozen=True)
class ReportData:
    """The content of a report.

    ``measured`` are the metrics of the network on the test rows, and ``baselines`` those of each baseline. ``y_true``
    are the class codes or numbers of the test rows, and ``outputs`` the predictions of the network in the units of the
    target. ``columns`` is the result of :meth:`chainrule.data.TablePreprocessor.describe`, or empty. ``facts``, such as
    rows, seconds and seed, are shown without changes. ``target`` is the name of the target of a regression, for the
    axes. ``warnings`` are sentences. ``explanations`` are those of the model.
    ``is_tested_apart`` says whether the test rows were not used for training. ``intervals`` are the limits between
    which 90 % of the true values should be, with the two limits in the last axis, and ``temperature`` is the divisor
    of the logits of classes.
    """

    title: str
    task: Task
    class_names: tuple[str, ...]
    history: History
    measured: Mapping[str, float]
    baselines: Mapping[str, Mapping[str, float]]
    y_true: Array
    outputs: Array
    columns: Sequence[Mapping[str, Any]]
    facts: Mapping[str, str]
    code: str
    summary: str
    target: str = "value"
    warnings: Sequence[str] = ()
    explanations: Explanations = field(default_factory=Explanations)
    is_tested_apart: bool = True
    intervals: Array | None = None
    temperature: float = 1.0


@dataclass(frozen=True, repr=False)
class Report:
    """A report as an HTML page, which a notebook displays below the cell."""

    html: str

    def save(self, path: str | Path) -> None:
        """Write the page to ``path`` atomically. Raises InvalidInputError if it cannot be written."""
        write_atomically(path, self.html)

    def __repr__(self) -> str:
        return f"Report({len(self.html) / 1000:,.0f} kB of HTML; write it to a file with .save(path))"

    def _repr_html_(self) -> str:
        # In an iframe, the style sheet of the page does not affect the notebook.
        page = html.escape(self.html, quote=True)
        return f'<iframe srcdoc="{page}" style="width: 100%; height: 40em; border: 0"></iframe>'


def render_report(data: ReportData) -> str:
    """Return the page as HTML text."""
    figures = Figures()
    parts = [
        f"<h1>{_escape(data.title)}</h1>",
        _headline(data),
        *(f"<p><strong>Warning:</strong> {_escape(sentence)}</p>" for sentence in data.warnings),
        _section("Comparison with baselines", _comparison(data)),
        _section("Test rows" if data.is_tested_apart else "Training rows", _test_rows(data, figures)),
        _section("Importance of the columns", _importance(data.explanations, figures)),
        _section("Predictions by column", _dependences(data, figures)),
        _section("Contributions to single predictions", _attribution(data, figures)),
        _section("Sensitivity to small changes", _saliency(data, figures)),
        _section("Robustness against small changes", _robustness(data, figures)),
        _section("Training", _curves(data.history, figures)),
        _section("Columns", _columns(data.columns)),
        _section("Facts", _facts(data.facts)),
        _section("Network", _preformatted(data.summary)),
        _section("Equivalent Python code", _preformatted(data.code)),
    ]
    template = resources.files("chainrule").joinpath("report_template.html").read_text(encoding="utf-8")
    return Template(template).substitute(title=_escape(data.title), body="\n".join(parts))


class Figures:
    """Draw the figures of a page, independently of the user's matplotlib settings and with ids unique in the page."""

    def __init__(self) -> None:
        self.n_drawn = 0

    def draw(self, plot: Callable[..., Axes], caption: str, size: tuple[float, float] | None = None) -> str:
        """Return the axes that ``plot`` makes as a ``<figure>``, in axes of ``size`` inches or in its own."""
        import matplotlib.style

        colors = ("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color")
        with matplotlib.style.context(["default", dict.fromkeys(colors, INK)]), without_pyplot():
            axes = plot() if size is None else plot(ax=new_figure(*size).add_subplot())
            figure = axes.get_figure(root=True)
            assert figure is not None
            self.n_drawn += 1
            svg = figure_as_inline_svg(figure, f"figure{self.n_drawn}-", INK)
        text = _escape(caption)
        return f'<figure role="img" aria-label="{text}">{svg}<figcaption>{text}</figcaption></figure>'


class Compared(NamedTuple):
    """A metric of the network beside that of the best baseline, and which is better in the digits that are shown."""

    metric: str
    value: float
    baseline: str
    baseline_value: float
    better: Literal["network", "baseline", "neither"]


@dataclass(frozen=True)
class Comparison:
    """The network beside the best baseline for each of the metrics that decide which one to use.

    These are the first metric of the task and, for classes, the log loss: a network can have more classes right and
    worse probabilities. ``n_rows`` is the number of test rows.
    """

    metrics: tuple[Compared, ...]
    n_rows: int

    @property
    def verdict(self) -> str:
        """A sentence that says whether the network or the best baseline is better; empty without baselines."""
        if not self.metrics:
            return ""
        won, lost = ([one for one in self.metrics if one.better == who] for who in ("network", "baseline"))
        if won and lost:
            than = "" if _baselines(lost) == _baselines(won) else f" than the {_baselines(lost)}"
            return (
                f"The network is better than the {_baselines(won)} by {self._values(won)}, but not{than} by "
                f"{self._values(lost)}."
            )
        n_tied = len(self.metrics) - len(won) - len(lost)
        relation = ("at least " if won or lost else "") + "as good as" if n_tied else "better than"
        names = _baselines(self.metrics)
        if won:
            return f"The network is {relation} the {names}: {self._values(self.metrics)}."
        verb = "are" if names.startswith("baselines") else "is"
        return f"The {names} {verb} {relation} the network: {self._values(self.metrics, network_first=False)}."

    @property
    def advice(self) -> str:
        """What to do if a baseline is better, or as good in all metrics; empty otherwise."""
        better = {one.better for one in self.metrics}
        if "network" in better and "baseline" in better:
            return (
                "Accuracy is the share of the rows with the correct class, and log loss measures the probabilities: "
                "choose the model that is better in the metric you need."
            )
        if "network" in better or not better:
            return ""
        if any(one.baseline in CONSTANT_BASELINES for one in self.metrics):
            return (
                "That baseline uses no column, so the network has found nothing in the columns that helps to predict "
                "the target. Check that the target is the right column and that the columns were read as they are "
                "meant; add columns that are related to the target, or more rows."
            )
        return (
            "Use that baseline: it is simpler and easier to explain. To improve the network, add rows or columns, "
            "check that the columns were read as they are meant, and drop columns without importance. With few test "
            "rows, a small difference can be chance."
        )

    def _values(self, compared: Sequence[Compared], *, network_first: bool = True) -> str:
        """Return the values as text, such as "accuracy 0.9 against 0.85 (2 of 40 rows)"."""
        texts = []
        for one in compared:
            pair = [_number(value) for value in (one.value, one.baseline_value)]
            first, second = pair if network_first else reversed(pair)
            n_apart = abs(one.value - one.baseline_value) * self.n_rows if one.metric == "accuracy" else 0
            rows = f" ({n_apart:,.0f} of {self.n_rows:,} rows)" if n_apart >= 0.5 else ""
            texts.append(f"{readable_metric(one.metric)} {first} against {second}{rows}")
        return " and ".join(texts)


def _baselines(compared: Sequence[Compared]) -> str:
    names = list(dict.fromkeys(repr(one.baseline) for one in compared))
    return f"baseline{'s' if len(names) > 1 else ''} {listed(names)}"


def compare(
    task: Task, measured: Mapping[str, float], baselines: Mapping[str, Mapping[str, float]], n_rows: int = 0
) -> Comparison:
    """Compare the metrics of a network with those of baselines on ``n_rows`` test rows."""
    compared = []
    for name in (main_metric(task, measured), "log_loss"):
        values = {model: metrics[name] for model, metrics in baselines.items() if name in metrics}
        best = _find_best(name, values)
        baseline = next((model for model in values if model in best), "")
        if name in measured and baseline:
            best = _find_best(name, {NETWORK: measured[name], baseline: values[baseline]})
            is_tied = _number(measured[name]) == _number(values[baseline])
            better: Any = "neither" if is_tied else "network" if NETWORK in best else "baseline"
            compared.append(Compared(name, measured[name], baseline, values[baseline], better))
    return Comparison(tuple(dict.fromkeys(compared)), n_rows)


def main_metric(task: Task, measured: Mapping[str, float]) -> str:
    """Return the first metric of the task, or the first that was measured; empty if there is none."""
    default = default_metrics(task)[0].name
    return default if default in measured else next(iter(measured), "")


def _headline(data: ReportData) -> str:
    """Return the value of the first metric, and the comparison with the best baseline."""
    name = main_metric(data.task, data.measured)
    if not name:
        return ""
    comparison = compare(data.task, data.measured, data.baselines, len(data.y_true))
    rows = "rows that were not used for training"
    if not data.is_tested_apart:
        rows = "the training rows, because no test rows were held out; for new rows, expect a worse value"
    metric = readable_metric(name)
    sentences = [f"{metric[0].upper()}{metric[1:]} on {rows}.", comparison.verdict, comparison.advice]
    text = _escape(" ".join(filter(None, sentences)))
    return f'<div class="headline"><strong>{_number(data.measured[name])}</strong>{text}</div>'


def _comparison(data: ReportData) -> str:
    """Return a table of the metrics of the network and of every baseline, with the best values marked."""
    models = {NETWORK: data.measured, **data.baselines}
    names = list(dict.fromkeys(name for metrics in models.values() for name in metrics))
    if not names:
        return ""
    rows = {model: [_cell(model, "th")] for model in models}
    for name in names:
        values = {model: metrics.get(name, math.nan) for model, metrics in models.items()}
        best = _find_best(name, values)
        for model, value in values.items():
            mark = "★ " if model in best else ""
            rows[model].append(_cell(mark + _number(value), css="number best" if mark else "number"))
    return _table([("model", ""), *((_metric_heading(name), "number") for name in names)], rows.values())


def _find_best(metric: str, values: Mapping[str, float]) -> set[str]:
    """Return the models with the best value. Empty for an unknown metric, and if no value is finite."""
    finite = {model: value for model, value in values.items() if math.isfinite(value)}
    known = METRICS.get(metric)
    if not finite or not (known or metric == "loss"):
        return set()
    best = (max if known and known.greater_is_better else min)(finite.values())
    return {model for model, value in finite.items() if value == best}


def _metric_heading(name: str) -> str:
    if name not in METRICS:
        return readable_metric(name)
    return f"{readable_metric(name)} {'↑' if METRICS[name].greater_is_better else '↓'}"


def _facts(facts: Mapping[str, str]) -> str:
    entries = "".join(f"<div><dt>{_escape(name)}</dt><dd>{_escape(value)}</dd></div>" for name, value in facts.items())
    return f"<dl>{entries}</dl>" if entries else ""


def _curves(history: History, figures: Figures) -> str:
    """Return the loss as wide as the page, and as narrow as a phone; and the loss on a log axis and the metrics."""
    if not any(map(math.isfinite, history.get("loss", []))):
        return "<p>No epoch was finished.</p>"
    loss = partial(plot_loss, history)
    wide, narrow = (figures.draw(loss, "Loss", size) for size in (WIDE, COLUMN))
    drawn = []
    if can_be_log(history):
        drawn.append(figures.draw(partial(plot_loss, history, log=True), "Loss on a log axis", COLUMN))
    for name in metric_names(history):
        caption = readable_metric(name)
        drawn.append(figures.draw(partial(plot_metric, history, name), caption[0].upper() + caption[1:], COLUMN))
    explanation = ""
    if "validation_loss" in history:
        explanation = _soft(
            "The network learns from the training rows only. If the validation loss rises while the training loss "
            "falls, the network memorises the training rows (overfitting)."
        )
    return f'{explanation}<div class="on-wide">{wide}</div><div class="on-narrow">{narrow}</div>{_grid(drawn)}'


def _test_rows(data: ReportData, figures: Figures) -> str:
    """Return the confusion matrix and the curves of a classification, or the residuals of a regression."""
    if len(data.y_true) == 0:
        return ""
    y, outputs, names = data.y_true, data.outputs, data.class_names
    if data.task == "regression":
        plots = {
            "Predicted against true": plot_predicted_against_true,
            "Residuals against predictions": plot_residuals,
            "Distribution of the residuals": plot_residual_histogram,
        }
        drawn = [
            figures.draw(partial(plot, y, outputs, name=data.target), caption, THIRD) for caption, plot in plots.items()
        ]
        explanation = (
            "Correct predictions are on the diagonal. A residual is the true minus the predicted value. The residuals "
            "should scatter evenly around 0: a bend indicates structure that the network has not learned, a funnel "
            "indicates errors that grow with the prediction, and a distribution whose middle is not at 0 means that "
            "the predictions are too low or too high on average."
        )
        return _soft(explanation) + _grid(drawn, "three") + _coverage(data)
    matrix = partial(plot_confusion_matrix, y, outputs, names)
    parts = [figures.draw(matrix, "Number of rows by true class and predicted class"), _classes(data)]
    probabilities = as_columns(outputs)
    if not (np.isfinite(probabilities).all() and probabilities.min() >= 0 and probabilities.max() <= 1):
        return "".join(parts)  # scores that are no probabilities
    is_binary, drawn = len(names) == 2, []
    size = THIRD if is_binary else COLUMN
    if len(names) <= MAX_CLASSES_WITH_CURVES and len(np.unique(labels_of(y))) > 1:
        against = "" if is_binary else ", each class against the rest"
        drawn.append(figures.draw(partial(plot_roc, y, outputs, names), f"ROC curve{against}", size))
        caption = f"Precision and recall{against}"
        drawn.append(figures.draw(partial(plot_precision_recall, y, outputs, names), caption, size))
        parts.append(
            _soft(
                "The ROC curve shows the share of the rows of a class that are found (true positive rate) against the "
                "share of the other rows that are taken for it (false positive rate), for all thresholds. The area is "
                "the probability that a row of the class gets a higher probability than another row: 0.5 is chance, 1 "
                "is perfect. For rare classes, precision and recall tell more: the precision is the share of the found "
                "rows that belong to the class."
            )
        )
    reliability = _soft(
        "The reliability diagram compares the predicted probabilities with the share of rows for which they come true. "
        "Below the diagonal, the predicted probabilities are too high; above it, they are too low. The lines are two "
        "standard errors." + (f" {CALIBRATED} {_number(data.temperature, '.3g')}." if data.temperature != 1 else "")
    )
    diagram = figures.draw(partial(plot_calibration, y, outputs, names), "Reliability of the probabilities", size)
    if is_binary:
        return "".join([*parts, reliability, _grid([*drawn, diagram], "three")])
    return "".join([*parts, _grid(drawn), reliability, diagram])


def _coverage(data: ReportData) -> str:
    """Return the share of the true values in the intervals, and their widths."""
    if data.intervals is None:
        return ""
    low, high = np.moveaxis(np.asarray(data.intervals, np.float64), -1, 0)
    truth = np.asarray(data.y_true, np.float64).reshape(low.shape)
    inside, width = float(((low <= truth) & (truth <= high)).mean()), float(np.median(high - low))
    rows = "test rows" if data.is_tested_apart else "training rows"
    return _soft(
        f"Intervals of 90 %: {100 * inside:.1f} % of the true values of the {len(truth):,} {rows} are in the interval "
        f"of their prediction, and half of the intervals are narrower than {_number(width)}. The intervals will "
        "contain about 90 % of the true values of new rows with the same distribution as the training rows, and fewer "
        "if the distribution changes. chainrule predict --interval writes the limits."
    )


def _importance(explanations: Explanations, figures: Figures) -> str:
    importance = explanations.importance
    if importance is None:
        return ""
    metric = readable_metric(importance.metric)
    explanation = (
        f"Each column was shuffled {importance.importances.shape[1]} times among {importance.n_rows:,} rows. The bars "
        f"show how much worse the {metric} ({_number(importance.score)}) becomes without the information in the "
        "column; the lines show the standard deviation. A bar near 0 means that the network does not need the column "
        "as long as it has the others: columns with the same information share their importance. Importance is not "
        "causation: it does not say that a change of the column would change the target."
    )
    n_left = len(importance.columns) - MAX_BARS
    caption = f"Permutation importance{f'; {n_left:,} less important columns are left out' if n_left > 0 else ''}"
    return _soft(explanation) + figures.draw(partial(plot_importance, importance, max_columns=MAX_BARS), caption)


def _dependences(data: ReportData, figures: Figures) -> str:
    dependences = data.explanations.dependences
    if not dependences:
        return ""
    name = data.target if data.task == "regression" else ""
    drawn = [
        figures.draw(
            partial(plot_partial_dependence, one, name=f"predicted {name}" if name else ""),
            f"Partial dependence on {one.column}",
            COLUMN,
        )
        for one in dependences
    ]
    explanation = (
        "The thick line (or the points) is the mean prediction if all rows have the same value of the column and keep "
        "their values of the other columns. Thin lines are single rows; if they are not parallel, the effect depends "
        "on other columns. The marks at the bottom are the values for which the line was computed: quantiles of the "
        "column. The curves show what the network predicts, not what would happen if somebody changed the value. If a "
        "combination of values does not occur in the data, the prediction is an extrapolation."
    )
    return _soft(explanation) + _grid(drawn)


def _attribution(data: ReportData, figures: Figures) -> str:
    attribution = data.explanations.attribution
    if attribution is None:
        return ""
    order = np.argsort(attribution.predictions, kind="stable")
    what = {
        "binary": f"probability of {' or '.join(data.class_names[1:])}",
        "multiclass": "probability of its predicted class",
    }
    predicted = what.get(data.task, "prediction")
    drawn = [
        figures.draw(partial(plot_attribution, attribution, int(order[place])), f"The row with the {which} {predicted}")
        for place, which in ((0, "lowest"), (-1, "highest"))
    ]
    worst = _number(float(np.abs(attribution.completeness_error).max()), ".3g")
    explanation = (
        "Integrated gradients divide the difference between the prediction for a row and that for a baseline, the mean "
        f"row, among the columns: the bars add up to this difference (the largest error of the integral is {worst}). "
        "Another baseline gives other contributions. They explain the prediction of the network, not the true value."
    )
    which = "" if data.task == "regression" else " For classes, the prediction is the probability of "
    which += {"binary": "the second class.", "multiclass": "the predicted class."}.get(data.task, "")
    caption = "Mean of the absolute contributions over all rows"
    mean = figures.draw(partial(plot_importance, attribution, max_columns=MAX_BARS), caption)
    return _soft(explanation + which) + mean + _grid(drawn)


def _saliency(data: ReportData, figures: Figures) -> str:
    if data.explanations.saliency is None:
        return ""
    explanation = (
        "The gradient is the change of the prediction per small change of the column, which is measured in standard "
        "deviations for numbers. A column can be important and have a small gradient, such as where a probability is "
        "already close to 0 or 1."
    )
    plot = partial(plot_importance, data.explanations.saliency, max_columns=MAX_BARS)
    return _soft(explanation) + figures.draw(plot, "Mean of the absolute gradients over all rows (saliency)")


def _robustness(data: ReportData, figures: Figures) -> str:
    robustness = data.explanations.robustness
    if robustness is None:
        return ""
    explanation = (
        "The numbers of each row were changed by at most epsilon, in units of the inputs of the network (for tables, "
        "standard deviations of a column). Adversarial changes increase the loss as much as possible (projected "
        "gradient descent). Random changes have the same size and show the effect of errors such as those of a "
        "measurement. If the metric becomes worse much faster with adversarial changes, somebody can mislead the "
        "network by small changes on purpose. The changed rows may be impossible in reality."
    )
    metric = readable_metric(robustness.metric)
    caption = f"{metric[0].upper()}{metric[1:]} for changed rows"
    return _soft(explanation) + figures.draw(partial(plot_robustness, robustness), caption)


def _classes(data: ReportData) -> str:
    """Return a table with the precision, recall and F1 of every class."""
    from sklearn.metrics import precision_recall_fscore_support

    y_true, y_pred = labels_of(data.y_true), labels_of(data.outputs)
    codes = range(len(data.class_names))
    rates = precision_recall_fscore_support(y_true, y_pred, labels=list(codes), zero_division=math.nan)
    rows = [
        [
            _cell(data.class_names[code], "th"),
            *(_cell(_number(float(rate[code]), ".3f"), css="number") for rate in rates[:3]),
            _cell(f"{rates[3][code]:,}", css="number"),
        ]
        for code in codes
    ]
    header = [("class", ""), ("precision", "number"), ("recall", "number"), ("F1", "number"), ("test rows", "number")]
    explanation = (
        "Precision: the share of the rows predicted as the class that belong to it. Recall: the share of the rows of "
        "the class that are predicted as it."
    )
    return _table(header, rows) + _soft(explanation)


def _columns(columns: Sequence[Mapping[str, Any]]) -> str:
    rows = [
        [
            _cell(column["name"], "th"),
            _cell(_explanation(column), css="wide"),
            _cell(_encoding(column), css="wide"),
            _cell(f"{column.get('missing', 0):,}", css="number"),
            _cell(f"{len(column.get('outputs', ())):,}", css="number"),
        ]
        for column in columns[:MAX_COLUMNS_LISTED]
    ]
    if not rows:
        return ""
    header = [("column", ""), ("type", ""), ("encoding", ""), ("missing", "number"), ("inputs", "number")]
    left = len(columns) - len(rows)
    more = f"<p>And {left:,} more columns.</p>" if left else ""
    return f"<p>Types and encodings were determined from the training rows only.</p>{_table(header, rows)}{more}"


def _explanation(column: Mapping[str, Any]) -> str:
    """Return the explanation of a column without its name."""
    return str(column.get("explanation", "")).removeprefix(f"{column['name']}: ")


def _encoding(column: Mapping[str, Any]) -> str:
    """Return a description of the encoding of a column by :class:`chainrule.data.TablePreprocessor`."""
    steps = []
    n_missing = column.get("missing", 0)
    if "categories" in column:
        categories = [str(category) for category in column["categories"]]
        listed = ", ".join(categories[:MAX_CATEGORIES_LISTED])
        left = len(categories) - MAX_CATEGORIES_LISTED
        steps.append(f"0/1 inputs for {listed}{f' and {left:,} more' if left > 0 else ''}")
    elif column.get("kind") == "date":
        steps.append("year, month, weekday, days since 1970 and hour, as far as they vary, each scaled")
    elif "center" in column:
        if n_missing:
            steps.append(f"missing values are replaced by {_number(column['fill'])} and indicated by an input")
        center, scale = column["center"], column["scale"]
        is_unscaled = center == 0 and scale == 1
        steps.append("not scaled" if is_unscaled else f"(x − {_number(center)}) / {_number(scale)}")
        steps += [column["bend"]] if column.get("bend") else []
    return "; ".join(steps)


def _section(heading: str, content: str) -> str:
    return f"<section>\n<h2>{heading}</h2>\n{content}\n</section>" if content else ""


def _soft(text: str) -> str:
    return f'<p class="soft">{_escape(text)}</p>'


def _grid(figures: Sequence[str], css: str = "") -> str:
    """Return figures side by side, two in a row or as many as the CSS class says."""
    return f'<div class="figures{f" {css}" if css else ""}">{"".join(figures)}</div>' if figures else ""


def _preformatted(text: str) -> str:
    return f"<pre>{_escape(text)}</pre>" if text else ""


def _table(header: Iterable[tuple[str, str]], rows: Iterable[Iterable[str]]) -> str:
    """Return a table from pairs of heading and CSS class, and from rows of cells in HTML."""
    head = "".join(_cell(heading, "th", css) for heading, css in header)
    lines = "\n".join(f"<tr>{''.join(cells)}</tr>" for cells in rows)
    return f'<div class="scroll"><table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{lines}\n</tbody></table></div>'


def _cell(text: object, tag: str = "td", css: str = "") -> str:
    return f"<{tag}{f' class={chr(34)}{css}{chr(34)}' if css else ''}>{_escape(text)}</{tag}>"


def _escape(text: object) -> str:
    """Return escaped text. Characters that cannot be encoded in UTF-8 become question marks."""
    return html.escape(str(text).encode("utf-8", "replace").decode())


def _number(value: float, form: str = ".4g") -> str:
    if not math.isfinite(value):
        return "–"
    return f"{value:,.0f}" if 1e4 <= abs(value) < 1e12 else f"{value:{form}}"
