"""Models to serve, of each kind, and a client in the same process."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any

import httpx
import numpy as np
import pandas as pd
from starlette.applications import Starlette

from chainrule.architecture import build_network
from chainrule.data import Dataset, TablePreprocessor, Target
from chainrule.model import Model, TargetScaling

__all__ = ["JSON", "as_rows", "ask", "digit_model", "price_model", "sale_preprocessor", "sale_table", "sold_model"]

JSON = {"content-type": "application/json"}


def sale_table(n_rows: int = 120, seed: int = 0) -> pd.DataFrame:
    """Numbers, booleans, categories of two and of more values, codes and dates; gaps in some; an id; a constant."""
    rng = np.random.default_rng(seed)
    table = pd.DataFrame(
        {
            "id": [f"no {number}" for number in range(n_rows)],
            "area": rng.normal(100, 20, n_rows),
            "rooms": rng.integers(1, 8, n_rows).astype(float),
            "garden": rng.random(n_rows) > 0.5,
            "town": rng.choice(["Porto", "Faro", "Braga"], n_rows),
            "zone": rng.integers(1, 5, n_rows),
            "new": rng.choice(["yes", "no"], n_rows),
            "built": pd.date_range("1990-01-31", periods=n_rows, freq="37h").strftime("%Y-%m-%dT%H:%M:%SZ"),
            "country": "Portugal",
        }
    )
    table.loc[3::10, "rooms"] = np.nan
    table.loc[4::10, "town"] = None
    table.loc[5::10, "built"] = None
    return table


def sale_preprocessor(table: pd.DataFrame, **options: Any) -> TablePreprocessor:
    return TablePreprocessor(categorical=["zone"], **options).fit(table)


def price_model(table: pd.DataFrame | None = None, **options: Any) -> Model:
    """A regression on the table of sales, hardly trained."""
    table = sale_table() if table is None else table
    price = 2000 * table["area"] + 50_000 * table["garden"]
    preprocessor = sale_preprocessor(table, **options)
    X, target, scaling = preprocessor.transform(table), Target.detect(price), TargetScaling.learn(price.to_numpy())
    network = build_network(X.shape[1], target, hidden=(16,), epochs=3, seed=0)
    network.fit(Dataset(X, scaling.apply(price.to_numpy()), task="regression"))
    return Model(network, target, preprocessor, scaling, "price")


def sold_model(n_classes: int = 2) -> Model:
    """Classes on the table of sales."""
    table = sale_table()
    labels = np.array(["no", "perhaps", "yes"])[np.arange(len(table)) % n_classes]
    preprocessor = sale_preprocessor(table)
    data = Dataset(preprocessor.transform(table), labels)
    assert data.target is not None
    network = build_network(data.n_features, data.target, hidden=(16,), epochs=3, seed=0).fit(data)
    return Model(network, data.target, preprocessor, None, "sold")


def digit_model() -> Model:
    """Images of 4 x 3 pixels, flattened, and ten classes."""
    rng = np.random.default_rng(0)
    data = Dataset(rng.random((60, 12)), np.arange(60) % 10)
    assert data.target is not None
    network = build_network(12, data.target, hidden=(8,), epochs=2, seed=0).fit(data)
    return Model(network, data.target, notes={"label_names": [f"digit {code}" for code in range(10)]})


def ask(app: Starlette, body: Any = None, path: str = "/predict", headers: Mapping[str, str] = JSON) -> httpx.Response:
    """Send one request to an application in this process: a POST of a body, or a GET without one."""

    async def send() -> httpx.Response:
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://model") as client:
            if body is None:
                return await client.get(path, headers=headers)
            content = body if isinstance(body, bytes | str) else json.dumps(body)
            return await client.post(path, content=content, headers=headers)

    return asyncio.run(send())


def as_rows(table: pd.DataFrame) -> list[dict[str, Any]]:
    """The rows as a client writes them, missing cells as null."""
    rows: list[dict[str, Any]] = json.loads(table.to_json(orient="records", double_precision=15))
    return rows
