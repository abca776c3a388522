# %% [markdown]
# # Lab 12: Solutions

# %%
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pandas as pd

from chainrule import NeuralNetwork
from chainrule.engines import TorchEngine
from chainrule.labs import budget, load_lab_data
from chainrule.zoo import MLP

train, test = load_lab_data("mnist")
train = train.take(np.arange(budget(20_000, quick=600)))
has_torch = bool(find_spec("torch"))


def network(**settings):
    layers = [train.n_features, 128, 64, 10]
    chosen = {"loss": "categorical_cross_entropy", "metric": "accuracy", "batch_size": 64, "epochs": 3, "seed": 0}
    return MLP(layers, **{**chosen, **settings})


# %% [markdown]
# ## Exercise 1: another order of the rows
#
# Other batches give other weights, and the difference is larger by orders of magnitude: the order of the rows matters
# far more than the engine. That is why results are reported with a standard deviation over seeds.

# %%
first = network().fit(train)
order = np.random.default_rng(1).permutation(train.n_rows)
second = network().fit(train.take(order))
difference = np.abs(first.predict(test) - second.predict(test)).mean()
print(f"another order: mean difference {difference:.1e}")
if has_torch:
    third = network(engine="torch", device="cpu").fit(train)
    of_engines = np.abs(first.predict(test) - third.predict(test)).mean()
    print(f"another engine: mean difference {of_engines:.1e}")
    assert of_engines < difference / 10

# %% [markdown]
# ## Exercise 2: the order of a sum
#
# `cumsum` adds the numbers one after another. The exact sum is computed in float64.

# %%
numbers = np.random.default_rng(0).random(100_000).astype("float32")
exact = numbers.astype("float64").sum()
for name, ordered in {"in order": numbers, "reversed": numbers[::-1], "sorted": np.sort(numbers)}.items():
    total = np.cumsum(ordered)[-1]
    print(f"{name:9} {total:.4f}, relative error {abs(total - exact) / exact:.0e}")
print(f"np.sum    {numbers.sum():.4f}, relative error {abs(numbers.sum() - exact) / exact:.0e}")

# %% [markdown]
# `np.sum` adds pairs, then pairs of pairs, and so on. Its error is much smaller, because every number passes through few
# additions only.
#
# ## Exercise 3: continue on the other engine
#
# Files do not depend on the engine. A loaded network uses NumPy until you set another engine.

# %%
file = Path(tempfile.mkdtemp()) / "digits.safetensors"
first.save(file)
loaded = NeuralNetwork.load(file)
if has_torch:
    loaded.engine = TorchEngine(device="cpu")
before = loaded.score(test)
loaded.fit(train)
print(f"accuracy {before:.3f}, after more epochs on {type(loaded.engine).__name__}: {loaded.score(test):.3f}")
assert loaded.history.n_epochs == 6

# %% [markdown]
# ## Exercise 4: predictions
#
# For one row, most of the time is that of the calls. For many rows, it is that of the matrix products.

# %%
rows = {}
for n_rows in (1, budget(10_000, quick=100)):
    X = np.resize(test.X.reshape(test.n_rows, -1), (n_rows, train.n_features))
    for name in ("numpy", *(["torch"] if has_torch else [])):
        one = network(engine=name, device="cpu") if name == "torch" else network()
        one.predict(X)
        start = time.perf_counter()
        for _ in range(budget(20, quick=2)):
            one.predict(X)
        milliseconds = 1000 * (time.perf_counter() - start) / budget(20, quick=2)
        rows.setdefault(f"{n_rows:,} rows", {})[name] = f"{milliseconds:.2f} ms"
pd.DataFrame(rows).T
