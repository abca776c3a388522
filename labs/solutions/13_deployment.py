# %% [markdown]
# # Lab 13: Solutions
#
# All solutions use the model of the lab, with the preprocessing.

# %%
import io
import json
import shutil
import subprocess
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pandas as pd

from chainrule import export_model, load_dataset, train
from chainrule.labs import budget

folder = Path(tempfile.mkdtemp())
data = load_dataset("iris")
flowers = pd.DataFrame(data.X, columns=data.feature_names)
settings = {"preset": "plain", "learning_rate": 0.01, "epochs": budget(100, quick=20), "seed": 0, "verbose": False}
model = train("iris", hidden=(16,), **settings).model


def with_onnx(rows, name="iris"):
    import onnxruntime

    session = onnxruntime.InferenceSession(export_model(model, folder / f"{name}.onnx"))
    return session.run(None, {column: rows[[column]].to_numpy(float) for column in rows})[1]


def with_c(rows):
    file = export_model(model, folder / "iris.c")
    command = ["cc", "-std=c99", "-O2", "-DCHAINRULE_MAIN", str(file), "-lm", "-o", str(folder / "predict")]
    subprocess.run(command, check=True)
    text = rows.to_csv(index=False)
    answer = subprocess.run([folder / "predict"], input=text, stdout=subprocess.PIPE, text=True, check=True)
    return pd.read_csv(io.StringIO(answer.stdout)).iloc[:, 1:].to_numpy()


ways = {"Python": model.predict_proba}
ways |= {"ONNX": with_onnx} if find_spec("onnx") and find_spec("onnxruntime") else {}
ways |= {"C": with_c} if shutil.which("cc") else {}

# %% [markdown]
# ## Exercises 1 and 2: another petal length, and a missing one
#
# The formats agree on both flowers. A missing number is replaced by the mean of its column, in all of them: the
# standardised value of the mean is 0.

# %%
changed = flowers.iloc[[0, 0]].reset_index(drop=True)
changed.loc[0, "petal length (cm)"] += 0.1
changed.loc[1, "petal length (cm)"] = np.nan
for name, predict in ways.items():
    answers = predict(changed)
    print(f"{name:7}", answers.round(4).tolist())
    assert np.abs(answers - model.predict_proba(changed)).max() < 1e-6

# %% [markdown]
# ## Exercise 3: JavaScript
#
# The module also runs in a browser: the data of the visitors then stay on their machines.

# %%
export_model(model, folder / "iris.mjs")
script = """
import { probabilities } from "./iris.mjs";
import { readFileSync } from "node:fs";
const rows = JSON.parse(readFileSync("rows.json", "utf8"));
console.log(JSON.stringify(rows.map(probabilities)));
"""
(folder / "main.mjs").write_text(script)
(folder / "rows.json").write_text(json.dumps(flowers.to_numpy().tolist()))
if shutil.which("node"):
    answer = subprocess.run(["node", "main.mjs"], cwd=folder, stdout=subprocess.PIPE, check=True)
    difference = np.abs(np.array(json.loads(answer.stdout)) - model.predict_proba(flowers)).max()
    print(f"JavaScript: the largest difference is {difference:.0e}")
    assert difference < 1e-6

# %% [markdown]
# ## Exercise 4: sizes
#
# With $h$ hidden units, the network has $4h + h + 3h + 3 = 8h + 3$ numbers. A number takes 4 bytes in ONNX, and the rest of
# the file (names, nodes of the graph) has a constant size. In C and JavaScript a number is written as text, which takes
# more bytes.

# %%
sizes = {}
for units in (16, 128, 1024):
    wide = train("iris", hidden=(units,), **{**settings, "epochs": 1}).model
    row = {"numbers": 8 * units + 3}
    for suffix in ("c", "mjs", *(["onnx"] if find_spec("onnx") else [])):
        row[f"{suffix}, kB"] = export_model(wide, folder / f"wide.{suffix}").stat().st_size / 1024
    sizes[f"{units} units"] = row
pd.DataFrame(sizes).T.round(1)

# %% [markdown]
# ## Exercise 5: time
#
# A measurement in Python: one row at a time, and all rows at once. One call takes nearly as long for one row as for
# 150, because most of its time is spent on the checks of the table, not on the products of the network.

# %%
one = flowers.iloc[[0]]
for name, rows in {"one flower": one, "150 flowers": flowers}.items():
    model.predict_proba(rows)
    start = time.perf_counter()
    for _ in range(20):
        model.predict_proba(rows)
    print(f"{name}: {1000 * (time.perf_counter() - start) / 20:.1f} milliseconds per call")
