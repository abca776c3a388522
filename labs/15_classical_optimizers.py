# %% [markdown]
# # Lab 15: Classical optimizers for small regressions
#
# **Question.** If there are only a few hundred rows, is there something better than Adam?
#
# **You need** [Lab 6](06_training_algorithms.md): gradient descent, momentum and Adam. **Time:** 60 minutes. Running it takes
# about 30 seconds on two cores.
#
# Adam and similar optimizers take many small steps, each computed from a small batch of rows. This suits large data.
# The methods of this lab are older. Each step uses **all** rows, is more expensive, and usually brings the weights much
# closer to a minimum.

# %%
import matplotlib.pyplot as plt
import numpy as np

from chainrule import Dataset, build_network, tune_hyperparameters
from chainrule.experiments import compare
from chainrule.labs import budget, load_lab_data
from chainrule.optimizer import SGD, Adam, Quickprop, Rprop

SEEDS = budget(5, quick=2)
N_JOBS = budget(None, quick=1)

# %% [markdown]
# ## Four ideas
#
# In the formulas, $w$ is a weight, and $g$ its gradient.
#
# **Rprop** (resilient propagation, 1993) looks only at the **sign** of the gradient. Every weight has its own step size
# $\Delta$. It grows by the factor 1.2 while the sign stays the same, and is halved when the sign changes:
#
# $$w \leftarrow w - \mathrm{sign}(g) \, \Delta$$
#
# **Quickprop** (1988) draws a parabola through the last two gradients of a weight, and jumps to its minimum. With the last
# step $s_{t-1}$:
#
# $$s_t = \frac{g_t}{g_{t-1} - g_t} \, s_{t-1}, \qquad w \leftarrow w + s_t$$
#
# **L-BFGS** (1989) is a form of Newton's method. Newton divides the gradient by the second derivative (the curvature), which
# for many weights is a matrix. L-BFGS estimates the inverse $H$ of this matrix from the last ten steps, and searches
# along the direction $H g$ for a good step length $\alpha$:
#
# $$w \leftarrow w - \alpha H g$$
#
# **Levenberg-Marquardt** (1944, 1963) is made for the mean squared error. It replaces the network by a linear
# approximation around the present weights, with the matrix $J$ of the derivatives of all errors $r$ with respect to all
# weights. The step $s$ to the minimum of this approximation is the solution of a system of equations:
#
# $$(J^\top J + d I) \, s = -J^\top r, \qquad w \leftarrow w + s$$
#
# The number $d$, the damping, is large while the steps fail, and small when they succeed.
#
# ## A long valley
#
# This example has two weights, and a loss that is a hundred times more curved in one direction than in the other. The
# lines in the pictures are contours of the loss, and the minimum is at (0, 0).

# %%
CURVATURE = np.array([0.02, 2.0])


def path_of(optimizer, n_steps=30):
    weights = np.array([-8.0, 1.5])
    path = [weights.copy()]
    for _ in range(n_steps):
        weights = optimizer.update(weights, CURVATURE * weights)
        path.append(weights.copy())
    return np.array(path)


optimizers = {
    "gradient descent": SGD(learning_rate=0.9),
    "Adam": Adam(learning_rate=0.5),
    "Rprop": Rprop(learning_rate=0.5),
    "Quickprop": Quickprop(learning_rate=0.5),
}
paths = {name: path_of(optimizer) for name, optimizer in optimizers.items()}

# %%
x, y = np.meshgrid(np.linspace(-9, 3, 100), np.linspace(-2.2, 2.2, 100))
figure, panels = plt.subplots(2, 2, figsize=(10, 6), layout="tight", sharex=True, sharey=True)
for ax, (name, path) in zip(panels.flat, paths.items(), strict=True):
    loss = (CURVATURE[0] * x**2 + CURVATURE[1] * y**2) / 2
    ax.contour(x, y, loss, levels=[0.01, 0.1, 0.5, 1, 2, 4], colors="lightgray")
    ax.plot(*path.T, "o-", color="#0072B2", markersize=3, linewidth=1)
    ax.plot(0, 0, "x", color="#D55E00")
    loss = (CURVATURE * path[-1] ** 2).sum() / 2
    ax.set(xlabel="weight 1", ylabel="weight 2", title=f"{name}: loss {loss:.2g} after 30 steps")

# %% [markdown]
# The gradient points across the valley, not along it. **Gradient descent** jumps from side to side, and moves slowly
# along the valley. With a slightly larger rate, it would diverge. **Adam** goes farther, and overshoots because of its
# momentum. **Rprop** gives each weight its own step size, so it also moves fast along the valley, where the gradient is
# small. **Quickprop** jumps to the minimum of a parabola; this loss is a parabola in each weight, so Quickprop reaches
# the minimum exactly.
#
# ## A function with two inputs
#
# The data are 200 random points of the function $y = \sin(2 x_1) + x_2^2$ with a little noise (standard deviation
# 0.01), and another 1,000 points as the test set. No network can have an error on the test set that is much smaller
# than the noise, 0.01.

# %%
rng = np.random.default_rng(0)


def points(n_rows):
    X = rng.uniform(-2, 2, (n_rows, 2))
    return Dataset(X, np.sin(2 * X[:, 0]) + X[:, 1] ** 2 + rng.normal(0, 0.01, n_rows))


train, test = points(200), points(1000)


def network(data, optimizer, epochs, units=10, **settings):
    return build_network(
        data.n_features,
        data.target,
        hidden=(units,),
        activation="tanh",
        optimizer=optimizer,
        epochs=epochs,
        dtype="float64",
        **settings,
    )


# %% [markdown]
# Adam needs a learning rate and a batch size. Choose them by cross-validation on the training rows ([Lab 11](11_hyperparameters.md)
# explains it), so that the comparison is fair. The other methods keep their default settings.

# %%
tuned = tune_hyperparameters(
    lambda **settings: network(train, "adam", budget(300, quick=3), **settings),
    {"learning_rate": [0.003, 0.01, 0.03, 0.1], "batch_size": [20, 200]},
    train,
    cv=budget(5, quick=2),
    metric="root_mean_squared_error",
    n_jobs=N_JOBS,
    verbose=False,
)
tuned.table()[["learning_rate", "batch_size", "root_mean_squared_error", "root_mean_squared_error_sd"]]

# %%
result = compare(
    {
        "Adam": network(train, "adam", budget(500, quick=20), **tuned.best_parameters),
        "Rprop": network(train, "rprop", budget(500, quick=20)),
        "Quickprop": network(train, "quickprop", budget(500, quick=20)),
        "L-BFGS": network(train, "lbfgs", budget(300, quick=20)),
        "Levenberg-Marquardt": network(train, "levenberg_marquardt", budget(100, quick=20)),
    },
    train,
    test,
    seeds=SEEDS,
    metrics=["root_mean_squared_error"],
    n_jobs=N_JOBS,
    verbose=False,
)
result.table()

# %%
means = result.summary()["root_mean_squared_error"]
assert means["Levenberg-Marquardt"] < means["Adam"] / 2

# %% [markdown]
# The root mean squared error of Levenberg-Marquardt is about the noise, 0.01, after 100 steps, so there is hardly
# anything left to improve. L-BFGS is second. Rprop and Quickprop are behind Adam here, but they had 500 steps, and Adam
# had 5,000 (ten batches in each epoch).

# %%
result.plot("loss", log=True)

# %% [markdown]
# An epoch is one pass over the rows. For Adam, it consists of several steps; for the other methods, it is one step. In
# practice, the time matters, so the next picture has seconds on its axis (for the run with the first seed):

# %%
figure, ax = plt.subplots(figsize=(6, 3.8), layout="tight")
for name, color in zip(result.names, ["#0072B2", "#D55E00", "#009E73", "#E69F00", "#CC79A7"], strict=True):
    history = result.of(name)[0].history
    ax.loglog(np.cumsum(history["seconds"]), history["loss"], color=color, label=name)
ax.set(xlabel="seconds (log axis)", ylabel="training loss (log axis)")
legend = ax.legend(loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)

# %% [markdown]
# Times differ from computer to computer. The order is clear: Levenberg-Marquardt and L-BFGS reach the loss of Adam's
# last epochs in a fraction of Adam's time, and then reduce it further. The loss of Adam goes up and down, because each
# batch has different rows.
#
# ## The limits of Levenberg-Marquardt
#
# Its matrix has one row and one column per weight. For $p$ weights, the memory grows with $p^2$ and the time of a step with
# $p^3$:

# %%
seconds = {}
for units in budget([5, 20, 80], quick=[2, 5]):
    model = network(train, "levenberg_marquardt", 5, units=units).fit(train)
    seconds[model.stack.parameters()] = np.median(model.history["seconds"])
for n_parameters, one in seconds.items():
    print(f"{n_parameters:4} parameters: {1000 * one:8.1f} ms per step")

# %% [markdown]
# In these small networks, other work takes most of the time, so the time grows more slowly than $p^3$. But a network
# for MNIST has 100,000 weights. Its matrix would have $10^{10}$ elements, 80 GB. The method is also restricted to the
# mean squared error, and needs all rows at once. L-BFGS works with every smooth loss and stores only ten pairs of
# vectors, but it needs all rows at once, too.
#
# ## Real data: Boston housing
#
# The next data are the prices of houses (in 1,000 dollars) in 404 districts, described by 13 numbers. Real data have
# much more noise. A method that reaches a low training loss quickly then also **overfits** quickly: it learns the noise
# ([Lab 7](07_overfitting.md)). A penalty on the squares of the weights, L2, works against this. Its strength is chosen
# by cross-validation on the training rows, for each method separately. The learning rate of Adam is chosen in the same
# way.

# %%
houses, test_houses = load_lab_data("boston")
test_houses = test_houses.standardize(like=houses.standardize())
houses = houses.standardize()
EPOCHS = {
    "adam": budget(200, quick=10),
    "lbfgs": budget(200, quick=10),
    "levenberg_marquardt": budget(50, quick=10),
}


# %%
def best_settings(optimizer, grid, **settings):
    return tune_hyperparameters(
        lambda **chosen: network(houses, optimizer, EPOCHS[optimizer], **settings, **chosen),
        grid,
        houses,
        cv=budget(5, quick=2),
        metric="root_mean_squared_error",
        n_jobs=N_JOBS,
        verbose=False,
    ).best_parameters


# %%
rates = {"learning_rate": budget([0.003, 0.01, 0.03, 0.1], quick=[0.01])}
strengths = {"l2": budget([0.0, 0.03, 0.1, 0.3, 1.0], quick=[0.1, 1.0])}
chosen = {"adam": best_settings("adam", rates), "lbfgs": {}, "levenberg_marquardt": {}}
with_l2 = {name: {**one, **best_settings(name, strengths, **one)} for name, one in chosen.items()}
for name, one in with_l2.items():
    print(f"{name:20} {one}")

# %%
configurations = {}
for optimizer, epochs in EPOCHS.items():
    configurations[optimizer] = network(houses, optimizer, epochs, **chosen[optimizer])
    configurations[f"{optimizer}, L2"] = network(houses, optimizer, epochs, **with_l2[optimizer])
result = compare(
    configurations,
    houses,
    test_houses,
    seeds=SEEDS,
    metrics=["root_mean_squared_error"],
    n_jobs=N_JOBS,
    verbose=False,
)
result.table()

# %%
print("mean training loss after the last epoch, without the penalty:")
for name in result.names:
    print(f"{name:24} {np.mean([run.history['loss'][-1] for run in result.of(name)]):8.2f}")

# %%
result.plot_scores()

# %% [markdown]
# Without a penalty, Levenberg-Marquardt has the worst test error, and L-BFGS the one that varies most. With L2, the mean error of each
# method is lower, and the three methods are about equally good: the differences between them are hardly larger than their standard
# deviations. On noisy data, the penalty matters more than the optimizer.
#
# Look also at the training losses. For Levenberg-Marquardt, even the training loss is lower **with** the penalty. Its long steps may
# push the weights so far that the tanh units saturate ([Lab 4](04_symmetry_and_initialisation.md)), and saturated units do not learn
# any more. The penalty keeps the weights small.
#
# ## What you have learned
#
# - Rprop uses the signs of the gradients, Quickprop parabolas, L-BFGS an estimate of the curvature, and Levenberg-Marquardt the
#   derivatives of all errors.
# - For a few hundred rows and a small network, Levenberg-Marquardt and L-BFGS reach errors that Adam does not reach in the same
#   time.
# - They do not scale: the memory of Levenberg-Marquardt grows with the square of the number of weights, and all of them
#   need all rows in every step.
# - A better minimum of the training loss is not a better model. With noisy data, use a penalty or stop early, and choose its
#   strength by cross-validation.
#
# ## Exercises
#
# 1. Give gradient descent in the valley other learning rates. What is the largest rate that does not diverge? (The curvature
#    of the second weight is 2.)
# 2. Fit the function with 2, 5, 10 and 20 hidden units by Levenberg-Marquardt. From which number on is the error about as large as
#    the noise?
# 3. Rprop has four variants, `Rprop(variant=...)`. Compare them on the function.
# 4. Use mini-batches of 20 rows with `SGD`, and compare it with the table above. Why do the methods of this lab ignore
#    `batch_size`?
# 5. (Open.) Start with Adam and finish with L-BFGS: train the same network with one and then the other (copy the
#    weights of the layers into a second network). Is the result on the function better than with either of them alone?
#
# `chainrule labs classical_optimizers --solution` copies the solutions.
