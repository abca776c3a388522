# %% [markdown]
# # Lab 13: Deployment
#
# **Question.** How can you use a trained model in another program or on another device, and does it give the same
# predictions there?
#
# **You need** [Lab 5](05_mnist.md), or any lab in which you have trained a network. **Time:** 60 minutes. Running it takes
# about one minute on two cores. Each section that needs a further program (a C compiler, onnxruntime, PyTorch, or a web
# server) tells you so if the program is not installed, and the lab continues.

# %%
import io
import json
import shutil
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pandas as pd

from chainrule import Model, export_model, load_dataset, train
from chainrule.labs import budget

# %% [markdown]
# ## A model to deploy
#
# The table describes 150 flowers of three species of iris by four lengths in centimetres. `train` does everything from
# the table to the model: it standardises the columns (subtracts the mean $\mu_j$ of each column, divides by its standard
# deviation $\sigma_j$), trains a network, and measures it on rows that it held out.
#
# $$x'_j = \frac{x_j - \mu_j}{\sigma_j}, \qquad p = \mathrm{softmax}\big(\max(0,\ x' W_1 + b_1)\, W_2 + b_2\big)$$

# %%
settings = {"preset": "plain", "hidden": (16,), "learning_rate": 0.01, "epochs": budget(100, quick=40), "seed": 0}
result = train("iris", **settings, verbose=False)
model = result.model
print(f"accuracy on the held-out rows: {result.metrics['accuracy']:.3f}")
assert result.metrics["accuracy"] > 0.8

# %% [markdown]
# **Deployment** means using the model outside of the program that trained it: on a server, in a phone, in a measuring
# device. Two things have to be transferred: the weights, and the **preprocessing**. A network that gets centimetres
# instead of standardised numbers gives an answer too, but a wrong one:

# %%
data = load_dataset("iris")
flowers = pd.DataFrame(data.X, columns=data.feature_names)
right = model.predict_labels(flowers)
wrong = np.array(model.target.classes)[model.network.predict(data.X).argmax(axis=1)]
species = np.array(data.label_names)[np.asarray(data.y)]
print(f"with the preprocessing:    {np.mean(right == species):.3f} correct")
print(f"without the preprocessing: {np.mean(wrong == species):.3f} correct")
assert np.mean(right == species) > np.mean(wrong == species) + 0.2

# %% [markdown]
# No error message tells you that the second line is wrong. All files in this lab therefore contain the preprocessing.
# After each export, the lab compares the predictions with those of the model in Python, for all 150 flowers:

# %%
folder = Path(tempfile.mkdtemp())
expected = model.predict_proba(flowers)
table = {}


def check(name, file, probabilities):
    difference = np.abs(probabilities - expected).max()
    table[name] = {"size in kB": f"{file.stat().st_size / 1024:.1f}", "largest difference": f"{difference:.0e}"}
    print(f"{name}: the largest difference of a probability is {difference:.0e}")
    assert difference < 1e-6


# %% [markdown]
# ## 1. A file for chainrule
#
# `save` writes the weights, the layers, the columns and the names of the classes into one file in the format
# safetensors. The file contains numbers and text only, and no program. (The lecture notes use `pickle`. A pickle file
# can contain any program, which is executed when the file is loaded, so never load one from a source that you do not
# trust.)

# %%
file = folder / "iris.safetensors"
model.save(file)
check("safetensors", file, Model.load(file).predict_proba(flowers))

# %% [markdown]
# ## 2. ONNX
#
# **ONNX** is a format for computations that many programs read. The file is a graph: multiply by this matrix, add this
# vector, and so on. onnxruntime runs it, in Python, C++, Java, C# and on phones. It needs neither chainrule nor PyTorch.

# %%
if find_spec("onnx") and find_spec("onnxruntime"):
    import onnxruntime

    file = export_model(model, folder / "iris.onnx")
    session = onnxruntime.InferenceSession(file)
    labels, probabilities = session.run(None, {name: flowers[[name]].to_numpy(float) for name in flowers})
    print(labels[:3], labels[-3:])
    check("ONNX", file, probabilities)
    print([each.name for each in session.get_inputs()], "->", [each.name for each in session.get_outputs()])
else:
    print("This section needs onnx and onnxruntime: python -m pip install onnx onnxruntime")

# %% [markdown]
# The graph has one input for each column of the table, in centimetres.
#
# ## 3. PyTorch
#
# `torch.export` writes the computation in PyTorch's own format. PyTorch can load it without the Python code that defined
# the network.

# %%
if find_spec("torch"):
    import torch

    file = export_model(model, folder / "iris.pt2")
    program = torch.export.load(file).module()
    outputs = program(torch.tensor(flowers.to_numpy(float)))
    check("torch.export", file, outputs["probabilities"].numpy())
else:
    print("This section needs PyTorch: python -m pip install torch")

# %% [markdown]
# ## 4. C
#
# A small processor in a measuring device has no Python. The export to C writes one source file, which contains the
# weights as numbers. It needs only the standard library of C, and allocates no memory. The function takes one flower.
# With `-DCHAINRULE_MAIN` the file is also a program that reads a CSV table and prints the predictions:

# %%
file = export_model(model, folder / "iris.c")
source = file.read_text()
start = source.index("typedef struct")
print(source[start : source.index(";", source.index("iris_predict(", start)) + 1])

# %%
if shutil.which("cc"):
    command = ["cc", "-std=c99", "-O2", "-DCHAINRULE_MAIN", str(file), "-lm", "-o", str(folder / "predict")]
    subprocess.run(command, check=True)
    rows = flowers.to_csv(index=False)
    answer = subprocess.run([folder / "predict"], input=rows, stdout=subprocess.PIPE, text=True, check=True)
    predictions = pd.read_csv(io.StringIO(answer.stdout))
    check("C", file, predictions.iloc[:, 1:].to_numpy())
    print(predictions.head(3).to_string(index=False))
else:
    print("This section needs a C compiler with the name cc.")

# %% [markdown]
# ## 5. A server
#
# Many programs on many machines can share one model if a **server** predicts for them. They send rows as text in the
# format JSON over HTTP, the protocol of the web, and receive the predictions. In a terminal, you would type
#
#     chainrule serve iris.safetensors --port 8000
#
# Here, Python starts the same command as a second process. `--port 0` chooses a free port, and the first line that the
# server prints contains its address, on this machine only.

# %%
server = None
if budget(True, quick=False) and find_spec("starlette") and find_spec("uvicorn"):
    command = [sys.executable, "-m", "chainrule", "serve", str(folder / "iris.safetensors"), "--port", "0"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    address = next(word for word in server.stdout.readline().split() if word.startswith("http://"))
else:
    print("Skipped in quick runs. It needs starlette and uvicorn: python -m pip install starlette uvicorn")


# %%
def ask(rows):
    body = json.dumps(rows).encode()
    request = urllib.request.Request(f"{address}/predict", body, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        return json.load(error)


if server:
    answer = ask(flowers.to_dict("records"))
    check("HTTP", folder / "iris.safetensors", np.array(answer["probabilities"]))
    print(ask({"sepal length (cm)": 5.8, "sepal width (cm)": 3, "petal length (cm)": 4.3, "petal width (cm)": 1.3}))

# %% [markdown]
# The server checks what it receives. If a request contains a mistake, the answer says what is wrong:

# %%
if server:
    print(ask({"sepal length (cm)": "long", "sepal width (cm)": 3, "petal length (cm)": 4.3, "petal width (cm)": 1.3}))
    server.terminate()
    server.wait()

# %% [markdown]
# ## The formats side by side

# %%
pd.DataFrame(table).T

# %% [markdown]
# The predictions are equal up to rounding. They are not always the same bits: each program adds the products in a
# different order, and numbers with seven digits (float32) have rounding errors of about $10^{-7}$.
#
# | You have | Use |
# |---|---|
# | Python and chainrule | `model.save` and `Model.load` |
# | another language with onnxruntime, or a phone | ONNX |
# | a program in PyTorch | `torch.export` |
# | a small device, or a program in C | C |
# | many clients, or a model that changes often | the server |
# | a web page that must not send data anywhere | JavaScript (exercise 3) |
#
# ## What you have learned
#
# - A model consists of weights **and** preprocessing. Without the preprocessing, the predictions are wrong, and there
#   is no error message.
# - ONNX, `torch.export`, C and HTTP give the same predictions as Python, up to rounding.
# - After each export, compare the predictions with those of the original, on real rows.
# - Never load a pickle file from a source that you do not trust.
#
# ## Exercises
#
# 1. Change the last digit of one flower's petal length, and predict it with all the formats. Do they still agree?
# 2. Remove one measurement: `None` in Python, `null` in JSON, an empty cell in CSV. What does each format predict?
# 3. Export the model to JavaScript (`.mjs`), and compare its predictions if Node.js is installed.
# 4. How large do the files become with 16, 128 and 1,024 hidden units? Explain the growth with the number of weights.
# 5. (Open.) Measure how many flowers per second each format predicts, one at a time and all at once.
#
# `chainrule labs deployment --solution` copies the solutions.
