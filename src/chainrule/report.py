"""The report of a training run: one HTML page that holds everything it shows and asks no other place for anything.

Whatever comes from the data, class and column names above all, is escaped; the page also forbids its browser to run
scripts and to fetch anything. The same run gives the same bytes.
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
    apart_from_pyplot,
    can_be_log,
    figure_as_inline_svg,
    metric_names,
    plot_confusion_matrix,
    plot_loss,
    plot_metric,
    plot_predicted_against_true,
    plot_residuals,
    readable_metric,
)
from chainrule.types import Array, Task

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["Comparison", "Report", "ReportData", "compare", "render_report"]

NETWORK = "this network"
INK = "#1b1c1e"  # what the pictures' axes and letters are drawn in; on the page it becomes the colour of the text
MOST_CATEGORIES_LISTED = 12
MOST_COLUMNS_LISTED = 300


@dataclass(frozen=True)
class ReportData:
    """What a report is made of.

    ``measured`` are the network's metrics on the test rows, ``baselines`` those of each simple model. ``y_true`` are
    the test rows' class codes or numbers, ``outputs`` what the network gave for them, in the target's units.
    ``columns`` is what :meth:`chainrule.data.TablePreprocessor.describe` returns, or empty. ``facts`` are shown as they
    are: rows, seconds, seed, ... ``target`` names what a regression predicts, for the axes. ``warnings`` are sentences.
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
    """A report as an HTML page; a notebook displays it below the cell."""

    html: str

    def save(self, path: str | Path) -> None:
        """Write the page to ``path``, whole or not at all; raises InvalidInputError when it cannot be written."""
        write_atomically(path, self.html)

    def __repr__(self) -> str:
        return f"Report({len(self.html) / 1000:,.0f} kB of HTML; write it to a file with .save(path))"

    def _repr_html_(self) -> str:
        # A frame of its own, so that the page's style sheet does not touch the notebook.
        page = html.escape(self.html, quote=True)
        return f'<iframe srcdoc="{page}" style="width: 100%; height: 40em; border: 0"></iframe>'


def render_report(data: ReportData) -> str:
    """Return the page as HTML text."""
    pictures = Pictures()
    parts = [
        f"<h1>{_escape(data.title)}</h1>",
        _headline(data),
        *(f"<p><strong>Warning:</strong> {_escape(sentence)}</p>" for sentence in data.warnings),
        _section("Compared with simple models", _comparison(data)),
        _section("Facts", _facts(data.facts)),
        _section("How training went", _curves(data.history, pictures)),
        _section("On the test rows", _test_rows(data, pictures)),
        _section("What was done to each column", _columns(data.columns)),
        _section("The network", _preformatted(data.summary)),
        _section("The Python that does the same", _preformatted(data.code)),
    ]
    template = resources.files("chainrule").joinpath("report_template.html").read_text(encoding="utf-8")
    return Template(template).substitute(title=_escape(data.title), body="\n".join(parts))


class Pictures:
    """Draws the figures of one page: alike whatever the user's matplotlib settings, with ids unique in the page."""

    def __init__(self) -> None:
        self.n_drawn = 0

    def draw(self, plot: Callable[[], Axes], caption: str) -> str:
        """Return the axes that ``plot()`` makes as a ``<figure>``."""
        import matplotlib.style

        colors = ("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color")
        with matplotlib.style.context(["default", dict.fromkeys(colors, INK)]), apart_from_pyplot():
            figure = plot().get_figure(root=True)
            assert figure is not None
            self.n_drawn += 1
            svg = figure_as_inline_svg(figure, f"picture{self.n_drawn}-", INK)
        words = _escape(caption)
        return f'<figure role="img" aria-label="{words}">{svg}<figcaption>{words}</figcaption></figure>'


class Comparison(NamedTuple):
    """The metric that matters most, the network's value, the best baseline, and whether it is better."""

    metric: str
    value: float
    rival: str  # empty if there is none
    rival_value: float
    is_beaten: bool


def compare(
    task: Task, measured: Mapping[str, float], baselines: Mapping[str, Mapping[str, float]]
) -> Comparison | None:
    """Compare the metrics of a network with those of simple models; None if there are no metrics."""
    usual = default_metrics(task)[0].name
    name = usual if usual in measured else next(iter(measured), "")
    if not name:
        return None
    value = measured[name]
    rivals = {model: metrics[name] for model, metrics in baselines.items() if name in metrics}
    best = _find_best(name, rivals)
    rival = next((model for model in rivals if model in best), "")
    if not rival:
        return Comparison(name, value, "", math.nan, is_beaten=False)
    is_beaten = NETWORK not in _find_best(name, {NETWORK: value, rival: rivals[rival]})
    return Comparison(name, value, rival, rivals[rival], is_beaten)


def _headline(data: ReportData) -> str:
    """Return the one number that matters most, and what a simple model reaches."""
    found = compare(data.task, data.measured, data.baselines)
    if found is None:
        return ""
    value = found.value
    sentences = [f"{_escape(readable_metric(found.metric))} on rows that took no part in the training."]
    if found.rival:
        sentences.append(f"The best simple model, {_escape(found.rival)}, has {_number(found.rival_value)}.")
        if found.is_beaten:
            sentences.append("The network does not beat it.")
    return f'<div class="headline"><strong>{_number(value)}</strong>{" ".join(sentences)}</div>'


def _comparison(data: ReportData) -> str:
    """Return the metrics of the network and of every baseline, the best of each marked."""
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
    """Return who has the best value; no one where it is not known which way is better, or nothing was measured."""
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


def _curves(history: History, pictures: Pictures) -> str:
    if not any(map(math.isfinite, history.get("loss", []))):
        return "<p>No epoch was finished.</p>"
    figures = [pictures.draw(lambda: plot_loss(history), "Loss")]
    if can_be_log(history):
        figures.append(pictures.draw(lambda: plot_loss(history, log=True), "The same loss on a log axis"))
    for name in metric_names(history):
        words = readable_metric(name)
        figures.append(pictures.draw(partial(plot_metric, history, name), words[0].upper() + words[1:]))
    return f'<div class="pictures">{"".join(figures)}</div>'


def _test_rows(data: ReportData, pictures: Pictures) -> str:
    """Return what became of the test rows: confusion matrix and rates by class, or predictions and residuals."""
    if len(data.y_true) == 0:
        return ""
    if data.task != "regression":
        matrix = partial(plot_confusion_matrix, data.y_true, data.outputs, data.class_names)
        return pictures.draw(matrix, "How many rows of each true class were given each class") + _classes(data)
    agreement = partial(plot_predicted_against_true, data.y_true, data.outputs, name=data.target)
    residuals = partial(plot_residuals, data.y_true, data.outputs, name=data.target)
    figures = [
        pictures.draw(agreement, "Predicted against true; on the line a prediction is right"),
        pictures.draw(residuals, "Residuals; a pattern in them is something the network missed"),
    ]
    return f'<div class="pictures">{"".join(figures)}</div>'


def _classes(data: ReportData) -> str:
    """Return precision, recall and F1 of every class."""
    from sklearn.metrics import precision_recall_fscore_support

    truth, guess = labels_of(data.y_true), labels_of(data.outputs)
    codes = range(len(data.class_names))
    rates = precision_recall_fscore_support(truth, guess, labels=list(codes), zero_division=math.nan)
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
        '<p class="soft">Precision: of the rows that were given the class, how many are of it. '
        "Recall: of the rows that are of the class, how many were given it.</p>"
    )
    return _table(header, rows) + explanation


def _columns(columns: Sequence[Mapping[str, Any]]) -> str:
    rows = [
        [
            _cell(column["name"], "th"),
            _cell(_explanation(column), css="wide"),
            _cell(_treatment(column), css="wide"),
            _cell(f"{column.get('missing', 0):,}", css="number"),
            _cell(f"{len(column.get('outputs', ())):,}", css="number"),
        ]
        for column in columns[:MOST_COLUMNS_LISTED]
    ]
    if not rows:
        return ""
    header = [("column", ""), ("taken for", ""), ("what was done", ""), ("missing", "number"), ("inputs", "number")]
    left = len(columns) - len(rows)
    more = f"<p>And {left:,} more columns.</p>" if left else ""
    return f"<p>All of it was learnt from the training rows only.</p>{_table(header, rows)}{more}"


def _explanation(column: Mapping[str, Any]) -> str:
    """Return what a column was taken for, without its name."""
    return str(column.get("explanation", "")).removeprefix(f"{column['name']}: ")


def _treatment(column: Mapping[str, Any]) -> str:
    """Say in words what :class:`chainrule.data.TablePreprocessor` did to a column."""
    steps = []
    n_missing = column.get("missing", 0)
    if "categories" in column:
        categories = [str(category) for category in column["categories"]]
        listed = ", ".join(categories[:MOST_CATEGORIES_LISTED])
        left = len(categories) - MOST_CATEGORIES_LISTED
        steps.append(f"0/1 inputs for {listed}{f' and {left:,} more' if left > 0 else ''}")
    elif column.get("kind") == "date":
        steps.append("year, month, weekday, days since 1970 and hour, those of them that vary, each scaled")
    elif "center" in column:
        if n_missing:
            steps.append(f"missing values became {_number(column['fill'])}, and an input says where")
        center, scale = column["center"], column["scale"]
        is_kept = center == 0 and scale == 1
        steps.append("kept as it is" if is_kept else f"(x − {_number(center)}) / {_number(scale)}")
    return "; ".join(steps)


def _section(heading: str, content: str) -> str:
    return f"<section>\n<h2>{heading}</h2>\n{content}\n</section>" if content else ""


def _preformatted(text: str) -> str:
    return f"<pre>{_escape(text)}</pre>" if text else ""


def _table(header: Iterable[tuple[str, str]], rows: Iterable[Iterable[str]]) -> str:
    """Return a table from (heading, CSS class) of every column and rows of ready cells."""
    head = "".join(_cell(words, "th", css) for words, css in header)
    lines = "\n".join(f"<tr>{''.join(cells)}</tr>" for cells in rows)
    return f'<div class="scroll"><table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{lines}\n</tbody></table></div>'


def _cell(text: object, tag: str = "td", css: str = "") -> str:
    return f"<{tag}{f' class={chr(34)}{css}{chr(34)}' if css else ''}>{_escape(text)}</{tag}>"


def _escape(text: object) -> str:
    """Return text that HTML shows as it is; what UTF-8 cannot hold becomes a question mark."""
    return html.escape(str(text).encode("utf-8", "replace").decode())


def _number(value: float, form: str = ".4g") -> str:
    if not math.isfinite(value):
        return "–"
    return f"{value:,.0f}" if 1e4 <= abs(value) < 1e12 else f"{value:{form}}"
