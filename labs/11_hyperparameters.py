# %% [markdown]
# # Lab 11: Hyper-parameters
#
# **Question.** How do you choose the learning rate, the number of units and the other settings of a network, and how do
# you measure how good the chosen network is?
#
# **You need** [Lab 5](05_mnist.md): training a network, and training and test sets. **Time:** 75 minutes. Running it takes about
# 30 seconds on two cores.
#
# Training finds the weights. The settings that you give before the training are called **hyper-parameters**: the
# learning rate, the number of units and layers, the dropout rate, the number of epochs. A search tries several values
# and keeps the best. The score of the best one is usually too good. This lab shows how to search, and how to measure
# the result.

# %%
import matplotlib.pyplot as plt
import numpy as np
from scipy.stats import loguniform, randint, uniform
from sklearn.model_selection import StratifiedKFold

from chainrule import Dataset, build_network, find_learning_rate, load_dataset, tune_hyperparameters
from chainrule.labs import budget
from chainrule.plots import plot_rate_search

SEARCH = {"verbose": False, "n_jobs": budget(None, quick=1)}
EPOCHS = budget(20, quick=2)

# %% [markdown]
# ## Training rows and test rows
#
# The data are images of handwritten digits with 8 x 8 pixels. To make the task harder, only 600 images are for
# training. The other 1,197 images are the **test set**. They are put aside until the end: no choice may depend on them.
# Otherwise, the test result would no longer show how good the network is on new images.

# %%
digits = load_dataset("digits")
train, test = digits.split(test_size=1197 / 1797, seed=0)
print(train)
print(test)


def builder(units=32, learning_rate=0.001, dropout=0.0, l2=0.0, epochs=EPOCHS):
    return build_network(
        digits.n_features,
        digits.target,
        hidden=(units,),
        dropout=dropout,
        l2=l2,
        learning_rate=learning_rate,
        epochs=epochs,
        seed=0,
    )


# %% [markdown]
# ## A first look: the learning-rate finder
#
# The learning rate is usually the most important hyper-parameter. `find_learning_rate` takes one hundred training
# steps, and raises the rate a little after each. With rates that are too small, the loss hardly changes. Then it falls,
# and with rates that are too large, it rises. The suggestion is a tenth of the rate at which the loss was lowest.

# %%
search = find_learning_rate(builder(), train)
plot_rate_search(search)

# %% [markdown]
# This takes as long as a few epochs. It gives the order of magnitude, not the best value. Small differences need a search.
#
# ## Cross-validation
#
# To compare settings, you need rows that were not used in training, and the test set must not be used.
# **Cross-validation** divides the training rows into $k$ parts, called folds. It trains $k$ networks, each without one
# fold, and measures each network on the fold that it was trained without. The score is the mean of the $k$ results:
#
# $$\text{score} = \frac{1}{k} \sum_{i=1}^{k} \text{accuracy of the network without fold } i \text{, on fold } i$$
#
# Every row is used for training and for validation, but never for both in the same network.
#
# ## Grid search
#
# A **grid search** tries all combinations of some values. Here, it tries four numbers of units with four learning
# rates. These are 16 combinations, each with 5 folds.

# %%
grid = {
    "units": budget([8, 16, 32, 64], quick=[8, 64]),
    "learning_rate": budget([0.0003, 0.001, 0.01, 0.1], quick=[0.0003, 0.01]),
}
grid_search = tune_hyperparameters(builder, grid, train, cv=budget(5, quick=2), **SEARCH)
grid_table = grid_search.table()
grid_table[["units", "learning_rate", "accuracy", "accuracy_sd", "seconds"]]

# %%
grid_table.pivot(index="units", columns="learning_rate", values="accuracy").round(3)

# %%
print(grid_search.best_parameters, round(grid_search.best_score, 4))
assert grid_search.best_parameters["learning_rate"] == 0.01

# %% [markdown]
# The learning rate matters most: for every number of units, 0.01 is the best of the four. From 16 units on, the number
# of units matters little. The differences between 16, 32 and 64 units are about as large as the standard deviation over
# the folds (`accuracy_sd`), so this search cannot tell which of them is the best. Look also at the last learning rate:
# 0.1 is too large, and the results of the folds differ a lot.
#
# ## Random search
#
# With five hyper-parameters and four values each, a grid has $4^5 = 1024$ combinations. A **random search** draws a given number of
# combinations. Learning rates and penalties are drawn on a logarithmic scale (`loguniform`), because 0.001 and 0.01
# differ as much as 0.01 and 0.1.

# %%
distributions = {
    "units": randint(8, 129),
    "learning_rate": loguniform(1e-4, 1e-1),
    "dropout": uniform(0, 0.5),
    "l2": loguniform(1e-6, 1e-2),
}
random_search = tune_hyperparameters(
    builder, distributions, train, n_iter=budget(16, quick=4), cv=budget(5, quick=2), seed=1, **SEARCH
)
random_table = random_search.table()
random_table[["units", "learning_rate", "dropout", "l2", "accuracy", "accuracy_sd"]].head(5)

# %%
figure, panels = plt.subplots(1, 2, figsize=(9, 3.4), layout="tight", sharey=True)
for ax, table, name in zip(panels, (grid_table, random_table), ("grid", "random"), strict=True):
    ax.semilogx(table["learning_rate"].astype(float), table["accuracy"], "o", color="#0072B2", alpha=0.7)
    ax.set(title=f"{name} search", xlabel="learning rate (log axis)", ylabel="accuracy")

# %% [markdown]
# Both searches trained 16 combinations. The grid tried only four learning rates, each four times. The random search
# tried 16 different ones. If only one or two of the hyper-parameters matter, and you do not know which, a random search
# uses the same time better (Bergstra and Bengio 2012).
#
# Here the best combinations of both searches are about equally good. From a learning rate of 0.001 on, nearly all combinations
# of the random search do well; a grid around one value would not have shown this.
#
# ## The best score is too good
#
# The score of a combination depends on how good the combination is, and on chance: on these folds, a combination can
# score better or worse than on other rows. The best of many scores is often one that chance has raised. To see only the
# effect of chance, take data **without anything to learn**: random numbers as inputs, and coin flips as labels. Every
# network has the true accuracy 0.5.

# %%
rng = np.random.default_rng(0)
coins = Dataset(rng.normal(size=(100, 10)), rng.integers(0, 2, 100))
more_coins = Dataset(rng.normal(size=(5000, 10)), rng.integers(0, 2, 5000))


def coin_builder(units, learning_rate):
    epochs = budget(10, quick=2)
    return build_network(10, coins.target, hidden=(units,), learning_rate=learning_rate, epochs=epochs, seed=0)


# %%
coin_search = tune_hyperparameters(
    coin_builder,
    {"units": randint(2, 100), "learning_rate": loguniform(1e-4, 1e-1)},
    coins,
    n_iter=budget(50, quick=8),
    cv=5,
    **SEARCH,
)
coin_test = coin_search.model.evaluate(more_coins)["accuracy"]
print(f"best score of the search: {coin_search.best_score:.3f}")
print(f"the same network on 5,000 new coin flips: {coin_test:.3f}")
assert coin_search.best_score > coin_test + 0.02

# %%
scores = [values.mean() for values in coin_search.comparison.scores().values()]
orders = np.array([rng.permutation(scores) for _ in range(1000)])  # the combinations in 1,000 random orders
best_so_far = np.maximum.accumulate(orders, axis=1).mean(axis=0)
figure, ax = plt.subplots(figsize=(7, 3.4), layout="tight")
ax.plot(range(1, len(scores) + 1), scores, ".", color="#56B4E9", label="score of each combination")
ax.plot(range(1, len(scores) + 1), best_so_far, color="#0072B2", label="best of the first n (mean)")
ax.axhline(0.5, color="#D55E00", linestyle="--", label="truth")
ax.set(xlabel="combinations tried", ylabel="accuracy")
legend = ax.legend(loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)

# %% [markdown]
# The more combinations you try, the better the best score becomes, although there is nothing to learn. The score of a
# single combination is right on average. The best of fifty is about 0.1 too good, and on new coin flips, the accuracy
# of this network is again 0.5.
#
# ## An estimate without this optimism: nested cross-validation
#
# The remedy is to measure on rows that had no part in the choice. A test set is one way. If there are too few rows for
# a test set, use **nested cross-validation**: an outer loop puts each fold aside, the whole search is done with the
# other folds (an inner cross-validation), and the best combination is measured on the outer fold. This measures not a
# single combination, but the **procedure** of choosing one.

# %%
outer = StratifiedKFold(budget(5, quick=2), shuffle=True, random_state=0)
inner_scores, outer_scores = [], []
for fold, (rows, held_out) in enumerate(outer.split(train.X, train.y)):
    inner = {"n_iter": budget(10, quick=2), "cv": budget(4, quick=2), "seed": fold}
    tuned = tune_hyperparameters(builder, distributions, train.take(rows), **inner, **SEARCH)
    inner_scores.append(tuned.best_score)
    outer_scores.append(tuned.model.evaluate(train.take(held_out))["accuracy"])
    print({name: f"{value:.3g}" for name, value in tuned.best_parameters.items()})
print(f"best scores of the inner searches: {np.mean(inner_scores):.4f}")
print(f"their winners on the outer folds:  {np.mean(outer_scores):.4f}")
print(f"standard deviation of the folds:   {np.std(outer_scores, ddof=1):.4f}")

# %% [markdown]
# The best scores of the inner searches and the results on the outer folds are nearly equal. Unlike with the coins,
# there is something to learn, and the differences between good and bad combinations are much larger than those that are
# due to chance. Also, only ten combinations were tried, so chance could not raise the best score much. The best
# combinations of the five searches differ a lot, and are about equally good: there is no single right setting.
#
# ## At the very end: the test set
#
# The search has trained its best combination again on all training rows: `random_search.model`. It is measured on the
# test set, once.

# %%
test_accuracy = random_search.model.evaluate(test)["accuracy"]
print(f"best score in cross-validation: {random_search.best_score:.4f}")
print(f"test accuracy:                  {test_accuracy:.4f}")
assert test_accuracy > budget(0.9, quick=0.5)

# %% [markdown]
# The test accuracy is even a little higher than the score. The folds of the search had 480 training rows, and the final
# network has 600. Also, both numbers are uncertain: the accuracy $p$ on $m$ rows has the standard error
# $\sqrt{p (1 - p) / m}$, here about 0.005 for the test set, and more for the 600 training rows.
#
# ## What you have learned
#
# - Hyper-parameters are chosen on rows that were not trained on: by cross-validation of the training rows.
# - The learning-rate finder gives a first value. Random search explores more values of each hyper-parameter than a grid with
#   the same number of trainings.
# - The best score of a search is too high on average. The more combinations are tried, and the fewer rows there are,
#   the larger is this error.
# - A test set or nested cross-validation gives an estimate without this error. Never use test rows to choose anything.
#
# ## Exercises
#
# 1. Find the learning rate for the optimizers `"sgd"` and `"rmsprop"` with the learning-rate finder. Why do the suggestions
#    differ?
# 2. Repeat the coin experiment with 25, 100, 400 and 1,600 rows. How does the difference between the best score and 0.5
#    depend on the number of rows?
# 3. Add the activation and the number of layers to the random search. (A list of values is allowed as well as a
#    distribution.)
# 4. A colleague standardises all rows, including the test rows, before the split. Is this allowed? Try it on data with
#    a few very large values. What does `standardize=True` of `tune_hyperparameters` do instead?
# 5. (Open.) The number of epochs is a hyper-parameter, too. Use early stopping inside the search
#    (`fit={"validation": 0.2, "callbacks": [EarlyStopping()]}`), and compare the result.
#
# `chainrule labs hyperparameters --solution` copies the solutions.
