"""Compare the scores on three messy tables with those on the same tables cleaned by hand.

The tables are generated: members of a gym (dates with the day first, amounts of money, spellings of yes and no, missing
cells, missing targets), flats for sale (semicolons, decimal commas, Windows-1252, currency after the price, a word for
an unknown year) and pumps (a time series for each machine, -999 for a broken sensor, row numbers). The functions
``clean_...`` contain the cleaning with pandas that the files need.

    OMP_NUM_THREADS=1 python benchmarks/messy_tables.py
"""

from __future__ import annotations

import contextlib
import io
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

import chainrule

RESULT = Path(__file__).parent / "results" / "messy_tables.md"
SEEDS = range(5)


def write_members(path: Path, n: int = 3000) -> None:
    rng = np.random.default_rng(11)
    joined = np.datetime64("2018-05-01") + rng.integers(0, 1800, n)
    plan = rng.choice(["Basic", "basic", "Plus", "Premium"], n, p=[0.35, 0.1, 0.35, 0.2])
    usual = pd.Series(plan).str.lower().map({"basic": 25, "plus": 60, "premium": 950}).to_numpy()
    fee = usual * rng.lognormal(0, 0.15, n)
    visits = rng.poisson(5, n).astype(float)
    last = np.datetime64("2023-06-01T00:00:00") - (rng.exponential(12, n) * 86_400).astype("timedelta64[s]")
    trainer = rng.choice(["yes", "Yes", "no", "NO", ""], n)
    has_trainer = np.char.lower(trainer) == "yes"
    idle_days = (np.datetime64("2023-06-01") - last) / np.timedelta64(1, "D")
    years = (np.datetime64("2023-06-01") - joined) / np.timedelta64(365, "D")
    score = 0.9 - 0.45 * visits + 0.07 * idle_days - 0.5 * has_trainer - 0.3 * years + 0.0012 * fee
    left = np.where(rng.random(n) < 1 / (1 + np.exp(-score)), "Yes", "No").astype(object)
    left[rng.choice(n, 50, replace=False)] = ""
    visits[rng.choice(n, 200, replace=False)] = np.nan
    day_first = pd.Series(joined).dt.strftime("%d/%m/%Y")
    pd.DataFrame({
        "member_no": [f"GYM-{k:05d}" for k in rng.permutation(n)],
        "joined": day_first,
        "plan": plan,
        "yearly_fee": [f"£{amount:,.2f}" for amount in fee],
        "visits_per_month": visits,
        "trainer": trainer,
        "mobile": [f"+44 7{k}" for k in rng.choice(10**9, n, replace=False)],
        "last_visit": pd.Series(last).dt.strftime("%Y-%m-%d %H:%M:%S"),
        "rating": rng.choice(["1", "2", "3", "4", "5", "n/a", "-"], n),
        "left": left,
    }).to_csv(path, index=False)  # fmt: skip


def clean_members(path: Path) -> pd.DataFrame:
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    table = table[table["left"] != ""].drop(columns=["member_no", "mobile"])
    table["joined"] = pd.to_datetime(table["joined"], format="%d/%m/%Y")
    table["last_visit"] = pd.to_datetime(table["last_visit"])
    table["plan"] = table["plan"].str.lower()
    table["yearly_fee"] = table["yearly_fee"].str.lstrip("£").str.replace(",", "").astype(float)
    table["visits_per_month"] = pd.to_numeric(table["visits_per_month"])
    table["trainer"] = table["trainer"].str.lower().replace("", None)
    table["rating"] = pd.to_numeric(table["rating"], errors="coerce")
    return table.reset_index(drop=True)


def write_flats(path: Path, n: int = 2000) -> None:
    rng = np.random.default_rng(12)
    size = rng.gamma(7, 12, n) + 25
    town = rng.choice(["Cádiz", "León", "Málaga", "Ávila"], n)
    per_metre = pd.Series(town).map({"Cádiz": 2300, "León": 1500, "Málaga": 3600, "Ávila": 1300}).to_numpy()
    year = rng.integers(1930, 2023, n)
    lift = rng.choice(["sí", "no"], n)
    price = size * per_metre * (1 + 0.002 * (year - 1975)) * np.where(lift == "sí", 1.06, 1) * rng.lognormal(0, 0.07, n)
    number = [f"{amount:,.0f}".replace(",", ".") for amount in price]
    known = [str(value) if rng.random() > 0.1 else "s/d" for value in year]
    table = pd.DataFrame({
        "nº": range(1, n + 1),
        "descripción": [f"Piso luminoso de {metres:.0f} metros, referencia {k}" for k, metres in enumerate(size)],
        "superficie (m²)": [f"{metres:.1f}".replace(".", ",") for metres in size],
        "ciudad": town,
        "año": known,
        "certificado": rng.choice([*"ABCDEFG", ""], n),
        "ascensor": lift,
        "precio": [f"{text} €" for text in number],
    })  # fmt: skip
    table.to_csv(path, index=False, sep=";", encoding="cp1252")


def clean_flats(path: Path) -> pd.DataFrame:
    table = pd.read_csv(path, sep=";", encoding="cp1252", decimal=",", dtype={"año": str}, keep_default_na=False)
    table = table.drop(columns=["nº", "descripción"])
    table["año"] = pd.to_numeric(table["año"], errors="coerce")
    table["certificado"] = table["certificado"].replace("", None)
    table["precio"] = table["precio"].str.removesuffix(" €").str.replace(".", "").astype(float)
    return table


def write_pumps(path: Path, n_machines: int = 24, n_steps: int = 250) -> None:
    rng = np.random.default_rng(13)
    pieces = []
    for machine in range(n_machines):
        share = np.linspace(0, 1, n_steps) * rng.uniform(0.5, 1.3)
        pieces.append(
            pd.DataFrame({
                "measured_at": pd.date_range("2024-02-01", periods=n_steps, freq="15min"),
                "pump": f"P-{machine + 1:03d}",
                "temperature": (55 + 9 * share + rng.normal(0, 1.5, n_steps)).round(2),
                "vibration": (0.15 + 0.7 * share**2 + rng.normal(0, 0.05, n_steps)).round(4),
                "flow": (120 - 25 * share + rng.normal(0, 6, n_steps)).round(1),
                "mode": rng.choice(["AUTO", "MANUAL"], n_steps, p=[0.9, 0.1]),
                "hours_left": ((1.4 - share) * 150 + rng.normal(0, 6, n_steps)).clip(0).round(1),
            })
        )  # fmt: skip
    table = pd.concat(pieces, ignore_index=True)
    table.loc[rng.choice(len(table), 250, replace=False), "temperature"] = np.nan
    table.loc[rng.choice(len(table), 40, replace=False), "vibration"] = -999
    table.to_csv(path)


def clean_pumps(path: Path) -> pd.DataFrame:
    table = pd.read_csv(path, index_col=0, parse_dates=["measured_at"])
    table["vibration"] = table["vibration"].replace(-999, np.nan)
    return table


class Messy(NamedTuple):
    name: str
    write: Callable[[Path], None]
    clean: Callable[[Path], pd.DataFrame]
    target: str
    options: dict[str, Any]
    metric: str


TABLES = (
    Messy("members.csv", write_members, clean_members, "left", {"drop_missing_target": True}, "roc_auc"),
    Messy("flats.csv", write_flats, clean_flats, "precio", {}, "r2"),
    Messy("pumps.csv", write_pumps, clean_pumps, "hours_left", {"group": "pump"}, "r2"),
)


def scores(table: Messy, source: Path | pd.DataFrame) -> tuple[list[float], list[float]]:
    """Return the metric of the network and of the best baseline for each seed."""
    network, baseline = [], []
    for seed in SEEDS:
        result = chainrule.train(source, table.target, seed=seed, verbose=False, **table.options)
        network.append(result.metrics[table.metric])
        baseline.append(max(one.metrics[table.metric] for one in result.baselines))
    return network, baseline


def shown(values: list[float]) -> str:
    return f"{np.mean(values):.4f} ± {np.std(values):.4f}"


def columns_as_printed(table: Messy, path: Path) -> str:
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        chainrule.train(path, table.target, epochs=1, **table.options)
    return printed.getvalue().split("\nnetwork ")[0]


def main() -> None:
    lines = [
        "# Messy tables",
        "",
        "Written by `python benchmarks/messy_tables.py`, which generates the tables, trains with `chainrule.train`,",
        "and trains on the same rows after cleaning by hand. Metric of the test rows, mean and standard deviation over",
        "five seeds. For each seed, both have the same split.",
        "",
        "| table | metric | unchanged | cleaned by hand | best baseline, unchanged | best baseline, cleaned |",
        "|---|---|---|---|---|---|",
    ]
    pages = []
    with tempfile.TemporaryDirectory() as folder:
        for table in TABLES:
            path = Path(folder) / table.name
            table.write(path)
            messy, clean = scores(table, path), scores(table, table.clean(path))
            cells = [table.name, table.metric, shown(messy[0]), shown(clean[0]), shown(messy[1]), shown(clean[1])]
            lines.append("| " + " | ".join(cells) + " |")
            print(lines[-1], flush=True)
            first_rows = path.read_bytes().decode("cp1252" if "flats" in table.name else "utf-8").splitlines()[:4]
            pages += [
                "",
                f"## {table.name}",
                "",
                "```text",
                *first_rows,
                "```",
                "",
                "Output of `chainrule train`:",
                "",
            ]
            pages += ["```text", columns_as_printed(table, path), "```"]
    RESULT.write_text("\n".join([*lines, *pages]) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
