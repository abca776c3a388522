"""The list of tables of benchmarks/tables: that it is what the comparison needs. The data are not read here."""

import importlib.util
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parents[1] / "benchmarks" / "tables"


@pytest.fixture(scope="module")
def collection():
    spec = importlib.util.spec_from_file_location("collection", FOLDER / "collection.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["collection"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    yield module
    del sys.modules["collection"]


def test_every_table_is_named_once_and_read_once(collection):
    for attribute in ("name", "source"):
        values = [getattr(table, attribute) for table in collection.TABLES]
        assert len(set(values)) == len(values), attribute


def test_the_development_tables_cover_sizes_and_tasks(collection):
    tables = [table for table in collection.TABLES if not table.confirm]
    assert len(tables) >= 25
    assert sum(table.n_rows < 1000 for table in tables) >= len(tables) / 3
    assert all(250 <= table.n_rows <= 50_000 for table in tables)
    for task in ("binary", "multiclass", "regression"):
        assert sum(table.task == task for table in tables) >= 5, task


def test_the_confirmation_tables_are_others_and_as_varied(collection):
    tables = [table for table in collection.TABLES if table.confirm]
    assert len(tables) >= 10
    assert {table.task for table in tables} == {"binary", "multiclass", "regression"}
    assert min(table.n_rows for table in tables) < 1000 < max(table.n_rows for table in tables)


def test_a_table_is_found_by_name(collection):
    assert collection.find("adult").n_rows == 48842
    with pytest.raises(collection.TableError, match="no table 'nothing'"):
        collection.find("nothing")


def test_every_source_has_a_reader_and_no_target_is_dropped(collection):
    for table in collection.TABLES:
        assert table.source.split(":")[0] in collection._READERS, table.name
        assert table.target not in table.drop, table.name


def test_a_table_with_other_rows_is_refused(collection, monkeypatch, tmp_path):
    (tmp_path / "boston-housing").mkdir()
    (tmp_path / "boston-housing" / "BostonHousing.csv").write_text("crim,medv\n1,2\n3,4\n")
    monkeypatch.setenv("CHAINRULE_DATA", str(tmp_path))
    with pytest.raises(collection.TableError, match="boston has 2 rows, not the 506 of the list"):
        collection.load(collection.find("boston"))


def test_the_parts_are_disjoint_stratified_and_fixed_by_the_seed(collection):
    import pandas as pd

    classes = pd.Series(["a"] * 80 + ["b"] * 20)
    training, test = collection.divide(classes, "binary", seed=3)
    assert sorted([*training, *test]) == list(range(100))
    assert (classes.iloc[test] == "b").sum() == 4
    assert (collection.divide(classes, "binary", seed=3)[1] == test).all()
    _, test = collection.divide(pd.Series(range(100)), "regression", seed=0)
    assert sorted(pd.Series(test) // 10) == [tenth for tenth in range(10) for _ in range(2)]
