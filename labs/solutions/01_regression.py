# %% [markdown]
# # Lab 1: Solutions
#
# ## Exercise 1: the number of instances

# %%
import numpy as np
import pandas as pd
from sklearn.linear_model import LinearRegression

from chainrule import Dataset, EarlyStopping, build_network, tune_hyperparameters
from chainrule.experiments import Configuration, compare
from chainrule.labs import budget
from chainrule.plots import plot_loss
from chainrule.zoo import RegressionNN


def generate_dataset(num_features, num_instances, noise=0.1, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(num_instances, num_features))
    weights = rng.normal(size=num_features)
    y = X @ weights + noise * rng.normal(size=num_instances)
    return Dataset(X, y)


epochs, seeds, n_jobs = budget(100, quick=40), budget(5, quick=2), budget(None, quick=1)
settings = {"seeds": seeds, "n_jobs": n_jobs, "verbose": False, "metrics": "mean_squared_error"}

# %%
rows = {}
for n in (20, 50, 200, 1000):
    network = {"network": RegressionNN(3, epochs=epochs, batch_size=1000)}
    result = compare(network, generate_dataset(3, n, noise=0.5), **settings)
    training = np.mean([run.history.last("loss") for run in result.runs])
    rows[f"{n} instances"] = {"training MSE": training, "test MSE": result.scores()["network"].mean()}
table = pd.DataFrame(rows).T.round(3)
assert table["test MSE"].iloc[-1] < table["test MSE"].iloc[0]
table

# %% [markdown]
# With few instances, the network memorises them: the training MSE is below the variance of the noise, 0.25, and the
# test MSE is far above. With more instances the two come closer to each other and to 0.25. More data are the best
# remedy for overfitting.
#
# ## Exercise 2: outliers
#
# The outliers are only in the training rows. The test rows are unchanged.

# %%
train, test = generate_dataset(3, 100).split(0.2, seed=0)
y = train.y.copy()
y[:5] += 20
spoiled = Dataset(train.X, y)
losses = {
    "MSE": RegressionNN(3, epochs=epochs),
    "MAE": RegressionNN(3, loss="mean_absolute_error", epochs=epochs),
}
result = compare(losses, spoiled, test, **settings)
assert result.best == "MAE"
result

# %% [markdown]
# The MAE is much better. In the MSE, an error of 20 counts 400 times as much as an error of 1, so the network that is
# trained with the MSE follows the outliers. In the MAE, it counts only 20 times as much.
#
# ## Exercise 3: data that are not linear

# %%
rng = np.random.default_rng(0)
X = rng.normal(size=(500, 2))
curved = Dataset(X, np.sin(3 * X[:, 0]) + X[:, 1] ** 2 + 0.1 * rng.normal(size=500))
models = {
    "network": RegressionNN(2, epochs=5 * epochs, batch_size=1000),
    "linear regression": LinearRegression(),
}
result = compare(models, curved, **settings)
assert result.best == "network"
result

# %% [markdown]
# Here the network is much better: linear regression cannot follow a curve. This is what hidden layers are for.
#
# ## Exercise 4: a small learning rate

# %%
slow = RegressionNN(3, optimizer="sgd", learning_rate=0.001, epochs=10 * epochs, seed=0)
within = EarlyStopping(monitor="loss", patience=None, tolerance=1e-2, window=5)
slow.fit(train, callbacks=[within])
print(f"stopped after {slow.history.n_epochs} epochs with the loss {slow.history.last('loss'):.2f}")
free = RegressionNN(3, optimizer="sgd", learning_rate=0.001, epochs=10 * epochs, seed=0).fit(train)
print(f"without stopping, the loss is {free.history.last('loss'):.2f} after {free.history.n_epochs} epochs")
assert slow.history.last("loss") > free.history.last("loss")
plot_loss(free.history, log=True)

# %% [markdown]
# The training stops after 377 epochs with the loss 0.32, although it would reach 0.04 in 1000 epochs. With small steps,
# the loss falls by less than 0.01 in 5 epochs long before the end. The criterion cannot distinguish slow progress from
# the end of progress. Its tolerance has to fit the learning rate and the size of the loss. A criterion with a long
# patience is more robust.
#
# ## Exercise 5: 30 features
#
# One answer: choose the size of the layers, the L2 penalty and the number of epochs by cross-validation on the training
# rows. A network without a hidden layer is linear regression, so it is among the candidates.

# %%
wide = generate_dataset(30, 100)
train, test = wide.split(0.2, seed=0)


def builder(hidden, l2, epochs):
    return build_network(30, wide.target, hidden=hidden, l2=l2, epochs=epochs, learning_rate=0.01, batch_size=100)


grid = {
    "hidden": budget([(), (16,), (64, 32)], quick=[(), (16,)]),
    "l2": budget([0.0, 0.01, 0.1], quick=[0.0]),
    "epochs": budget([100, 1000], quick=[40]),
}
tuned = tune_hyperparameters(builder, grid, train, cv=5, n_jobs=n_jobs, verbose=False)
print(tuned.best_parameters)

# %%
models = {
    "RegressionNN": RegressionNN(30, epochs=epochs),
    "chosen": builder(**tuned.best_parameters),
    "early stopping": Configuration(
        RegressionNN(30, epochs=5 * epochs), {"validation": 0.2, "callbacks": [EarlyStopping(patience=20)]}
    ),
    "linear regression": LinearRegression(),
}
compare(models, train, test, **settings)

# %% [markdown]
# Cross-validation chooses the network without a hidden layer and 1000 epochs. Its test MSE is 0.018, as good as linear
# regression and a hundred times smaller than that of `RegressionNN`. Early stopping does not help here: it takes 16 of
# the 80 training rows away, and its result is worse. If the true relation is simple, a simple model is the best choice,
# and cross-validation finds it.
