# %% [markdown]
# # Lab 15: Solutions

# %%
import numpy as np

from chainrule import Dataset, build_network
from chainrule.experiments import compare
from chainrule.labs import budget
from chainrule.optimizer import SGD, Rprop

# %% [markdown]
# ## Exercise 1: the largest rate
#
# Gradient descent multiplies a weight with the curvature $c$ by $1 - \eta c$ in every step. This shrinks the weight if
# $|1 - \eta c| < 1$, that is $\eta < 2 / c$. For $c = 2$, the rate must be below 1.

# %%
CURVATURE = np.array([0.02, 2.0])
ends = {}
for rate in (0.5, 0.9, 0.99, 1.01):
    weights, optimizer = np.array([-8.0, 1.5]), SGD(learning_rate=rate)
    for _ in range(200):
        weights = optimizer.update(weights, CURVATURE * weights)
    ends[rate] = weights.copy()
    print(rate, ends[rate])
assert abs(ends[0.99][1]) < 1.5 < abs(ends[1.01][1])

# %% [markdown]
# ## Exercise 2: the number of hidden units

# %%
rng = np.random.default_rng(0)


def points(n_rows):
    X = rng.uniform(-2, 2, (n_rows, 2))
    return Dataset(X, np.sin(2 * X[:, 0]) + X[:, 1] ** 2 + rng.normal(0, 0.01, n_rows))


train, test = points(200), points(1000)


def network(optimizer, epochs, units=10, **settings):
    return build_network(
        2,
        train.target,
        hidden=(units,),
        activation="tanh",
        optimizer=optimizer,
        epochs=epochs,
        dtype="float64",
        **settings,
    )


def table(configurations):
    return compare(
        configurations,
        train,
        test,
        seeds=budget(5, quick=1),
        metrics=["root_mean_squared_error"],
        n_jobs=budget(None, quick=1),
        verbose=False,
    ).table()


# %%
table(
    {
        f"{units} units": network("lm", budget(100, quick=10), units=units)
        for units in budget((2, 5, 10, 20), quick=(2, 5))
    }
)

# %% [markdown]
# With two units, the network cannot follow the function. From ten units on, the error is about as large as the noise, 0.01, and does
# not fall further.
#
# ## Exercise 3: the variants of Rprop

# %%
VARIANTS = ("improved_minus", "minus", "plus", "improved_plus")
table({variant: network(Rprop(variant=variant), budget(500, quick=10)) for variant in VARIANTS})

# %% [markdown]
# The standard deviations over the seeds are as large as the differences: no variant is clearly better.
#
# ## Exercise 4: mini-batches with SGD
#
# The methods of the lab compare the gradients (or losses) of one step with those of the step before. If each step has other rows, the
# difference shows the change of the rows, and not only that of the weights. Then signs and curvatures are wrong.

# %%
rates = budget((0.01, 0.03, 0.1), quick=(0.03,))
table({f"SGD, rate {rate}": network("sgd", budget(500, quick=10), learning_rate=rate, batch_size=20) for rate in rates})

# %% [markdown]
# Even with the best of these rates, SGD is worse than Adam, and far from Levenberg-Marquardt.
#
# ## Exercise 5: first Adam, then L-BFGS
#
# A new network takes over the weights of the first one.

# %%
errors = {"Adam": [], "L-BFGS": [], "Adam, then L-BFGS": []}
for seed in range(budget(5, quick=1)):
    first = network("adam", budget(250, quick=5), learning_rate=0.03, batch_size=20, seed=seed).fit(train)
    second = network("lbfgs", budget(150, quick=5), seed=seed)
    for place in (0, 2):
        second.layers[place].weights = first.layers[place].weights
        second.layers[place].biases = first.layers[place].biases
    networks = (
        network("adam", budget(500, quick=10), learning_rate=0.03, batch_size=20, seed=seed),
        network("lbfgs", budget(300, quick=10), seed=seed),
        second,
    )
    for values, one in zip(errors.values(), networks, strict=True):
        values.append(one.fit(train).evaluate(test)["root_mean_squared_error"])
for name, values in errors.items():
    print(f"{name:18} {np.mean(values):.4f} (sd {np.std(values, ddof=min(1, len(values) - 1)):.4f})")

# %% [markdown]
# After the same number of epochs in all, the two together reach an error that is as small as that of L-BFGS alone, or a
# little smaller: Adam finds a good region quickly, and L-BFGS finds the minimum in it.
