"""Files of models and checkpoints, changed as a stranger or a broken disk would, and opened.

``python -m support.hostile_files 200000`` (from the folder ``tests``) makes so many changes, and prints what became of
them: files that open all the same, and files that are refused with an error of chainrule. Anything else is a failure,
and so is a gigabyte of memory for a file of some kilobytes, or 20 seconds of computing; the changed file is then kept.
"""

from __future__ import annotations

import contextlib
import copy
import json
import random
import resource
import signal
import sys
import tempfile
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from chainrule.activations import PReLUActivation, ReLUActivation, SoftmaxActivation
from chainrule.callbacks import Callback, EarlyStopping, ReduceOnPlateau, TrainingRun
from chainrule.data import Dataset, TablePreprocessor, Target
from chainrule.errors import ChainruleError
from chainrule.files import Checkpoint
from chainrule.layers import (
    BatchNormalizationLayer,
    DenseLayer,
    DropoutLayer,
    LayerNormalizationLayer,
    StandardizationLayer,
)
from chainrule.model import Model, TargetScaling
from chainrule.neuralnet import NeuralNetwork
from chainrule.schedules import CosineDecay, StepDecay, WarmUp
from support.networks import class_rows, network_of, regression_rows

__all__ = ["CASES", "Case", "mutate", "open_hostile", "try_many"]

MOST_BYTES = 2**30
MOST_SECONDS = 20  # of computing, whatever else the machine does

CLASSES, NUMBERS = class_rows(60), regression_rows(60)


class StopSoon(Callback):
    """A checkpoint may ask for any number of epochs."""

    def __init__(self, n_batches: int) -> None:
        self.n_left = n_batches

    def on_batch_end(self, run: TrainingRun) -> None:
        self.n_left -= 1
        if self.n_left <= 0:
            run.interrupt("that will do")


# The files ----------------------------------------------------------------------------------------


def write_network(path: Path) -> None:
    network = network_of(
        StandardizationLayer().adapt(CLASSES.X), DenseLayer(2, weights_initializer="he_normal"),
        BatchNormalizationLayer(), PReLUActivation(), LayerNormalizationLayer(), DropoutLayer(0.1), DenseLayer(3),
        SoftmaxActivation(), loss="categorical_cross_entropy", metric=["accuracy", "f1"], epochs=1, optimizer="adamw",
        schedule=WarmUp(2, then=CosineDecay(5)), l1=0.1, l2=0.2, class_weight={0: 2.0, 1: 1.0}, clip_norm=1.0,
    )  # fmt: skip
    network.fit(CLASSES).save(path)


def frame_of_houses() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "area": rng.normal(100, 20, 40).round(1),
            "town": rng.choice(["Porto", "Faro", "Évora"], 40),
            "garden": rng.choice(["yes", "no"], 40),
            "sold": pd.Timestamp("2024-01-01") + pd.to_timedelta(rng.integers(0, 700, 40), "D"),
            "price as text": [f"{n:,.2f} €" for n in rng.normal(1e5, 1e4, 40)],
            "constant": "x",
        }
    )
    frame.loc[3, ["area", "town"]] = None
    return frame


HOUSES = frame_of_houses()


def write_model(path: Path) -> None:
    y = np.linspace(1, 2, 40)
    table, scaling = TablePreprocessor().fit(HOUSES), TargetScaling.learn(y)
    network = network_of(
        DenseLayer(4, (len(table.feature_names),)), ReLUActivation(), DenseLayer(1), loss="huber", metric="r2", epochs=1
    )
    network.fit(Dataset(table.transform(HOUSES), scaling.apply(y), task="regression"))
    notes = {"label_names": [], "data": "houses.csv", "tested_apart": True}
    Model(network, Target("regression"), table, scaling, "price", notes).save(path)


def write_classifier(path: Path) -> None:
    table, target = TablePreprocessor(drop=["area"]).fit(HOUSES), Target("multiclass", ("low", "mid", 3))
    network = network_of(
        DenseLayer(3, (len(table.feature_names),)), SoftmaxActivation(), loss="categorical_cross_entropy", epochs=1
    )
    labels = np.array(["low", "mid", 3], object)[np.arange(40) % 3]
    network.fit(Dataset(table.transform(HOUSES), labels, target=target))
    Model(network, target, table, None, "class", {"label_names": ["low", "mid", "3"], "data": "h.csv"}).save(path)


def write_checkpoint(path: Path, data: Dataset, *, n_batches: int = 5, **settings: Any) -> None:
    """In the middle of the second epoch, of three batches."""
    width = len(data.target.classes) if data.target is not None and data.target.classes else 1
    head = [SoftmaxActivation()] if width > 1 else []
    network = network_of(
        DenseLayer(2, (5,)), BatchNormalizationLayer(), DropoutLayer(0.1), DenseLayer(width), *head,
        **{"epochs": 4, "batch_size": 20, **settings},
    )  # fmt: skip
    watching = [EarlyStopping(), ReduceOnPlateau(), Checkpoint(path), StopSoon(n_batches)]
    network.fit(data, validation=data, callbacks=watching)


def resume(path: Path, data: Dataset) -> None:
    NeuralNetwork.resume(path, data, validation=data, callbacks=[EarlyStopping(), ReduceOnPlateau(), StopSoon(2)])


def use_network(path: Path) -> None:
    network = NeuralNetwork.load(path)
    rows = np.linspace(-1, 1, 10)[:, None] * np.ones(network.stack.input_shape()[0])
    network.predict(rows)
    network.predict(rows[:1])
    network.evaluate(CLASSES)
    save_again(network, path)


def use_model(path: Path) -> None:
    model = Model.load(path)
    model.predict(HOUSES)
    model.outputs(HOUSES.astype(object).astype(str))
    if model.table is not None:
        model.table.explain()
        model.table.describe()
    save_again(model, path)


def save_again(saved: NeuralNetwork | Model, path: Path) -> None:
    """What has been read can be written, and read again."""
    again = path.with_suffix(".again")
    saved.save(again)
    type(saved).load(again)


@dataclass(frozen=True)
class Case:
    """A kind of file: how it is written, and what is done with it."""

    write: Callable[[Path], None]
    use: Callable[[Path], None]


def _checkpoint(data: Dataset, **settings: Any) -> Case:
    return Case(lambda path: write_checkpoint(path, data, **settings), lambda path: resume(path, data))


CASES: dict[str, Case] = {
    "network": Case(write_network, use_network),
    "model of numbers": Case(write_model, use_model),
    "model of classes": Case(write_classifier, use_model),
    "checkpoint of classes": _checkpoint(
        CLASSES, loss="categorical_cross_entropy", optimizer="adam", metric=["accuracy", "roc_auc"],
        class_weight={0: 2.0}, schedule=StepDecay(2),
    ),
    "checkpoint of numbers": _checkpoint(NUMBERS, optimizer="nadam", metric="r2", dtype="float64"),
    "checkpoint at the end of an epoch": _checkpoint(NUMBERS, optimizer="muon", n_batches=3),
    "checkpoint of L-BFGS": _checkpoint(NUMBERS, optimizer="lbfgs", n_batches=2),
    "checkpoint of Rprop": _checkpoint(NUMBERS, optimizer="rprop", n_batches=2, metric="mae"),
}  # fmt: skip


# The changes --------------------------------------------------------------------------------------

ODD: list[Any] = [
    None, True, False, 0, 1, -1, 2, -5, 10**9, -(10**9), 2**63, -(2**63), 10**18, 10**30, 10**400, 0.5, -0.5, 1e-320,
    1e-30, 1e30, 1e300, -1e300, "", "x", "nan", "inf", "1", "\x00", "\u202e", "é" * 50, "x" * 5000, [], [[]], {},
    [None], [1, "a"], {"type": "dense"}, {"kind": "layer", "type": "dense", "n_units": 10**9}, {"a": {"b": {"c": 1}}},
    [0] * 1000, "float16", "float64", "float32", "dense", "adam", "lbfgs", "regression", "binary", "multiclass",
    "number", "category", "date", "dropped", "zero", "median", [0, 1], [1, 2, 3], ["a", "b"], ["a", "a"],
    [[1, 2], [3]], [1e308, -1e308], ["0", 0],
]  # fmt: skip
# What JSON of ours never holds, as raw text.
RAW = [
    "NaN", "Infinity", "-Infinity", "1e999", '"\\ud800"', '"\\udfff\\ud800"', "[" * 60 + "]" * 60, "[" * 5000,
    "1" * 4000, "1" * 6000, "{", "'a'",
]  # fmt: skip
TYPES = ["F16", "F32", "F64", "I32", "I64", "U8", "U64", "BOOL", "BF16", "C64", "F8_E5M2", "x", 5]
NAMES = ["x", "", "weights/9.weights", "session/x", "record/x", "callback0/x", "0.x", "0.weights ", "session/rows"]
NO_METADATA = ["", "{}", "x", "5", "[]", "null"]


def places(tree: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every path into a JSON tree."""
    inner = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for key, value in inner:
        yield (*path, key)
        yield from places(value, (*path, key))


def at(tree: Any, path: tuple[Any, ...]) -> Any:
    for step in path:
        tree = tree[step]
    return tree


def near(value: Any, rng: random.Random) -> Any:
    """A value of the same kind that is not far away: those that are checked the least."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value + rng.choice([-1, 1, 2, -value, -2 * value, value, 10])
    if isinstance(value, float):
        return value * rng.choice([-1, 0, 2, 1e-10, 1e10, 1e200]) if rng.random() < 0.8 else float(round(value))
    if isinstance(value, str):
        return rng.choice([value + " ", value.upper(), value[::-1], value[:-1], value + value])
    if isinstance(value, list):
        return rng.choice([value[:-1], value[1:], value[::-1], value + value, value + value[:1]])
    return value


def change_tree(tree: Any, rng: random.Random) -> Any:
    """Change one place of a JSON tree; a ``Raw`` in it is written as it stands."""
    all_places = list(places(tree))
    if not all_places:
        return tree
    *path, last = rng.choice(all_places)
    parent = at(tree, tuple(path))
    match rng.randrange(9):
        case 0 | 1 | 2:
            parent[last] = copy.deepcopy(rng.choice(ODD))
        case 3 | 4:
            parent[last] = near(parent[last], rng)
        case 5:
            del parent[last]
        case 6:
            parent[last] = copy.deepcopy(at(tree, rng.choice(all_places)))  # a value from elsewhere
        case 7:
            parent[last] = "\x01raw" + rng.choice(RAW)
        case 8:
            if isinstance(parent, list):
                parent.insert(last, copy.deepcopy(rng.choice([parent[last], *ODD])))
            else:
                parent[rng.choice(["", "x", "type", "kind", f"{last}2", "\u0000"])] = copy.deepcopy(rng.choice(ODD))
    return tree


def as_text(tree: Any) -> str:
    """A JSON tree as text, with the raw pieces in it."""
    text = json.dumps(tree)
    for raw in RAW:
        text = text.replace(json.dumps("\x01raw" + raw), raw)
    return text


def split_file(content: bytes) -> tuple[dict[str, Any], bytes]:
    """The header and the data of a safetensors file."""
    length = int.from_bytes(content[:8], "little")
    return json.loads(content[8 : 8 + length]), content[8 + length :]


def join_file(header: Any, data: bytes) -> bytes:
    text = (header if isinstance(header, str) else json.dumps(header)).encode("utf-8", "surrogatepass")
    return len(text).to_bytes(8, "little") + text + data


def change_metadata(content: bytes, rng: random.Random) -> bytes:
    """Change chainrule's own JSON in one place or in several."""
    header, data = split_file(content)
    metadata = json.loads(header["__metadata__"]["chainrule"])
    for _ in range(rng.choice([1, 1, 1, 1, 2, 3])):
        metadata = change_tree(metadata, rng)
    header["__metadata__"]["chainrule"] = as_text(metadata)
    return join_file(header, data)


def change_header(content: bytes, rng: random.Random) -> bytes:
    """Change what the file says of its arrays: types, shapes, places, names."""
    header, data = split_file(content)
    names = [name for name in header if name != "__metadata__"]
    name, other = rng.choice(names), rng.choice(names)
    entry = header[name]
    start, end = entry["data_offsets"]
    size = 8 if entry["dtype"] in ("F64", "I64") else 4
    match rng.randrange(12):
        case 0:
            entry["dtype"] = rng.choice(
                ["F16", "F32", "F64", "I32", "I64", "U8", "U64", "BOOL", "BF16", "C64", "F8_E5M2", "x", 5]
            )
        case 1:
            entry["shape"] = rng.choice(
                [
                    entry["shape"][::-1],
                    [],
                    [0],
                    [-1],
                    [10**18],
                    [2**63],
                    [1, *entry["shape"]],
                    [*entry["shape"], 1],
                    [(end - start) // size],
                    "x",
                    None,
                ]
            )
        case 2:
            entry["data_offsets"] = rng.choice(
                [[0, 0], [end, start], [start + 1, end + 1], [0, 10**18], [-1, end], [start], "x", [start, end + size]]
            )
        case 3:
            entry["data_offsets"] = header[other]["data_offsets"]  # an overlap
        case 4:
            header[name], header[other] = header[other], header[name]
        case 5:
            del header[name]
        case 6:
            header[
                rng.choice(["x", "", "weights/9.weights", "session/x", "record/x", "callback0/x", "0.x", name + " "])
            ] = header.pop(name)
        case 7:
            n = (end - start) // size  # a smaller array
            entry["shape"], entry["data_offsets"] = [max(n - 1, 0)], [start, start + max(n - 1, 0) * size]
        case 8:
            header["__metadata__"][rng.choice(["chainrule", "format", ""])] = rng.choice(
                ["", "{}", "x", "5", "[]", "null"]
            )
        case 9:
            return join_file(change_tree(header, rng), data)
        case 10:
            return join_file(json.dumps(header)[: -rng.randrange(1, 50)], data)
        case 11:
            more = rng.choice([0, 1, 7, 4096]) * bytes([rng.randrange(256)])
            return join_file(header, rng.choice([data + more, more + data]))
    return join_file(header, data)


def change_array(content: bytes, rng: random.Random) -> bytes:
    """Change numbers in the arrays: others, NaN, infinite, negative, huge counters."""
    header, data = split_file(content)
    names = [
        name
        for name in header
        if name != "__metadata__" and header[name]["data_offsets"][1] > header[name]["data_offsets"][0]
    ]
    entry = header[rng.choice(names)]
    start, end = entry["data_offsets"]
    dtype = {"F32": "<f4", "F64": "<f8", "I64": "<i8"}[entry["dtype"]]
    array = np.frombuffer(data[start:end], dtype).copy()
    whole = [-1, -5, 0, 1, 2**62, -(2**63), 10**9, 10**15]
    floats = [np.nan, np.inf, -np.inf, -1.0, 0.0, 1e38, -1e38, 1e-45, 1.5]
    value = rng.choice(whole if dtype == "<i8" else floats)
    with np.errstate(all="ignore"):
        array[slice(None) if rng.random() < 0.3 else rng.randrange(len(array))] = value
    return join_file(header, data[:start] + array.tobytes() + data[end:])


def change_bytes(content: bytes, rng: random.Random) -> bytes:
    """Change bytes anywhere, most of them in the header; cut the file, or lengthen it."""
    match rng.randrange(6):
        case 0:
            return content[: rng.randrange(len(content))]
        case 1:
            return content + bytes(rng.randrange(1, 20))
        case 2:
            length = rng.choice([0, 1, 2**31, 2**63, 10**14, 100_000_001, 10_000_000])
            return length.to_bytes(8, "little") + content[8:]
        case 3:
            one, two = sorted(rng.sample(range(len(content)), 2))
            return content[:one] + content[two:]
    changed = bytearray(content)
    header = 8 + int.from_bytes(content[:8], "little")
    for _ in range(rng.randrange(1, 5)):
        place = rng.randrange(header if rng.random() < 0.7 else len(content))
        changed[place] = rng.randrange(256) if rng.random() < 0.5 else changed[place] ^ (1 << rng.randrange(8))
    return bytes(changed)


CHANGES: dict[str, Callable[[bytes, random.Random], bytes]] = {
    "metadata": change_metadata, "header": change_header, "array": change_array, "bytes": change_bytes,
}  # fmt: skip


def mutate(content: bytes, rng: random.Random) -> tuple[str, bytes]:
    """A changed file, and the kind of the change."""
    kind = rng.choices(list(CHANGES), [6, 2, 1, 1])[0]
    return kind, CHANGES[kind](content, rng)


# Opening them -------------------------------------------------------------------------------------


class TooSlow(BaseException):
    """A file has taken too much computing."""


def _raise_too_slow(*_: object) -> None:
    raise TooSlow


@contextlib.contextmanager
def bounded() -> Iterator[None]:
    """Allow so much computing, and so much more memory than there is in use."""
    signal.signal(signal.SIGPROF, _raise_too_slow)
    signal.setitimer(signal.ITIMER_PROF, MOST_SECONDS)
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")  # of numbers that overflow
            yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


def limit_memory() -> None:
    """Let this process take a gigabyte more than it has."""
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + MOST_BYTES, used + MOST_BYTES))


def open_hostile(case: Case, content: bytes, path: Path) -> str:
    """Open a changed file and use what comes out: "opens", the class of the error, or a traceback."""
    path.write_bytes(content)
    try:
        with bounded():
            case.use(path)
    except ChainruleError as error:
        return f"refused: {type(error).__name__}" if "\n" not in str(error) else f"more than a line: {error}"
    except (Exception, TooSlow):  # what this is all about
        return traceback.format_exc()
    return "opens"


def try_many(name: str, n: int, seed: int, folder: Path) -> tuple[Counter[tuple[str, str]], list[str]]:
    """Change a kind of file ``n`` times; return how often each outcome came, and the failures in words."""
    case, path, rng = CASES[name], folder / "given", random.Random(f"{seed} {name}")
    case.write(path)
    content = path.read_bytes()
    outcome = open_hostile(case, content, path)
    if outcome != "opens":
        return Counter(), [f"{name}: the file as it was written does not open: {outcome}"]
    outcomes: Counter[tuple[str, str]] = Counter()
    failures = []
    for number in range(n):
        kind, changed = mutate(content, rng)
        outcome = open_hostile(case, changed, path)
        if outcome != "opens" and not outcome.startswith("refused"):
            kept = Path(tempfile.gettempdir()) / f"hostile-{name.replace(' ', '-')}-{seed}-{number}.safetensors"
            kept.write_bytes(changed)
            failures.append(f"{name}, change {number} ({kind}), kept in {kept}:\n{outcome}")
            outcome = "failure"
        outcomes[kind, outcome] += 1
    return outcomes, failures


def main(n: int, seed: int, names: list[str]) -> int:
    """Print what became of ``n`` changes; return the number of failures."""
    n_failures = 0
    for name in names:
        with tempfile.TemporaryDirectory() as folder:
            outcomes, failures = try_many(name, n // len(names), seed, Path(folder))
        n_failures += len(failures)
        print(f"{name}: {outcomes.total():,} changes")
        for (kind, outcome), count in sorted(outcomes.items()):
            print(f"    {kind:10} {outcome:30} {count:8,}")
        for failure in failures[:20]:
            print(failure)
        sys.stdout.flush()
    megabytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(f"{n_failures} failures; {megabytes:,} MiB of memory at most")
    return n_failures


if __name__ == "__main__":
    count, *more = sys.argv[1:]
    limit_memory()
    sys.exit(min(main(int(count), int(more[0]) if more else 0, more[1:] or list(CASES)), 1))
