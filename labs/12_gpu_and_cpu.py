# %% [markdown]
# # Lab 12: CPU and GPU
#
# **Question.** Do two different programs compute the same network, and when does a graphics processor (GPU) make the
# training faster?
#
# **You need** [Lab 5](05_mnist.md) (training on MNIST). **Time:** 60 minutes. Running it takes about 30 seconds on two
# cores. The lab compares chainrule's own engine, which uses NumPy and compiled code, with PyTorch. If PyTorch is not
# installed, only the first engine runs. No GPU is necessary; if there is one, it is measured too.

# %%
import os
import time
from importlib.util import find_spec

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from chainrule import Dataset
from chainrule.labs import budget, load_lab_data
from chainrule.losses import CategoricalCrossEntropy
from chainrule.plots import plot_comparison
from chainrule.zoo import MLP

engines = {"NumPy": {"engine": "numpy"}}
if find_spec("torch"):
    import torch

    engines["PyTorch, CPU"] = {"engine": "torch", "device": "cpu"}
    if torch.cuda.is_available():
        engines["PyTorch, GPU"] = {"engine": "torch", "device": "cuda"}
else:
    print("PyTorch is not installed, so there is nothing to compare with: python -m pip install torch")
print(list(engines))

# %% [markdown]
# An **engine** is the part of the library that executes the training steps. You choose it with one argument. Everything
# else, such as layers, data, history and files, stays the same.

# %%
train, test = load_lab_data("mnist")
train = train.take(np.arange(budget(20_000, quick=600)))


def network(**settings):
    layers = [train.n_features, 128, 64, 10]  # the course's SimpleMLP
    chosen = {"loss": "categorical_cross_entropy", "metric": "accuracy", "batch_size": 64, "epochs": 3, "seed": 0}
    return MLP(layers, **{**chosen, **settings})


networks = {name: network(**engine) for name, engine in engines.items()}

# %% [markdown]
# ## The same weights
#
# The initial weights are random numbers, but they follow from the seed. All engines start from the same bits:

# %%
reference = networks["NumPy"]
for name, one in networks.items():
    equal = all(np.array_equal(one.layers[k].weights, reference.layers[k].weights) for k in (0, 2, 4))
    print(f"{name}: {one.stack.parameters():,} parameters, equal weights: {equal}")
    assert equal

# %% [markdown]
# ## The same predictions
#
# A computer rounds every result. The type float32 has 24 binary digits, so a single operation has a relative error of
# at most $2^{-24} \approx 6 \cdot 10^{-8}$. In a sum, the error depends on the order of the terms, and every engine has
# its own order. Differences of some $10^{-7}$ are therefore expected; larger ones would indicate an error in one of the
# programs.

# %%
expected = reference.predict(test)
for name, one in networks.items():
    print(f"{name:13} largest difference of a probability: {np.abs(one.predict(test) - expected).max():.1e}")
    assert np.abs(one.predict(test) - expected).max() < 1e-6

# %% [markdown]
# ## The same gradients
#
# chainrule computes gradients by the chain rule, layer by layer: each layer gets the derivative of the loss $L$ with
# respect to its output, and returns the derivative with respect to its input. PyTorch records all operations, and
# applies the chain rule to the record (**automatic differentiation**). These are two independent ways to compute the
# same numbers $\partial L / \partial W$. `to_torch` returns the network as a module of PyTorch, with the same weights:

# %%
X, y = test.X[:64].reshape(64, -1), test.outputs(10)[:64]
outputs = reference.forward_propagation(X, training=True)
error = CategoricalCrossEntropy().derivative(y, outputs)
for layer in reversed(reference.layers):
    error = layer.backward_propagation(error)
ours = reference.layers[0].gradient_views["weights"]
print("dL/dW of the first layer:", ours.shape, f"largest entry {np.abs(ours).max():.3f}")

if find_spec("torch"):
    module = reference.to_torch()
    probabilities = module(torch.tensor(X, dtype=torch.float32))
    loss = -(torch.tensor(y) * torch.log(probabilities)).sum(dim=1).mean()
    loss.backward()
    theirs = module[0].weight.grad.numpy().T  # PyTorch stores the matrix the other way round
    print(f"largest difference from PyTorch: {np.abs(ours - theirs).max():.1e}")
    assert np.abs(ours - theirs).max() < 1e-4 * np.abs(ours).max()

# %% [markdown]
# ## The same training
#
# In training, small differences can grow: a step changes the weights, and the next step starts from there. The engines
# draw the same batches in the same order, so the curves should lie on top of each other:

# %%
trained = {name: network(**engine).fit(train, validation=test) for name, engine in engines.items()}
plot_comparison({name: one.history for name, one in trained.items()}, "validation_loss")

# %%
expected = trained["NumPy"].predict(test)
rows = {}
for name, one in trained.items():
    difference = np.abs(one.predict(test) - expected)
    rows[name] = {"accuracy": one.score(test), "largest difference": difference.max(), "mean": difference.mean()}
    assert difference.mean() < 1e-3
pd.DataFrame(rows).T.map("{:.2g}".format).assign(accuracy=[f"{row['accuracy']:.4f}" for row in rows.values()])

# %% [markdown]
# The two curves lie on top of each other, and the accuracy is the same. The largest difference of a probability is about a
# hundred times as large as before the training: the rounding errors have grown. In double precision (`dtype="float64"`,
# with relative errors of about $10^{-16}$), the difference after the training is smaller by a factor of about $10^9$:

# %%
expected = network(dtype="float64").fit(train).predict(test)
for name, engine in engines.items():
    difference = np.abs(network(dtype="float64", **engine).fit(train).predict(test) - expected).max()
    print(f"{name:13} in float64: largest difference after training {difference:.1e}")
    assert difference < 1e-9

# %% [markdown]
# (The validation rows of this lab are the test rows. That is allowed here because they are not used to choose
# anything.)
#
# ## The time of a training step
#
# The next cell measures the time of one training step, for several widths of the hidden layer and several batch sizes.
# The time does not depend on the values in the rows, so they are random. Both engines use one thread; without
# `CHAINRULE_THREADS`, the first would use several cores where that is faster. `process_time` counts only the time in which
# the processor works for this program, so that other programs do not disturb the measurement; for a GPU, a clock is
# needed that also counts the time of waiting.

# %%
os.environ["CHAINRULE_THREADS"] = "1"
rng = np.random.default_rng(0)
clock = time.perf_counter if "PyTorch, GPU" in engines else time.process_time


def milliseconds_per_step(width, batch, engine):
    n_steps = budget(40, quick=2)
    X = rng.normal(size=(n_steps * batch, 784)).astype("float32")
    data = Dataset(X, rng.integers(0, 10, len(X)))
    one = MLP([784, width, width, 10], loss="categorical_cross_entropy", batch_size=batch, epochs=1, seed=0, **engine)
    one.fit(data)  # the first fit also compiles and loads code
    times = []
    for _ in range(budget(5, quick=1)):
        start = clock()
        one.fit(data)
        times.append(clock() - start)
    return 1000 * np.median(times) / n_steps


# %%
widths, batches = budget((32, 128, 512), quick=(16, 32)), budget((16, 64, 256), quick=(16,))
measured = {
    (width, batch): {name: milliseconds_per_step(width, batch, engine) for name, engine in engines.items()}
    for width in widths
    for batch in batches
}
table = pd.DataFrame(measured).T.rename_axis(["width", "batch"])
if "PyTorch, CPU" in table:
    table["PyTorch / NumPy"] = table["PyTorch, CPU"] / table["NumPy"]
table.map("{:.3g}".format)

# %% [markdown]
# The columns are milliseconds per step, and the last one is a ratio. PyTorch is much slower for narrow networks with
# small batches. The reason is not the arithmetic. A step in PyTorch is a long sequence of calls from Python: gather the
# rows, multiply, add the bias, ReLU, and so on. Each call takes some microseconds, whatever the size of its arrays.
# chainrule needs only one call of compiled code for many steps. For wide networks and large batches, nearly all of the
# time is spent in matrix products, which both engines compute at a similar speed, and the ratio comes closer to 1.
#
# ## A model of the time
#
# A network with $P$ weights needs about $6 P B$ operations for a step on $B$ rows (a multiplication and an addition for each
# weight in the forward pass, and twice as many in the backward pass). With $F$ operations per second and a constant time
# $c$ for the calls, a step takes
#
# $$t = c + \frac{6 P B}{F}$$

# %%
operations = np.array([6 * (784 * width + width * width + 10 * width) * batch for width, batch in table.index])
figure, ax = plt.subplots(figsize=(6, 3.8))
for name in engines:
    ax.loglog(operations, table[name], "o", label=name)
ax.set_xlabel("operations per step (log axis)")
ax.set_ylabel("milliseconds per step (log axis)")
ax.legend()
ax

# %% [markdown]
# To the right, the points lie near a line: the time is proportional to the operations. To the left, the points of PyTorch
# stay at a constant height $c$.
#
# ## When is a GPU faster?
#
# A GPU computes more operations per second: compared with one thread of a CPU, $F$ is larger by a factor of ten to
# several hundred. The calls from Python do not become faster, so $c$ does not change. A GPU therefore helps where
# $6PB/F$ is the larger part of the time. The next cell takes $c$ and $F$ from the measurements above, and assumes a GPU
# with $F = 2 \cdot 10^{13}$ operations per second (float32). These numbers are a calculation, not a measurement:

# %%
cpu_speed = operations[-1] / (table["NumPy"].iloc[-1] / 1000)
calls = table["PyTorch, CPU"].min() / 1000 if "PyTorch, CPU" in table else 3e-4
gpu = pd.DataFrame({"operations": operations, "NumPy, measured": table["NumPy"]}, index=table.index)
gpu["GPU, calculated"] = 1000 * (calls + operations / 2e13)
gpu["GPU is faster by"] = gpu["NumPy, measured"] / gpu["GPU, calculated"]
gpu.map("{:.3g}".format)

# %%
break_even = calls / (1 / cpu_speed - 1 / 2e13)
print(
    f"The CPU computes {cpu_speed / 1e9:.0f} billion operations per second, and the calls take {1000 * calls:.2f} ms."
)
print(f"The GPU is faster for steps with more than {break_even / 1e6:.0f} million operations.")
print(f"784-128-64-10 with a batch of 64 has {6 * (784 * 128 + 128 * 64 + 640) * 64 / 1e6:.0f} million.")

# %% [markdown]
# According to the calculation, the course's network for MNIST with its batches of 64 rows is too small for a GPU: the
# CPU is faster. A GPU is worthwhile for wide layers and large batches, and for the convolutional networks and
# transformers of later courses. The page [When more machines pay](../explanation/when-more-machines-pay.md) applies the
# same reasoning to several machines.
#
# ## What you have learned
#
# - The same network gives the same predictions, gradients and training in two engines, up to rounding.
# - Rounding errors grow in training. With float64 they are about a billion times smaller.
# - A step takes $c + 6PB/F$. For small networks, most of it is the time of the calls; for large ones, that of the
#   arithmetic.
# - A GPU increases $F$ but does not reduce $c$, so it helps for wide networks and large batches.
#
# ## Exercises
#
# 1. Shuffle the rows of the training set with a fixed order before the training, and train again. Is the difference of the
#    predictions larger or smaller than between the engines?
# 2. Sum 100,000 random float32 numbers in their order, in reverse order, and sorted. How large are the differences?
# 3. Save a network that was trained on one engine, load it, and continue the training on the other one.
# 4. Measure `predict` for 1 row and for 10,000 rows on both engines. Where is the difference larger?
# 5. (Open.) If you have a GPU: measure the last table, and compare it with the calculation.
#
# `chainrule labs gpu_and_cpu --solution` copies the solutions.
