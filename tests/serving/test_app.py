"""The application: what goes in, what comes out, and what is said of a request that cannot be answered."""

from __future__ import annotations

import asyncio
import io
import json
import re
import threading
import time
import tracemalloc
import weakref
from collections.abc import Callable, Iterable
from typing import Any, Self

import httpx
import numpy as np
import pandas as pd
import pytest
from starlette.applications import Starlette

from chainrule.data import Target
from chainrule.data.text_table import parse_text_table
from chainrule.model import Model
from chainrule.runs.predictions import prediction_frame
from chainrule.serving import Limits, build_app, requests, service
from chainrule.types import Array
from support.served import JSON, as_rows, ask, digit_model, price_model, sale_table, sold_model

PRICE, SOLD, CHOICE, DIGIT = price_model(), sold_model(), sold_model(3), digit_model()
CSV = {"content-type": "text/csv"}
NEW = sale_table(20, seed=1)
ROWS = as_rows(NEW)


def price_app(**limits: Any) -> Starlette:
    return build_app(PRICE, Limits(**limits))


def error_of(response: httpx.Response, status: int) -> str:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/json"
    sentence: str = response.json()["error"]
    assert sentence.endswith((".", "?")), "a sentence"
    return sentence


# Predictions ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [ROWS, {"rows": ROWS}, [[row[name] for name in ROWS[0] if name not in ("id", "country")] for row in ROWS]],
    ids=["list", "rows", "arrays"],
)
def test_predictions_are_those_of_the_model(body: Any) -> None:
    response = ask(price_app(), body)
    assert response.status_code == 200, response.text
    assert response.json() == {"predictions": PRICE.predict(pd.DataFrame(ROWS)).tolist()}


def test_one_row_is_answered_as_a_list_of_one() -> None:
    truth = PRICE.predict(pd.DataFrame(ROWS[:1]))
    assert ask(price_app(), ROWS[0]).json()["predictions"] == truth.tolist()


@pytest.mark.parametrize(("model", "n_classes"), [(SOLD, 2), (CHOICE, 3)], ids=["two", "three"])
def test_classes_come_with_their_probabilities(model: Model, n_classes: int) -> None:
    answer = ask(build_app(model), ROWS).json()
    frame = pd.DataFrame(ROWS)
    assert answer["classes"] == list(model.target.classes)
    assert answer["predictions"] == model.predict(frame).tolist()
    probabilities = np.array(answer["probabilities"])
    assert probabilities.shape == (20, n_classes)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-6)
    np.testing.assert_array_equal(probabilities[:, -1], model.outputs(frame)[:, -1])
    assert [answer["classes"][place] for place in probabilities.argmax(axis=1)] == answer["predictions"]


def test_images_are_answered() -> None:
    images = np.random.default_rng(1).random((3, 4, 3))
    answer = ask(build_app(DIGIT), images.tolist()).json()
    assert answer["predictions"] == DIGIT.predict(images).tolist()
    assert answer == ask(build_app(DIGIT), {"rows": images.reshape(3, 12).tolist()}).json()


def test_csv_goes_in_and_comes_out() -> None:
    text = NEW.to_csv(index=False)
    truth = PRICE.predict(parse_text_table(text, "new"))
    assert ask(price_app(), text, headers=CSV).json()["predictions"] == truth.tolist()
    response = ask(price_app(), text, headers={"content-type": "text/csv; charset=UTF-8", "accept": "text/csv"})
    assert response.headers["content-type"].startswith("text/csv")
    assert response.text == prediction_frame(PRICE, truth[:, None]).to_csv(index=False, float_format="%.7g")


def test_intervals_are_given_on_request() -> None:
    model = PRICE.calibrated(sale_table(60, seed=2), np.linspace(1e5, 3e5, 60))
    app, limits = build_app(model), model.predict_interval(NEW, 0.1)
    answer = ask(app, ROWS, path="/predict?interval=0.1").json()
    assert answer["predictions"] == model.predict(NEW).tolist()
    assert answer["intervals"] == limits.tolist()
    assert "intervals" not in ask(app, ROWS).json()
    text = ask(app, ROWS, path="/predict?interval=0.1", headers={**JSON, "accept": "text/csv"}).text
    assert list(pd.read_csv(io.StringIO(text))) == ["prediction", "lower", "upper"]
    document = ask(app, path="/openapi.json").json()
    assert document["paths"]["/predict"]["post"]["parameters"][0]["name"] == "interval"
    assert "intervals" in document["components"]["schemas"]["Predictions"]["properties"]
    for query, words in (("0.001", "the smallest interval for 60 held-out rows"), ("much", "a number such as 0.1")):
        assert words in error_of(ask(app, ROWS, path=f"/predict?interval={query}"), 422)
    assert "without held-out rows" in error_of(ask(price_app(), ROWS, path="/predict?interval=0.1"), 422)
    assert "predicts classes" in error_of(ask(build_app(DIGIT), [[0.5] * 12], path="/predict?interval=0.1"), 422)


def test_csv_of_a_classifier_has_a_column_a_class() -> None:
    response = ask(build_app(DIGIT), [[0.5] * 12], headers={**JSON, "accept": "text/csv"})
    frame = pd.read_csv(io.StringIO(response.text))
    assert list(frame) == ["prediction", *(f"probability_digit {code}" for code in range(10))]


def test_csv_of_bare_numbers_may_hold_the_target_column() -> None:
    model = digit_model()
    model.target_name = "class"
    X = np.random.default_rng(1).random((3, 12)).round(3)
    frame = pd.DataFrame(X).add_prefix("pixel").assign(**{"class": 3})
    response = ask(build_app(model), frame.to_csv(index=False), headers=CSV)
    assert response.json()["predictions"] == model.predict(X).tolist()
    assert "13 columns" in error_of(ask(build_app(DIGIT), frame.to_csv(index=False), headers=CSV), 422)


def test_csv_of_numbers_beyond_the_model_s_precision_is_refused_like_json() -> None:
    lines = [",".join("abcdefghijkl"), ",".join("1" * 12), ",".join(["1", "1e39"] + ["1"] * 10)]
    response = ask(build_app(DIGIT), "\n".join(lines), headers=CSV)
    assert error_of(response, 422) == "Row 2 has 1e+39 at position 2; give a finite number."
    assert response.json()["row"] == 2


@pytest.mark.parametrize("parameters", ["; charset=utf-8; header=present", '; header=present;charset="UTF-8"', ";", ""])
def test_parameters_of_the_content_type_are_read_one_by_one(parameters: str) -> None:
    headers = {"content-type": "text/csv" + parameters}
    assert ask(price_app(), NEW.to_csv(index=False), headers=headers).status_code == 200
    wrong = {"content-type": "text/csv; header=present; charset=latin-1"}
    sentence = error_of(ask(price_app(), NEW.to_csv(index=False), headers=wrong), 415)
    assert sentence == "The charset is latin-1; send the text in UTF-8."


def test_labels_are_written_exactly_and_their_probabilities_with_seven_digits() -> None:
    model = sold_model()
    model.target = Target("binary", (0.12345678, 0.12345679), 1)
    lines = ask(build_app(model), ROWS, headers={**JSON, "accept": "text/csv"}).text.splitlines()
    labels = [line.split(",")[0] for line in lines[1:]]
    assert labels == [repr(label) for label in model.predict(pd.DataFrame(ROWS)).tolist()]
    assert lines[1].split(",")[1] == f"{1 - model.outputs(pd.DataFrame(ROWS))[0, 0]:.7g}"


@pytest.mark.parametrize("written", ["[%s]", '{"rows": [%s]}', ' {"rows" : [ %s ] }\n', "[%s\n]"])
def test_rows_of_json_may_be_written_in_several_ways(written: str) -> None:
    answer = ask(price_app(), written % " ,\n".join(json.dumps(row) for row in ROWS)).json()
    assert answer == ask(price_app(), ROWS).json()


def test_rows_beside_something_else_are_refused() -> None:
    assert "other fields than" in error_of(ask(price_app(), {"rows": ROWS, "x": 1}), 422)


@pytest.mark.parametrize("value", ["[]", "{}", "[1.5]", "0"])
def test_the_values_of_a_body_are_bounded_before_they_are_made(value: str) -> None:
    """Millions of empty lists, in a body of some megabytes, would take 25 times its size."""
    limits = Limits(value_bytes=2**20)
    body = "[[" + ",".join([value] * 150_000) + "]]"
    tracemalloc.start()
    try:
        response = ask(build_app(PRICE, limits), body)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert "too many values" in error_of(response, 413)
    assert peak < 6 * 2**20


@pytest.mark.parametrize("between", [",", ";", "\t", "|", "\n", "\r", "\r\n"])
def test_the_cells_of_a_csv_are_bounded_whatever_separates_them(between: str) -> None:
    body = between.join(["1"] * 1000)
    for most, status in ((500, 413), (1500, 422)):
        app = build_app(PRICE, Limits(value_bytes=requests.CSV_CELL_BYTES * most))
        assert ("too many values" in error_of(ask(app, body, headers=CSV), status)) == (status == 413)


def test_rows_beyond_the_limit_are_refused() -> None:
    text = "[" + "{}," * 20_000 + "{}]"
    assert (
        error_of(ask(price_app(), text), 413) == "The body has more than 10,000 rows; send fewer rows in one request."
    )


def test_of_many_unknown_columns_the_first_are_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[str] = []

    def nearest(name: str, known: Iterable[str]) -> str:
        compared.extend(known)
        return ""

    monkeypatch.setattr("chainrule.serving.rows.nearest_name", nearest)
    error_of(ask(price_app(), {f"column {number}": 1 for number in range(2_000)}), 422)
    assert 0 < len(compared) <= 100


def test_an_answer_is_bounded() -> None:
    app = build_app(DIGIT, Limits(answer_numbers=50))
    assert ask(app, [[0.5] * 12] * 5).status_code == 200
    sentence = error_of(ask(app, [[0.5] * 12] * 6), 413)
    assert sentence == "The answer would be too long; send at most 5 rows in one request."


def test_answers_that_nobody_takes_are_bounded_all_together() -> None:
    row = json.dumps(ROWS[:1] * 1000).encode()
    held = 10_000
    assert 4 * 1000 < held < len(ask(price_app(), row).content), "the predictions, and the answer"
    app = price_app(all_body_bytes=len(row) + held)

    async def receive() -> Any:
        return {"type": "http.request", "body": row, "more_body": False}

    async def main() -> None:
        starts = asyncio.Event()
        taken = asyncio.Event()

        async def slow(message: Any) -> None:
            starts.set()
            await taken.wait()

        first = asyncio.create_task(app(predict_scope(), receive, slow))
        await starts.wait()
        assert (await call(app, receive))[0]["status"] == 503
        taken.set()
        await first
        assert (await call(app, receive))[0]["status"] == 200

    asyncio.run(main())


def test_an_error_that_nobody_takes_holds_nothing() -> None:
    body = json.dumps([["bad"] * 7] * 1000).encode()
    app = price_app(all_body_bytes=len(body) + 10)

    async def main() -> None:
        starts, taken = asyncio.Event(), asyncio.Event()

        async def slow(message: Any) -> None:
            starts.set()
            await taken.wait()

        first = asyncio.create_task(app(predict_scope(), once(body), slow))  # type: ignore[arg-type]
        await starts.wait()
        assert (await call(app, once(body)))[0]["status"] == 422, "and not 503"
        taken.set()
        await first

    asyncio.run(main())


@pytest.mark.parametrize(("more", "status"), [(500, 422), (-500, 503)], ids=["room", "no room"])
def test_while_a_prediction_waits_its_inputs_are_counted(
    more: int, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    predicting, may_predict = threading.Event(), threading.Event()

    def slow_outputs(inputs: Array) -> Array:
        predicting.set()
        may_predict.wait(10)
        return np.full((len(inputs), 10), 0.1, np.float32)

    monkeypatch.setattr(DIGIT.network, "predict", slow_outputs)
    monkeypatch.setattr(service, "INLINE_PRODUCTS", 0)
    n_bytes, inputs = 600_000, 1000 * 12 * 4
    good = json.dumps([[0] * 12] * 1000).encode().ljust(n_bytes)
    bad = json.dumps([["x"] * 12] * 1000).encode().ljust(n_bytes)
    app = build_app(DIGIT, Limits(all_body_bytes=n_bytes + inputs + more))

    async def main() -> None:
        first = asyncio.create_task(call(app, once(good)))
        await asyncio.to_thread(predicting.wait, 10)
        assert (await call(app, once(bad)))[0]["status"] == status
        may_predict.set()
        assert (await first)[0]["status"] == 200

    asyncio.run(main())


def test_inputs_larger_than_all_that_may_be_held_are_predicted() -> None:
    rows = json.dumps([[1, 1, True, "Faro", 1, "no", None]] * 1000).encode()
    assert PRICE.table is not None
    n_inputs = PRICE.network.stack.input_shape()[0] * 1000
    app = price_app(all_body_bytes=len(rows) + 1000)
    assert 4 * n_inputs > len(rows) + 1000
    assert ask(app, rows).status_code == 200


def test_a_constant_column_with_gaps_is_not_said_to_vary() -> None:
    table = sale_table()
    table["floor"] = 5.0
    table.loc[::7, "floor"] = np.nan
    for scaling, said in (("standard", {"mean": 5.0}), ("range", {"minimum": 5.0})):
        model = price_model(table=table, scaling=scaling)
        columns = {column["name"]: column for column in ask(build_app(model), path="/schema").json()["columns"]}
        assert columns["floor"] == {"name": "floor", "type": "number", "missing": 5.0, **said}
        assert ask(build_app(model), path="/").status_code == 200


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("text/csv", "text/csv"), ("*/*", "application/json"), ("text/csv, */*;q=0.1", "text/csv"),
        ("application/json, text/csv;q=0.5", "application/json"), ("text/csv;q=0.9,application/json;q=0.8", "text/csv"),
        ("text/csv;q=x", "application/json"), ("TEXT/CSV", "text/csv"), ("text/html", "application/json"),
    ],
)  # fmt: skip
def test_the_accept_header_chooses_the_form_of_the_answer(accept: str, kind: str) -> None:
    response = ask(price_app(), ROWS[0], headers={**JSON, "accept": accept})
    assert response.status_code == 200
    assert response.headers["content-type"].split(";")[0] == kind


def test_large_requests_are_predicted_as_small_ones() -> None:
    many = as_rows(sale_table(2000, seed=2))
    app = price_app()
    large = ask(app, many).json()["predictions"]
    np.testing.assert_allclose(large, PRICE.predict(pd.DataFrame(many)), rtol=1e-12)
    alone = [ask(app, row).json()["predictions"][0] for row in many[:5]]
    np.testing.assert_allclose(large[:5], alone, rtol=1e-5)


def test_concurrent_requests_share_calls_and_get_their_own_answers() -> None:
    app = price_app()

    async def main() -> list[httpx.Response]:
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://model") as client:
            return await asyncio.gather(*(client.post("/predict", json=row) for row in ROWS))

    answers = [response.json()["predictions"][0] for response in asyncio.run(main())]
    np.testing.assert_allclose(answers, PRICE.predict(pd.DataFrame(ROWS)), rtol=1e-5)
    text = ask(app, path="/metrics").text
    calls = int(re.findall(r"^chainrule_batch_rows_count (\d+)$", text, re.MULTILINE)[0])
    assert calls < 20, "at least two requests were predicted in one call"


# Errors --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "status", "sentence"),
    [
        ('{"area": 1,', 400, "The body is not JSON: Expecting property name enclosed in double quotes (line 1, col"),
        ("[1,\n 2,,]", 400, "(line 2, column 4)"),
        ("", 400, "The body is not JSON"),
        (b"\xff\xfe[\x001", 400, "The body is not UTF-8 text: byte 1 cannot be read."),
        (b'["a\x00"]', 400, "The body is binary"),
        ("[" * 100_000, 400, "nested too deeply"),
        ("[" + "9" * 5000 + "]", 400, "a number with thousands of digits"),
        ("[]", 422, "The body has no rows."),
        ('{"rows": []}', 422, "The body has no rows."),
        ("null", 422, "The body is null; send one row as an object, an array of rows"),
        ('"rows"', 422, 'The body is "rows"; send one row'),
        ('{"rows": 5}', 422, 'Row 1 has no column "area"'),
        ("[1, 2, 3]", 422, "Row 1 is 1; a row must be an object with the columns by name"),
    ],
    ids=["open", "place", "empty", "not utf-8", "binary", "deep", "digits", "no rows", "rows: []", "null", "text",
         "rows: 5", "flat"],
)  # fmt: skip
def test_a_body_that_holds_no_rows_is_refused(body: str | bytes, status: int, sentence: str) -> None:
    assert sentence in error_of(ask(price_app(), body), status)


def test_an_error_says_where_in_parts_too() -> None:
    answer = ask(price_app(), [ROWS[0], {**ROWS[1], "area": "wide"}]).json()
    assert answer == {
        "error": 'Row 2 has "wide" in the column "area"; give a number, or null.', "row": 2, "column": "area",
    }  # fmt: skip
    broken = ask(price_app(), "[1,\n 2,,]").json()
    assert (broken["line"], broken["column"], broken["position"]) == (2, 4, 7)


def test_text_of_any_kind_is_echoed_as_ascii() -> None:
    response = ask(price_app(), '[{"\\ud800\u00e9": 1}]')
    assert "no column" in error_of(response, 422)
    assert response.content.isascii()


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda text: text.replace("Porto", "Lisbon"), None),
        (lambda text: text.replace("town", "city"), "The body has the column \"city\", which the model does not have"),
        (lambda text: text + "1,2\n", "The body has 2 values in line 22, but the table has 9 columns"),
        (lambda text: text.partition("\n")[2], "which the model does not have; the first line must contain the names"),
        (lambda text: text.replace(",1.0,", ",perhaps,"), "The column 'rooms' contains numbers, but row"),
        (lambda text: "area\n", "no rows"),
        (lambda text: "", "The body is empty"),
        (lambda text: text.replace("no 1,", 'no 1,"'), "quotation mark"),
        (lambda text: "," * 100_000 + "\n1", "The body has 100,001 columns in its first line"),
        (lambda text: "# made today\n" + "," * 100_000 + "\n1", "The body has 100,001 columns in its first line"),
        (lambda text: '"\n"' + "," * 100_000 + "\n1", "The body has 100,001 columns in its first line"),
        (lambda text: text.partition("\n")[0] + "\n" + "1," * 100_000, "The body has 100001 values in line 2"),
        (lambda text: "area\n5\n", "table has no columns 'rooms', 'garden', 'town', 'zone', 'new' and 1 more, which"),
    ],
    ids=["unknown category", "column", "ragged", "no header", "word", "no rows", "empty", "quote", "wide",
         "wide behind a comment", "wide behind a quote", "wide row", "missing"],
)  # fmt: skip
def test_csv_that_does_not_fit_is_refused(change: Callable[[str], str], sentence: str | None) -> None:
    response = ask(price_app(), change(NEW.to_csv(index=False)), headers=CSV)
    if sentence is None:
        assert response.status_code == 200
    else:
        assert sentence in error_of(response, 422)


@pytest.mark.parametrize(
    ("headers", "sentence"),
    [
        ({"content-type": "application/x-www-form-urlencoded"}, "is 'application/x-www-form-urlencoded'; send appl"),
        ({}, "The Content-Type is missing; send application/json or text/csv (with curl: -H"),
        ({**JSON, "content-encoding": "gzip"}, "Compressed bodies are not supported"),
        ({"content-type": "text/csv; charset=latin-1"}, "The charset is latin-1; send the text in UTF-8."),
    ],
    ids=["form", "none", "gzip", "latin-1"],
)
def test_another_kind_of_body_is_refused(headers: dict[str, str], sentence: str) -> None:
    assert sentence in error_of(ask(price_app(), b"{}", headers=headers), 415)


def test_limits_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    app = price_app(rows=10, body_bytes=3000)
    read: list[int] = []

    def noting_parse(*arguments: Any, **settings: Any) -> pd.DataFrame:
        frame = parse_text_table(*arguments, **settings)
        read.append(len(frame))
        return frame

    monkeypatch.setattr(service, "parse_text_table", noting_parse)
    sentence = "The body has more than 10 rows; send fewer rows in one request."
    assert error_of(ask(app, [{}] * 11), 413) == sentence
    for end in ("\n", "\r\n", "\r"):
        assert error_of(ask(app, "area" + end + ("1" + end) * 900, headers=CSV), 413) == sentence
    assert error_of(ask(build_app(DIGIT, Limits(rows=10)), ("1," * 11 + "1\r") * 11, headers=CSV), 413) == sentence
    assert set(read) == {11}, "enough to know"
    response = ask(app, ROWS)
    assert "larger than 3,000 bytes" in error_of(response, 413)
    assert response.headers["connection"] == "close"


def test_line_breaks_within_cells_are_no_rows() -> None:
    table = NEW.assign(id="a\nb\n")
    assert ask(price_app(rows=len(NEW)), table.to_csv(index=False), headers=CSV).status_code == 200


def test_a_body_without_a_length_is_refused_while_it_is_read() -> None:
    app = price_app(body_bytes=10_000)
    sent = 0

    async def main() -> httpx.Response:
        async def endless() -> Any:
            nonlocal sent
            while sent < 10**7:
                sent += 1000
                yield b"[" * 1000

        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://model") as client:
            return await client.post("/predict", content=endless(), headers=JSON)

    assert "larger than 10,000 bytes" in error_of(asyncio.run(main()), 413)
    assert sent < 20_000


def predict_scope() -> dict[str, Any]:
    headers = [(b"content-type", b"application/json")]
    return {"type": "http", "method": "POST", "path": "/predict", "headers": headers, "query_string": b""}


def once(body: bytes) -> Callable[[], Any]:
    async def receive() -> Any:
        return {"type": "http.request", "body": body, "more_body": False}

    return receive


async def call(app: Starlette, receive: Callable[[], Any]) -> list[dict[str, Any]]:
    """Call the application as a server does, with a client that sends what it likes."""
    sent: list[dict[str, Any]] = []

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": "/predict", "raw_path": b"/predict", "query_string": b"",
             "headers": [(b"content-type", b"application/json")], "http_version": "1.1", "scheme": "http",
             "server": ("model", 80), "client": ("me", 1), "root_path": ""}  # fmt: skip
    await app(scope, receive, send)  # type: ignore[arg-type]
    return sent


def test_a_slow_body_is_given_up() -> None:
    async def receive() -> Any:
        await asyncio.sleep(0.01)
        return {"type": "http.request", "body": b"[", "more_body": True}

    start, body = asyncio.run(call(price_app(body_seconds=0.1), receive))
    assert start["status"] == 408
    assert b"longer than 0.1 seconds" in body["body"]
    assert (b"connection", b"close") in start["headers"]


def test_all_bodies_together_are_bounded_and_forgotten() -> None:
    app = price_app(all_body_bytes=3000, body_bytes=2000)
    held = asyncio.Event()

    async def main() -> None:
        async def stalled() -> Any:
            if held.is_set():
                await asyncio.sleep(10)
            held.set()
            return {"type": "http.request", "body": b"[" * 2000, "more_body": True}

        async def whole() -> Any:
            return {"type": "http.request", "body": b" " * 1500 + b"[]", "more_body": False}

        first = asyncio.create_task(call(app, stalled))
        await held.wait()
        await asyncio.sleep(0)
        refused = await call(app, whole)
        assert refused[0]["status"] == 503
        assert (b"retry-after", b"1") in refused[0]["headers"]
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        assert (await call(app, whole))[0]["status"] == 422, "the bytes of the first are free again"

    asyncio.run(main())


class NotedPiece(bytes):
    """A piece of a body, that says whether anything still holds it."""

    alive = 0

    def __new__(cls, piece: bytes) -> Self:
        cls.alive += 1
        return super().__new__(cls, piece)

    def __del__(self) -> None:
        type(self).alive -= 1


def wait_until(condition: Callable[[], bool]) -> None:
    """What another thread has in hand it forgets in its own time."""
    for _ in range(10_000):
        if condition():
            return
        time.sleep(0.01)


@pytest.mark.parametrize("n_pieces", [1, 3])
@pytest.mark.parametrize(("cell", "status"), [("null", 200), ('"wrong"', 422)], ids=["answer", "error"])
def test_a_slow_client_keeps_nothing_of_its_body(
    n_pieces: int, cell: str, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = json.dumps(ROWS * 100).replace("null", cell).encode()
    size = -(-len(body) // n_pieces)
    starts = list(range(0, len(body), size))
    alive: list[int] = []
    statuses: list[Any] = []
    all_inputs: list[weakref.ref[Array]] = []
    predict, render = PRICE.network.predict, service.render

    def noting_outputs(inputs: Array) -> Array:
        all_inputs.append(weakref.ref(inputs))
        wait_until(lambda: not NotedPiece.alive)
        alive.append(NotedPiece.alive)
        return predict(inputs)

    def noting_render(*arguments: Any) -> bytes:
        wait_until(lambda: all_inputs[0]() is None)
        alive.append(all_inputs[0]() is not None)
        return render(*arguments)

    monkeypatch.setattr(PRICE.network, "predict", noting_outputs)
    monkeypatch.setattr(service, "render", noting_render)

    async def receive() -> Any:
        if not starts:
            await asyncio.Event().wait()  # the client stays
        start = starts.pop(0)
        return {"type": "http.request", "body": NotedPiece(body[start : start + size]), "more_body": bool(starts)}

    async def send(message: Any) -> None:
        await asyncio.to_thread(wait_until, lambda: not NotedPiece.alive)
        alive.append(NotedPiece.alive)
        statuses.append(message.get("status"))

    asyncio.run(price_app()(predict_scope(), receive, send))  # type: ignore[arg-type]
    assert statuses[0] == status
    assert set(alive) == {0}


def test_between_two_pieces_of_an_answer_the_loop_goes_round() -> None:
    """Or a client that has gone would be noticed after the last of them, and not before."""
    rounds: list[None] = []
    seen: list[int] = []

    async def send(message: Any) -> None:
        seen.append(len(rounds))
        asyncio.get_running_loop().call_soon(rounds.append, None)

    body = json.dumps([[0.5] * 12] * 2000).encode()
    asyncio.run(build_app(DIGIT)(predict_scope(), once(body), send))  # type: ignore[arg-type]
    assert len(seen) > 4
    assert seen[2:] == list(range(2, len(seen)))


@pytest.mark.parametrize(("more", "status"), [(500, 422), (-500, 503)], ids=["room", "no room"])
def test_predictions_that_wait_to_be_written_are_counted(
    more: int, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    writing, may_write = threading.Event(), threading.Event()

    def slow_render(*arguments: Any) -> bytes:
        writing.set()
        may_write.wait(10)
        return b"{}"

    monkeypatch.setattr(service, "render", slow_render)
    n_bytes, predictions = 100_000, 500 * 10 * 4
    good = json.dumps([[0] * 12] * 500).encode().ljust(n_bytes)
    bad = json.dumps([["x"] * 12] * 500).encode().ljust(n_bytes)
    app = build_app(DIGIT, Limits(all_body_bytes=n_bytes + predictions + more))

    async def main() -> None:
        first = asyncio.create_task(call(app, once(good)))
        await asyncio.to_thread(writing.wait, 10)
        assert (await call(app, once(bad)))[0]["status"] == status
        may_write.set()
        assert (await first)[0]["status"] == 200
        assert (await call(app, once(good)))[0]["status"] == 200

    asyncio.run(main())


def test_a_client_that_has_gone_is_counted_and_not_answered() -> None:
    app = price_app()

    async def gone() -> Any:
        return {"type": "http.disconnect"}

    assert asyncio.run(call(app, gone)) == []
    assert 'path="/predict",status="499"} 1' in ask(app, path="/metrics").text


def test_a_full_queue_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    app = price_app(waiting_rows=1)

    async def main() -> list[httpx.Response]:
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://model") as client:
            return await asyncio.gather(*(client.post("/predict", json=ROWS) for _ in range(3)))

    responses = asyncio.run(main())
    assert sorted(response.status_code for response in responses) == [200, 503, 503]
    assert "20 rows are waiting; try again" in error_of(responses[1], 503)
    assert ask(app, ROWS).status_code == 200


def test_a_prediction_that_is_not_finite_is_refused() -> None:
    model = price_model()
    model.network.stack.vector.values[:] = np.inf
    assert "Row 1 has no finite prediction" in error_of(ask(build_app(model), ROWS), 422)


def test_work_for_a_client_that_has_gone_is_given_up() -> None:
    app = price_app()
    service = app.routes[0].endpoint._service  # type: ignore[attr-defined]
    begun, ended = asyncio.Event(), []

    async def wait_for_ever(inputs: Any, alpha: Any) -> Any:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(True)

    service.predict = wait_for_ever

    async def main() -> list[Any]:
        messages = [{"type": "http.request", "body": json.dumps(ROWS[0]).encode(), "more_body": False}]

        async def receive() -> Any:
            if messages:
                return messages.pop()
            await begun.wait()
            return {"type": "http.disconnect"}

        sent: list[Any] = []

        async def send(message: Any) -> None:
            sent.append(message)

        headers = [(name.encode(), value.encode()) for name, value in JSON.items()]
        scope = {"type": "http", "method": "POST", "path": "/predict", "query_string": b"", "headers": headers}
        await app(scope, receive, send)
        return sent

    assert asyncio.run(main()) == []
    assert ended == [True]


def test_an_application_can_be_started_again() -> None:
    app = price_app()

    async def live() -> int:
        transport = httpx.ASGITransport(app=app)
        client = httpx.AsyncClient(transport=transport, base_url="http://model")
        async with app.router.lifespan_context(app), client:
            return (await client.post("/predict", content=NEW.to_csv(index=False), headers=CSV)).status_code

    for _ in range(2):
        assert asyncio.run(live()) == 200


def test_a_failure_of_ours_is_one_answer_and_the_server_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    model = price_model()
    app = build_app(model)
    monkeypatch.setattr(model.network, "predict", lambda inputs: 1 / 0)

    async def main() -> httpx.Response:
        transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://model") as client:
            return await client.post("/predict", json=ROWS[0])

    response = asyncio.run(main())
    assert "An error occurred in the server" in error_of(response, 500)
    assert response.headers["connection"] == "close", "uvicorn closes it, and the client should know"
    monkeypatch.undo()
    assert ask(app, ROWS[0]).status_code == 200
    assert 'status="500"} 1' in ask(app, path="/metrics").text


def test_addresses_and_methods_that_are_not_there() -> None:
    app = price_app()
    assert "the paths are /predict, /, /schema" in error_of(ask(app, path="/nothing"), 404)
    assert "the paths are" in error_of(ask(app, {}, path="/predict/"), 404)
    response = ask(app, path="/predict")
    assert error_of(response, 405) == "/predict accepts only POST."
    assert response.headers["allow"] == "POST"
    assert error_of(ask(app, {}, path="/health"), 405) == "/health accepts only GET and HEAD."
    text = ask(app, path="/metrics").text
    assert 'requests_total{path="other",status="404"} 2' in text
    assert "nothing" not in text


# What it says of itself ----------------------------------------------------------------------------------------------


def test_the_schema_is_that_of_the_model() -> None:
    schema = ask(price_app(rows=7), path="/schema").json()
    assert (schema["task"], schema["target"], schema["input"]) == ("regression", "price", "table")
    columns = {column["name"]: column for column in schema["columns"]}
    assert list(columns) == ["area", "rooms", "garden", "town", "zone", "new", "built"]
    table = sale_table()
    assert columns["area"]["mean"] == pytest.approx(table["area"].mean())
    assert columns["area"]["standard_deviation"] == pytest.approx(table["area"].std(ddof=0))
    assert columns["rooms"]["missing"] == table["rooms"].median()
    assert columns["town"]["categories"] == ["Braga", "Faro", "Porto"]
    assert columns["town"]["missing"] == "a separate category"
    assert columns["built"]["type"] == "date"
    assert [one["name"] for one in schema["ignored"]] == ["id", "country", "price"]
    assert schema["limits"]["rows"] == 7
    assert ask(build_app(SOLD), path="/schema").json()["classes"] == ["no", "perhaps"]
    digits = ask(build_app(DIGIT), path="/schema").json()
    assert (digits["shape"], digits["classes"]) == ([12], list(range(10)))
    assert digits["class_names"][3] == "digit 3"
    ranged = ask(build_app(price_model(scaling="range")), path="/schema").json()["columns"][0]
    assert (ranged["minimum"], ranged["maximum"]) == pytest.approx((table["area"].min(), table["area"].max()))


def resolve(document: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    while "$ref" in schema:
        found: Any = document
        for part in schema["$ref"].removeprefix("#/").split("/"):
            found = found[part]
        schema = found
    return schema


TYPES = {"number": (int, float), "integer": (int,), "string": (str,), "boolean": (bool,), "null": (type(None),),
         "object": (dict,), "array": (list,)}  # fmt: skip


def fits(document: dict[str, Any], schema: dict[str, Any], value: Any) -> bool:
    """The part of JSON Schema that the document uses."""
    schema = resolve(document, schema)
    if "anyOf" in schema:
        return any(fits(document, one, value) for one in schema["anyOf"])
    if "const" in schema or "enum" in schema:
        return value in schema.get("enum", [schema.get("const")])
    allowed = schema.get("type", list(TYPES))
    kinds = tuple(kind for name in ([allowed] if isinstance(allowed, str) else allowed) for kind in TYPES[name])
    if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
        return False
    if isinstance(value, dict):
        properties = schema.get("properties", {})
        return (
            all(name in value for name in schema.get("required", ()))
            and (schema.get("additionalProperties", True) or set(value) <= set(properties))
            and all(fits(document, properties[name], one) for name, one in value.items() if name in properties)
        )
    if isinstance(value, list):
        places = schema.get("prefixItems", [schema.get("items", {})] * len(value))
        return schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", 10**9) and all(
            fits(document, place, one) for place, one in zip(places, value, strict=False)
        )
    return not isinstance(value, int | float) or schema.get("minimum", value) <= value <= schema.get("maximum", value)


@pytest.mark.parametrize("model", [PRICE, SOLD, CHOICE, DIGIT], ids=["price", "two", "three", "digit"])
def test_openapi_is_true_to_what_is_taken_and_given(model: Model) -> None:
    app = build_app(model)
    document = ask(app, path="/openapi.json").json()
    assert document["openapi"] == "3.1.0"
    assert set(document["paths"]) == {"/predict", "/schema", "/health", "/metrics"}
    operation = document["paths"]["/predict"]["post"]
    body = operation["requestBody"]["content"]["application/json"]
    answers = {
        status: answer["content"]["application/json"]["schema"] for status, answer in operation["responses"].items()
    }
    row: Any = ROWS[0] if model.table else [0.5] * 12
    example = body["example"]["rows"][0]
    other: list[Any] = [row, [row, row], {"rows": [row]}, body["example"], [example], 5, [], {"rows": []}, {}, [[]]]
    if isinstance(row, dict):
        for change in ({"area": "big"}, {"area": None}, {"colour": 1}, {"town": 5}, {"town": []}, {"garden": False}):
            other.append([{**row, **change}])
        other += [{"area": 5}, [list(example.values())], [list(example.values())[1:]]]
    else:
        other += [[[0.5] * 11], [["a"] * 12], [[None] * 12]]
    statuses = set()
    for value in other:
        response = ask(app, value)
        statuses.add(response.status_code)
        assert fits(document, body["schema"], value) == (response.status_code == 200), value
        assert fits(document, answers[str(response.status_code)], response.json())
    assert statuses == {200, 422}


def test_the_page_shows_the_columns_and_loads_nothing() -> None:
    model = sold_model()
    assert model.table is not None
    model.target_name = "<script>alert(1)</script>"
    response = ask(build_app(model), path="/", headers={"host": "model.example:1234"})
    assert response.headers["content-type"].startswith("text/html")
    assert "default-src 'none'" in response.headers["content-security-policy"]
    page = response.text
    for part in ("area", "Braga, Faro, Porto", "no, perhaps", "curl -s http://model.example:1234/predict"):
        assert part in page
    assert "<script" not in page
    assert not re.findall(r"(?:src|href)=['\"]?(?:https?:|//)", page)


def test_the_example_of_the_page_is_a_request_that_works() -> None:
    for model in (PRICE, SOLD, DIGIT):
        app = build_app(model)
        example = ask(app, path="/openapi.json").json()["paths"]["/predict"]["post"]["requestBody"]["content"]
        assert ask(app, example["application/json"]["example"]).status_code == 200


def test_health_and_metrics() -> None:
    app = price_app()
    assert ask(app, path="/health").json() == {"status": "ok"}
    ask(app, ROWS)
    ask(app, "{")
    text = ask(app, path="/metrics").text
    samples = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    assert samples['chainrule_requests_total{path="/predict",status="200"}'] == "1"
    assert samples['chainrule_requests_total{path="/predict",status="400"}'] == "1"
    assert samples["chainrule_rows_total"] == "20"
    assert samples["chainrule_predict_seconds_count"] == samples['chainrule_predict_seconds_bucket{le="+Inf"}'] == "2"
    assert samples['chainrule_batch_rows_bucket{le="16"}'] == "0"
    assert samples['chainrule_batch_rows_bucket{le="32"}'] == samples["chainrule_batch_rows_count"] == "1"
    assert samples["chainrule_batch_rows_sum"] == "20.0"
    assert all(re.fullmatch(r'[a-z_]+(\{[a-z]+="[^"]+"(,[a-z]+="[^"]+")*\})? [\d.e+-]+', line)
               for line in text.splitlines() if not line.startswith("#"))  # fmt: skip


def test_the_schema_is_json_that_a_strict_reader_takes() -> None:
    for path in ("/schema", "/openapi.json", "/health"):
        json.loads(ask(price_app(), path=path).content, parse_constant=pytest.fail)
