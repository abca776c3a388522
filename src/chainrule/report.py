"""The report of a training run: one self-contained HTML page, which loads no other files.

All texts from the data, such as the names of classes and columns, are escaped. A content security policy also forbids
the browser to run scripts and to load files. The same run gives the same bytes.
"""

from __future__ import annotations

import html
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib import resources
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Any, NamedTuple

from chainrule.files.atomic import write_atomically
from chainrule.history import History
from chainrule.metrics import METRICS, default_metrics
from chainrule.metrics.inputs import labels_of
from chainrule.plots import (
    can_be_log,
    figure_as_inline_svg,
    metric_names,
    plot_confusion_matrix,
    plot_loss,
    plot_metric,
    plot_predicted_against_true,
    plot_residuals,
    readable_metric,
    without_pyplot,
)
from chainrule.types import Array, Task

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["Comparison", "Report", "ReportData", "compare", "render_report"]

NETWORK = "this network"
INK = "#1b1c1e"  # the colour of axes and labels in figures, which the page replaces by the colour of its text
MAX_CATEGORIES_LISTED = 12
MAX_COLUMNS_LISTED = 300


@dataclass(frozen=True)
class ReportData:
    """The content of a report.

    ``measured`` are the metrics of the network on the test rows, and ``baselines`` those of each baseline. ``y_true``
    are the class codes or numbers of the test rows, and ``outputs`` the predictions of the network in the units of the
    target. ``columns`` is the result of :meth:`chainrule.data.TablePreprocessor.describe`, or empty. ``facts``, such as
    rows, seconds and seed, are shown without changes. ``target`` is the name of the target of a regression, for the
    axes. ``warnings`` are sentences.
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
        _section("Facts", _facts(data.facts)),
        _section("Training", _curves(data.history, figures)),
        _section("Test rows", _test_rows(data, figures)),
        _section("Columns", _columns(data.columns)),
        _section("Network", _preformatted(data.summary)),
        _section("Equivalent Python code", _preformatted(data.code)),
    ]
    template = resources.files("chainrule").joinpath("report_template.html").read_text(encoding="utf-8")
    return Template(template).substitute(title=_escape(data.title), body="\n".join(parts))


class Figures:
    """Draw the figures of a page, independently of the user's matplotlib settings and with ids unique in the page."""

    def __init__(self) -> None:
        self.n_drawn = 0

    def draw(self, plot: Callable[[], Axes], caption: str) -> str:
        """Return the axes that ``plot()`` makes as a ``<figure>``."""
        import matplotlib.style

        colors = ("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color")
        with matplotlib.style.context(["default", dict.fromkeys(colors, INK)]), without_pyplot():
            figure = plot().get_figure(root=True)
            assert figure is not None
            self.n_drawn += 1
            svg = figure_as_inline_svg(figure, f"figure{self.n_drawn}-", INK)
        text = _escape(caption)
        return f'<figure role="img" aria-label="{text}">{svg}<figcaption>{text}</figcaption></figure>'


class Comparison(NamedTuple):
    """The first metric of the task, its value for the network, the best baseline, and whether it is better."""

    metric: str
    value: float
    baseline: str  # empty if there is none
    baseline_value: float
    baseline_is_better: bool


def compare(
    task: Task, measured: Mapping[str, float], baselines: Mapping[str, Mapping[str, float]]
) -> Comparison | None:
    """Compare the metrics of a network with those of baselines. Return None if there are no metrics."""
    default = default_metrics(task)[0].name
    name = default if default in measured else next(iter(measured), "")
    if not name:
        return None
    value = measured[name]
    values = {model: metrics[name] for model, metrics in baselines.items() if name in metrics}
    best = _find_best(name, values)
    baseline = next((model for model in values if model in best), "")
    if not baseline:
        return Comparison(name, value, "", math.nan, baseline_is_better=False)
    baseline_is_better = NETWORK not in _find_best(name, {NETWORK: value, baseline: values[baseline]})
    return Comparison(name, value, baseline, values[baseline], baseline_is_better)


def _headline(data: ReportData) -> str:
    """Return the value of the first metric, and that of the best baseline."""
    comparison = compare(data.task, data.measured, data.baselines)
    if comparison is None:
        return ""
    sentences = [f"{_escape(readable_metric(comparison.metric))} on rows that were not used for training."]
    if comparison.baseline:
        value = _number(comparison.baseline_value)
        sentences.append(f"The best baseline, {_escape(comparison.baseline)}, has {value}.")
        if comparison.baseline_is_better:
            sentences.append("It is better than the network.")
    return f'<div class="headline"><strong>{_number(comparison.value)}</strong>{" ".join(sentences)}</div>'


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
    if not any(map(math.isfinite, history.get("loss", []))):
        return "<p>No epoch was finished.</p>"
    drawn = [figures.draw(lambda: plot_loss(history), "Loss")]
    if can_be_log(history):
        drawn.append(figures.draw(lambda: plot_loss(history, log=True), "Loss on a log axis"))
    for name in metric_names(history):
        caption = readable_metric(name)
        drawn.append(figures.draw(partial(plot_metric, history, name), caption[0].upper() + caption[1:]))
    return f'<div class="figures">{"".join(drawn)}</div>'


def _test_rows(data: ReportData, figures: Figures) -> str:
    """Return the confusion matrix and the metrics of each class, or the predictions and residuals of a regression."""
    if len(data.y_true) == 0:
        return ""
    if data.task != "regression":
        matrix = partial(plot_confusion_matrix, data.y_true, data.outputs, data.class_names)
        return figures.draw(matrix, "Number of rows by true class and predicted class") + _classes(data)
    agreement = partial(plot_predicted_against_true, data.y_true, data.outputs, name=data.target)
    residuals = partial(plot_residuals, data.y_true, data.outputs, name=data.target)
    drawn = [
        figures.draw(agreement, "Predicted against true values; correct predictions are on the line"),
        figures.draw(residuals, "Residuals; a pattern indicates structure that the network has not learned"),
    ]
    return f'<div class="figures">{"".join(drawn)}</div>'


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
        '<p class="soft">Precision: the share of the rows predicted as the class that belong to it. '
        "Recall: the share of the rows of the class that are predicted as it.</p>"
    )
    return _table(header, rows) + explanation


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
    return "; ".join(steps)


def _section(heading: str, content: str) -> str:
    return f"<section>\n<h2>{heading}</h2>\n{content}\n</section>" if content else ""


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
