# %% [markdown]
# # Lab 11: Solutions

# %%
import matplotlib.pyplot as plt
import numpy as np
from scipy.stats import loguniform, randint

from chainrule import Dataset, EarlyStopping, build_network, find_learning_rate, load_dataset, tune_hyperparameters
from chainrule.labs import budget
from chainrule.plots import plot_rate_search

SEARCH = {"verbose": False, "n_jobs": budget(None, quick=1), "cv": budget(5, quick=2)}
EPOCHS = budget(20, quick=2)

digits = load_dataset("digits")
train, test = digits.split(test_size=1197 / 1797, seed=0)


def builder(units=32, learning_rate=0.001, epochs=EPOCHS, activation="relu", n_layers=1, **settings):
    return build_network(
        digits.n_features,
        digits.target,
        hidden=n_layers * (units,),
        activation=activation,
        learning_rate=learning_rate,
        epochs=epochs,
        seed=0,
        **settings,
    )


# %% [markdown]
# ## Exercise 1: other optimizers
#
# Adam and RMSprop divide the gradient by its typical size, so a step has about the size of the learning rate, whatever the size of the
# gradient. A step of SGD is the rate times the gradient, which is small here, so SGD needs a larger rate.

# %%
found = {name: find_learning_rate(builder(optimizer=name), train) for name in ("adam", "rmsprop", "sgd")}
for name, search in found.items():
    print(f"{name:8} {search.suggestion:.4f}")
assert found["sgd"].suggestion > found["adam"].suggestion

# %%
plot_rate_search(found["sgd"])

# %% [markdown]
# ## Exercise 2: optimism and the number of rows

# %%
optimism = {}
for n_rows in budget((25, 100, 400, 1600), quick=(25, 400)):
    rng = np.random.default_rng(n_rows)
    coins = Dataset(rng.normal(size=(n_rows, 10)), rng.integers(0, 2, n_rows))

    def coin_builder(units, learning_rate, target=coins.target):
        return build_network(
            10, target, hidden=(units,), learning_rate=learning_rate, epochs=budget(10, quick=1), seed=0
        )

    grid = {"units": randint(2, 100), "learning_rate": loguniform(1e-4, 1e-1)}
    tuned = tune_hyperparameters(coin_builder, grid, coins, n_iter=budget(20, quick=4), **SEARCH)
    optimism[n_rows] = tuned.best_score - 0.5
    print(f"{n_rows:5} rows: the best score is {tuned.best_score:.3f}, the truth 0.5")

# %%
figure, ax = plt.subplots(figsize=(5, 3.2), layout="tight")
ax.semilogx(list(optimism), list(optimism.values()), "o-", color="#0072B2")
labels = ax.set(xlabel="rows (log axis)", ylabel="best score − 0.5")

# %% [markdown]
# The accuracy on $m$ coin flips has the standard deviation $0.5 / \sqrt{m}$. With more rows, the scores differ less by
# chance, so the best one is closer to 0.5.
#
# ## Exercise 3: activation and number of layers

# %%
distributions = {
    "units": randint(8, 129),
    "learning_rate": loguniform(1e-3, 1e-1),
    "activation": ["relu", "tanh", "sigmoid"],
    "n_layers": [1, 2, 3],
}
tuned = tune_hyperparameters(builder, distributions, train, n_iter=budget(16, quick=3), **SEARCH)
tuned.table()[[*distributions, "accuracy", "accuracy_sd"]].head(5)

# %% [markdown]
# ## Exercise 4: standardisation
#
# No: even without the labels, the mean and the standard deviation of the test rows enter the training. With many
# ordinary rows, the effect is tiny. A few very large values in the test rows change the scale of all inputs.
#
# With `standardize=True`, each fold is standardised by the mean and the standard deviation of the other folds.

# %%
X = np.random.default_rng(0).normal(size=(200, 1))
X[-2:] = 1000  # two wrong values, in the test rows
print("standard deviation of the training rows:", X[:150].std().round(2))
print("standard deviation of all rows:         ", X.std().round(2))

# %% [markdown]
# ## Exercise 5: early stopping inside the search
#
# The number of epochs is an upper bound now. Each run holds out 20 % of its training rows, and keeps the weights of the epoch with
# the lowest validation loss.

# %%
fit = {"validation": 0.2, "callbacks": [EarlyStopping(patience=5, restore_best=True)]}
grid = {"units": [32, 128], "learning_rate": [0.001, 0.01]}
stopped = tune_hyperparameters(lambda **p: builder(epochs=budget(100, quick=3), **p), grid, train, fit=fit, **SEARCH)
stopped.table()[["units", "learning_rate", "accuracy", "accuracy_sd", "epochs"]]
