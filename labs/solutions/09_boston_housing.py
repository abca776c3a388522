# %% [markdown]
# # Lab 9: Solutions

# %%
import numpy as np
from sklearn.linear_model import RidgeCV

from chainrule.experiments import compare
from chainrule.labs import budget, load_lab_data
from chainrule.plots import plot_comparison
from chainrule.zoo import HousingNet


def division(dataset, seed=113):
    order = np.arange(dataset.n_rows)
    np.random.RandomState(seed).shuffle(order)
    n_train = int(0.8 * dataset.n_rows)
    return dataset.take(order[:n_train]), dataset.take(order[n_train:])


train, test = load_lab_data("boston", split=division)
standard_train = train.standardize()
standard_test = test.standardize(like=standard_train)

# %% [markdown]
# ## Exercise 1: without standardising
#
# Columns with large numbers make large sums, so the first loss is large. The gradients of the weights of these columns are
# large as well, and the other columns are hardly learned. After the same number of epochs, the loss is higher.

# %%
settings = {"epochs": budget(100, quick=30), "seed": 0}
raw = HousingNet(train.n_features, **settings).fit(train)
standard = HousingNet(train.n_features, **settings).fit(standard_train)
print(f"R2 of raw columns {raw.score(test):.3f}, of standardised columns {standard.score(standard_test):.3f}")
plot_comparison({"raw": raw.history, "standardised": standard.history})

# %% [markdown]
# ## Exercise 2: other splits
#
# `compare` splits the rows differently for each seed if it gets no test set. The error depends on the split more than
# on most settings. Do not compare numbers from different splits.

# %%
whole, _ = load_lab_data("boston", split=lambda dataset: (dataset, dataset))
ridge = {"ridge": RidgeCV(np.logspace(-3, 3, 13))}
divided = compare(ridge, whole, seeds=10, metrics="mean_squared_error", n_jobs=1, verbose=False)
errors = divided.scores()["ridge"]
print(f"mean squared error between {errors.min():.1f} and {errors.max():.1f}")
assert errors.max() > 1.1 * errors.min()

# %% [markdown]
# ## Exercise 3: the mean absolute error as the loss
#
# The squared error counts large mistakes more. With the absolute error as the loss, the network tends to predict a
# median instead of a mean: the mean absolute error becomes smaller or stays the same, and the few large mistakes may
# become larger.

# %%
losses = {
    name: HousingNet(train.n_features, loss=name, epochs=budget(300, quick=60))
    for name in ("mean_squared_error", "mean_absolute_error")
}
metrics = ["mean_squared_error", "mean_absolute_error"]
compare(losses, train, cv=5, seeds=1, standardize=True, metrics=metrics, n_jobs=1, verbose=False)

# %% [markdown]
# ## Exercise 4: the mean of ten networks
#
# The mistakes of the networks differ, and partly cancel in the mean.

# %%
predictions = []
for seed in range(budget(10, quick=3)):
    one = HousingNet(train.n_features, epochs=budget(300, quick=60), seed=seed).fit(standard_train)
    predictions.append(one.predict(standard_test).ravel())
single = np.mean([np.mean((p - test.y) ** 2) for p in predictions])
together = np.mean((np.mean(predictions, axis=0) - test.y) ** 2)
print(f"mean squared error of one network {single:.1f}, of the mean of all {together:.1f}")
assert together < single

# %% [markdown]
# The inequality in the last line always holds: it follows from $\big(\overline{p} - y\big)^2 \le \overline{(p - y)^2}$.
