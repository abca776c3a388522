"""A pipeline of scikit-learn served with FastAPI, with pydantic models for the row and the answer.

uvicorn runs it with httptools and one worker. The endpoint is an ``async def``, which avoids a switch to another
thread. The answer is a pydantic model, which FastAPI serialises without Python code. scikit-learn does not check
parameters and finite numbers. The input of the pipeline is a data frame of one row or, with ``SERVED_FORM=array``, an
array of objects, which is faster.

The pipeline is read from the file ``SERVED_MODEL``, which ``train`` writes.
"""

from __future__ import annotations

import os
import pickle
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import sklearn
from census import NUMBERS, WORDS
from fastapi import FastAPI
from pydantic import BaseModel
from sklearn.compose import ColumnTransformer
from sklearn.exceptions import ConvergenceWarning
from sklearn.impute import SimpleImputer
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler


class Row(BaseModel):
    """The request."""

    age: float | None
    hours: float | None
    schooling: float | None
    gain: float | None
    loss: float | None
    savings: float | None
    children: float | None
    distance: float | None
    work: str | None
    marriage: str | None
    occupation: str | None
    region: str | None


class Answer(BaseModel):
    """The answer."""

    prediction: str
    probabilities: dict[str, float]


def table_form(rows: list[dict[str, Any]], form: str) -> Any:
    """Return rows as a data frame, or as an array of objects in the order of the columns."""
    if form == "frame":
        return pd.DataFrame(rows, columns=[*NUMBERS, *WORDS])
    return np.array([list(row.values()) for row in rows], dtype=object)


def train(rows: list[dict[str, Any]], labels: list[str], hidden: tuple[int, ...], form: str, path: Path) -> None:
    """Fit a pipeline on the rows, and write it."""
    numbers: Any = NUMBERS if form == "frame" else list(range(len(NUMBERS)))
    words: Any = WORDS if form == "frame" else list(range(len(NUMBERS), len(NUMBERS) + len(WORDS)))
    preprocessing = ColumnTransformer(
        [
            ("numbers", make_pipeline(SimpleImputer(strategy="median"), StandardScaler()), list(numbers)),
            ("words", OneHotEncoder(handle_unknown="ignore", sparse_output=False), list(words)),
        ]
    )
    network = MLPClassifier(hidden, batch_size=256, learning_rate_init=0.003, max_iter=8, random_state=0, tol=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # the number of epochs is fixed
        pipeline = make_pipeline(preprocessing, network).fit(table_form(rows, form), labels)
    path.write_bytes(pickle.dumps(pipeline))


def build() -> FastAPI:
    """Return the service."""
    sklearn.set_config(assume_finite=True, skip_parameter_validation=True)
    form = os.environ.get("SERVED_FORM", "frame")
    pipeline = pickle.loads(Path(os.environ["SERVED_MODEL"]).read_bytes())
    classes = [str(label) for label in pipeline.classes_]
    names = [*NUMBERS, *WORDS]
    app = FastAPI()

    @app.post("/predict")
    async def predict(row: Row) -> Answer:
        if form == "frame":
            inputs: Any = pd.DataFrame([row.model_dump()], columns=names)
        else:
            values = row.__dict__  # the fields without a copy
            inputs = np.empty((1, len(names)), dtype=object)
            inputs[0] = [values[name] for name in names]
        probabilities = pipeline.predict_proba(inputs)[0]
        return Answer(
            prediction=classes[probabilities.argmax()],
            probabilities=dict(zip(classes, probabilities.tolist(), strict=True)),
        )

    return app
