"""The report: whole, safe whatever the data are called, asking no other place for anything, the same every time."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from chainrule.data import Dataset
from chainrule.explain import Explanations, explain_model
from chainrule.history import History
from chainrule.layers import DenseLayer
from chainrule.neuralnet import NeuralNetwork
from chainrule.report import Report, ReportData, compare, render_report

HOSTILE = '<script>alert("1")</script>'
VOID = {"meta", "br"}


@pytest.fixture
def classes() -> ReportData:
    history = History(
        {
            "epoch": [1, 2, 3],
            "loss": [1.0, 0.5, 0.2],
            "accuracy": [0.5, 0.7, 0.9],
            "validation_loss": [1.1, 0.6, 0.4],
            "validation_accuracy": [0.4, 0.6, 0.8],
        }
    )
    return ReportData(
        title="a set of pets",
        task="multiclass",
        class_names=("cat", "dog", "eel"),
        history=history,
        measured={"accuracy": 0.75, "log_loss": 0.5},
        baselines={"majority": {"accuracy": 0.5, "log_loss": 1.0}, "logistic": {"accuracy": 0.7, "log_loss": 0.4}},
        y_true=np.array([0, 0, 1, 1]),
        outputs=np.array([[0.8, 0.1, 0.1], [0.2, 0.7, 0.1], [0.1, 0.9, 0.0], [0.2, 0.5, 0.3]]),
        columns=[
            {"name": "age", "kind": "number", "missing": 2, "outputs": ["age", "age (missing)"]}
            | {"fill": 3.5, "center": 4.0, "scale": 2.0},
            {"name": "weight", "kind": "number", "missing": 0, "outputs": ["weight"]}
            | {"fill": 1.0, "center": 0.0, "scale": 1.0},
            {"name": "town", "kind": "category", "missing": 0, "outputs": list("abc"), "categories": ["x", "y", "z"]},
            {"name": "born", "kind": "date", "missing": 0, "outputs": ["born year", "born days"]},
            {"name": "id", "kind": "dropped", "missing": 0, "outputs": []}
            | {"explanation": "id: dropped, every row has a different value (such as 'x7')"},
        ],
        facts={"training rows": "1,078", "seed": "0"},
        code='network.fit(dataset, "a<b")',
        summary="1 DenseLayer  (rows, 3)",
    )


@pytest.fixture
def numbers(classes: ReportData) -> ReportData:
    truth = np.linspace(0, 10, 50)
    return replace(
        classes,
        task="regression",
        class_names=(),
        measured={"r2": 0.5},
        baselines={"ridge": {"r2": 0.6}},
        y_true=truth,
        outputs=truth[:, None] + 0.5,
        target="price",
    )


class _Nesting(HTMLParser):
    """Checks that every tag is closed in its turn, and collects tags, ids and text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.ids: list[str] = []
        self.words: list[str] = []
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs) -> None:
        self.tags.append(tag)
        self.ids += [value for name, value in attrs if name == "id"]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs) -> None:
        self.handle_starttag(tag, attrs)
        self.open.pop()

    def handle_endtag(self, tag) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data) -> None:
        self.words.append(data)


def read(page: str) -> tuple[str, _Nesting]:
    nesting = _Nesting(page)
    return re.sub(r"\s+", " ", " ".join(nesting.words)), nesting


def test_a_report_of_classes_has_all_its_parts(classes: ReportData) -> None:
    text, page = read(render_report(classes))
    for part in (
        "a set of pets",
        "0.75",
        "The network is better than the baseline 'logistic' by accuracy 0.75 against 0.7, but not by log loss 0.5 "
        "against 0.4. Accuracy is the share of the rows with the correct class",
        "1,078",
        "Test rows",
    ):
        assert part in text
    for part in ("precision", "recall", "network.fit(dataset, \"a<b\")", "1 DenseLayer (rows, 3)"):  # fmt: skip
        assert part in text
    # The loss, wide and narrow, the loss on a log axis, accuracy, confusion matrix, ROC, precision and recall, and the
    # reliability of the probabilities.
    assert page.tags.count("svg") == 8
    assert len(page.ids) == len(set(page.ids))
    assert "better than the network" not in text
    assert "Importance" not in text


def test_a_report_of_numbers_has_its_pictures_and_owns_up_to_defeat(numbers: ReportData) -> None:
    text, page = read(render_report(numbers))
    assert "The baseline 'ridge' is better than the network: R² 0.6 against 0.5. Use that baseline: it is" in text
    assert "predicted price" in text
    assert "residual" in text
    assert page.tags.count("svg") == 7  # three of the test rows
    assert len(page.ids) == len(set(page.ids))


def test_a_baseline_without_columns_that_wins_says_something_else(numbers: ReportData) -> None:
    lost = replace(numbers, measured={"r2": -0.1}, baselines={"mean": {"r2": 0.0}})
    text, _ = read(render_report(lost))
    assert "That baseline uses no column, so the network has found nothing" in text
    tied = replace(numbers, baselines={"mean": {"r2": 0.5}})
    text, _ = read(render_report(tied))
    assert "The baseline 'mean' is as good as the network: R² 0.5 against 0.5. That baseline uses no column" in text


@pytest.mark.parametrize(
    ("accuracy", "log_loss", "sentence", "advice"),
    [
        (0.9, 0.3, "The network is better than the baseline 'logistic': accuracy 0.9 against 0.7 (40 of 200 rows)", ""),
        (0.7, 0.3, "The network is at least as good as the baseline 'logistic': accuracy 0.7 against 0.7 and", ""),
        (
            0.6,
            0.3,
            "The network is better than the baseline 'logistic' by log loss 0.3 against 0.4, but not by",
            "both",
        ),
        (0.7, 0.4, "The baseline 'logistic' is as good as the network: accuracy 0.7 against 0.7 and log", "Use that"),
        (0.7, 0.6, "The baseline 'logistic' is at least as good as the network: accuracy 0.7 against", "Use that"),
        (0.6, 0.6, "The baseline 'logistic' is better than the network: accuracy 0.7 against 0.6 (20", "Use that"),
    ],
)
def test_classes_are_compared_by_accuracy_and_log_loss(
    classes: ReportData, accuracy: float, log_loss: float, sentence: str, advice: str
) -> None:
    measured = {"accuracy": accuracy, "log_loss": log_loss}
    comparison = compare("multiclass", measured, classes.baselines, 200)
    assert comparison.verdict.startswith(sentence)
    assert comparison.advice.startswith({"": "", "both": "Accuracy is the share of the rows"}.get(advice, advice))
    assert bool(comparison.advice) == bool(advice)
    assert compare("multiclass", measured, {}).verdict == ""
    other = {"majority class": {"accuracy": 0.95, "log_loss": 0.9}, "logistic": {"accuracy": 0.8, "log_loss": 0.2}}
    lost = compare("multiclass", measured, other)
    assert lost.verdict.startswith("The baselines 'majority class' and 'logistic' are better than the network: ")
    assert "uses no column" in lost.advice


def test_numbers_of_training_rows_are_not_sold_as_test_results(numbers: ReportData) -> None:
    text, _ = read(render_report(replace(numbers, is_tested_apart=False)))
    assert "R² on the training rows, because no test rows were held out; for new rows, expect a worse value." in text
    assert "not used for training" not in text


def test_intervals_and_temperatures_are_reported_with_what_they_reach(numbers: ReportData, classes: ReportData) -> None:
    truth = numbers.y_true
    limits = np.stack([truth - np.where(np.arange(50) < 5, -1, 2), truth + 4], axis=1)  # 5 of 50 are outside
    text, _ = read(render_report(replace(numbers, intervals=limits)))
    assert "90.0 % of the true values of the 50 test rows are in the interval" in text
    assert "half of the intervals are narrower than 6." in text
    text, _ = read(render_report(replace(classes, temperature=1.532)))
    assert "rows that were held out: 1.53." in text
    assert "held out" not in read(render_report(classes))[0]


def test_every_explanation_has_its_section_with_what_it_does_not_mean(numbers: ReportData, classes: ReportData) -> None:
    rng = np.random.default_rng(0)
    rows = Dataset(rng.normal(size=(40, 3)), rng.normal(size=40), ["age", f"b{HOSTILE}", "c$"], task="regression")
    network = NeuralNetwork(seed=0).add(DenseLayer(1, (3,)))
    network.target = rows.target
    found = explain_model(network, rows)
    text, page = read(render_report(replace(numbers, explanations=found)))
    for part in (
        "Importance is not causation",
        "columns with the same information share their importance",
        "the prediction is an extrapolation",
        "the bars add up to this difference",
        "A column can be important and have a small gradient",
        "The changed rows may be impossible in reality",
    ):
        assert part in text
    assert page.tags.count("svg") == 7 + 1 + 3 + 3 + 1 + 1
    assert "script" not in page.tags
    captions = "The row with the lowest", "The row with the highest"
    assert all(f"{caption} prediction" in text for caption in captions)
    assert found.attribution is not None
    only = replace(Explanations(), attribution=found.attribution)
    text, _ = read(render_report(replace(classes, explanations=only)))
    assert all(f"{caption} probability of its predicted class" in text for caption in captions)
    few = explain_model(network, rows.take(slice(19)), thorough=False)
    assert (few.importance, few.dependences) == (None, ())


def test_the_best_of_every_metric_is_marked(classes: ReportData) -> None:
    page = render_report(replace(classes, measured={**classes.measured, "home_made": 9.0}))
    assert re.findall(r'class="number best">★ ([\d.]+)<', page) == ["0.75", "0.4"]


def test_every_column_says_what_was_done_to_it(classes: ReportData) -> None:
    text, _ = read(render_report(classes))
    assert "missing values are replaced by 3.5 and indicated by an input; (x − 4) / 2" in text
    for part in ("not scaled", "0/1 inputs for x, y, z", "days since 1970", "dropped, every row has a different"):
        assert part in text


def test_classes_without_rows_have_no_rates(classes: ReportData) -> None:
    row = re.search(r"<tr><th>eel</th>(.*?)</tr>", render_report(classes))
    assert row is not None
    assert re.findall(r">([^<]+)</td>", row.group(1)) == ["–", "–", "–", "0"]


@pytest.mark.parametrize("kind", ["classes", "numbers"])
def test_names_from_the_data_are_only_ever_text(kind: str, request: pytest.FixtureRequest) -> None:
    data: ReportData = request.getfixturevalue(kind)
    evil = replace(
        data,
        title=HOSTILE,
        class_names=tuple(f"{i}{HOSTILE}$" for i in data.class_names),
        measured={**data.measured, HOSTILE: 1.0},
        baselines={HOSTILE: {"accuracy": 0.1, "r2": 0.9}},
        columns=[{"name": HOSTILE, "kind": "category", "missing": 0, "outputs": [], "categories": [HOSTILE]}],
        facts={HOSTILE: HOSTILE},
        code=f"</pre>{HOSTILE}",
        summary=HOSTILE,
        target=HOSTILE,
        history=History({**data.history, HOSTILE: [1.0, 2.0, 3.0]}),
    )
    page = render_report(evil)
    _, nesting = read(page)
    assert "script" not in nesting.tags
    assert "<script" not in page.lower()
    assert "$title" not in page


def test_a_dollar_sign_and_a_lone_surrogate_are_harmless(classes: ReportData, tmp_path: Path) -> None:
    page = render_report(replace(classes, title="$body \ud800", class_names=("$x_", "\ud800", "\0")))
    Report(page).save(tmp_path / "report.html")
    assert "$body ?" in (tmp_path / "report.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("kind", ["classes", "numbers"])
def test_the_page_asks_no_other_place_for_anything(kind: str, request: pytest.FixtureRequest) -> None:
    page = render_report(request.getfixturevalue(kind))
    without_images = re.sub(r"base64,[\w+/=\s]+", "", page)  # whose letters may be any
    assert re.findall(r"https?:|//\w", without_images) == []
    links = re.findall(r"(?:src|href|url|@import)\s*[=(]\s*[\"']?([^\"')\s]+)", page)
    assert [link for link in links if not link.startswith(("#figure", "data:"))] == []
    assert "default-src 'none'" in page


def test_the_same_run_gives_the_same_bytes_whatever_the_settings(numbers: ReportData) -> None:
    import matplotlib as mpl

    many = replace(numbers, y_true=np.linspace(0, 1, 2_500), outputs=np.linspace(0, 1, 2_500) ** 2)
    page = render_report(many)
    assert "data:image/png;base64," in page
    with mpl.rc_context({"axes.facecolor": "red", "font.size": 30, "lines.linewidth": 9}):
        assert render_report(many) == page
    assert len(page) < 300_000


def test_an_empty_run_still_has_a_report(classes: ReportData) -> None:
    nothing = replace(
        classes,
        history=History(),
        measured={},
        baselines={},
        y_true=np.zeros(0, int),
        outputs=np.zeros((0, 3)),
        columns=[],
        facts={},
        code="",
        summary="",
    )
    text, page = read(render_report(nothing))
    assert "No epoch was finished." in text
    assert "svg" not in page.tags
    assert "Columns" not in text


def test_a_number_that_is_none_is_never_the_best(classes: ReportData) -> None:
    text, _ = read(render_report(replace(classes, measured={"accuracy": float("nan")})))
    assert "– Accuracy" in text
    assert "is better than the network: accuracy 0.7 against –." in text


def test_the_report_is_written_whole(classes: ReportData, tmp_path: Path) -> None:
    path = tmp_path / "new folder" / "report.html"
    Report(render_report(classes)).save(path)
    assert path.read_text(encoding="utf-8") == render_report(classes)
    assert [file.name for file in path.parent.iterdir()] == ["report.html"]
