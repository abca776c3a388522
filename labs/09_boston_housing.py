# %% [markdown]
# # Lab 9: House prices in Boston
#
# **Question.** How well can a network predict a number from 404 examples, and do other models predict it better?
#
# **You need** [Lab 1](01_regression.md) (regression) and the idea of overfitting. **Time:** 60 minutes. Running it takes
# about one minute on two cores.

# %%
import numpy as np
from sklearn.ensemble import GradientBoostingRegressor
from sklearn.linear_model import RidgeCV

from chainrule import Dataset, MLPRegressor
from chainrule.experiments import compare
from chainrule.labs import budget, load_lab_data
from chainrule.plots import plot_loss, plot_predicted_against_true
from chainrule.zoo import HousingNet

# %% [markdown]
# ## A data set to be careful with
#
# The table describes 506 districts of Boston in 1970: crime, rooms per house, distance to work, taxes, and others. The
# target `medv` is the median value of the houses in 1,000 dollars. **This data set is criticised, for a good reason.**
# Its column `b` was computed from the share of Black residents, by a formula which assumes that segregation raises
# prices. A model that is trained with this column learns that assumption, and a decision that is based on it would
# discriminate. scikit-learn removed the data set, and Keras warns against it. The lab uses it only because the course
# does, and because numbers for it have been published. For work of your own, take another one, such as
# `load_dataset("california")`. Below, the models are also trained without `b`.
#
# Keras splits the rows into 404 training rows and 102 test rows: it shuffles them with a generator that has the seed
# 113. The lab uses the same split.


# %%
def keras_division(dataset):
    order = np.arange(dataset.n_rows)
    np.random.RandomState(113).shuffle(order)
    n_train = int(0.8 * dataset.n_rows)
    return dataset.take(order[:n_train]), dataset.take(order[n_train:])


train, test = load_lab_data("boston", split=keras_division)
print(train)
print(test)
print("first targets:", train.y[:5])

# %% [markdown]
# The columns have different units, from parts per ten million to dollars. A network is hard to train on such columns.
# They are **standardised**: from each column, the mean is subtracted, and the result is divided by the standard
# deviation. Mean and standard deviation are those of the training rows, also for the test rows.

# %%
standard_train = train.standardize()
standard_test = test.standardize(like=standard_train)
print("means:", standard_train.X.mean(axis=0).round(2)[:5], "deviations:", standard_train.X.std(axis=0).round(2)[:5])

# %% [markdown]
# ## The network of the course
#
# `HousingNet` has two hidden layers of 64 and 32 units with ReLU, and one output without an activation, because a price
# may be any number. The loss is the mean squared error over $n$ rows:
#
# $$L = \frac{1}{n} \sum_{i=1}^{n} (y_i - \hat y_i)^2$$
#
# The optimizer is Adam. A fifth of the training rows is held out to watch the training: these are **validation** rows.

# %%
network = HousingNet(train.n_features, epochs=300, seed=0).fit(standard_train, validation=0.2)
plot_loss(network.history, log=True)

# %% [markdown]
# Both losses fall quickly at first, while the output learns the mean price. After about 100 epochs, the training loss
# falls further, and the validation loss does not: from here on, the network begins to memorise single training rows.

# %%
r2 = network.score(standard_test)
mean_error = np.abs(network.predict(standard_test).ravel() - test.y).mean()
print(f"test rows: R2 {r2:.3f}, mean absolute error {mean_error:.2f}")
assert r2 > 0.2

# %% [markdown]
# $R^2$ is the share of the variance of the target that the predictions explain: 1 is perfect, and 0 is as good as always
# predicting the mean. The mean absolute error is in units of the target, 1,000 dollars.
#
# ## Choose by cross-validation
#
# How many epochs are best? Do penalties help? The test rows must not be used to decide this, and with only 80
# validation rows the answer would depend on chance. **Cross-validation** uses every training row once for validation.
# It divides the rows into five parts (folds), trains on four, measures on the fifth, and repeats this for each part.
# With `standardize=True`, the mean and the standard deviation are those of the rows that are trained on in each fold.
#
# Two models of scikit-learn are included for comparison: **ridge** regression (linear, with an L2 penalty) and
# **gradient boosting** (hundreds of small decision trees, each correcting the sum of the previous ones).

# %%
n = train.n_features
models = {
    "ridge": RidgeCV(np.logspace(-3, 3, 13)),
    "gradient boosting": GradientBoostingRegressor(),
    "HousingNet, 100 epochs": HousingNet(n, epochs=100),
    "HousingNet, 300 epochs": HousingNet(n, epochs=300),
    "HousingNet, 300 epochs, L2": HousingNet(n, epochs=300, l2=0.1),
    "HousingNet, tanh": HousingNet(n, epochs=300, activation="tanh"),
    "HousingNet, cosine": HousingNet(n, epochs=300, learning_rate=0.003, schedule="cosine"),
}
models |= budget({"ensemble of networks": MLPRegressor(preset="tabular")}, quick={})
settings = {
    "standardize": True,
    "metrics": ["mean_squared_error", "mean_absolute_error", "r2"],
    "n_jobs": budget(None, quick=1),
    "folder": "runs/boston",
    "verbose": False,
}
by_folds = compare(models, train, cv=budget(5, quick=2), seeds=budget(2, quick=[0]), **settings)
by_folds

# %%
by_folds.plot_scores("mean_squared_error")

# %% [markdown]
# Ridge has by far the largest error: the price is not a linear function of the columns. The network of the course is
# better, and tripling the epochs changes little; tanh is worse than ReLU. Gradient boosting is better than every single
# network. The last row is an **ensemble**, the mean of many small networks, each of which is added to a linear model;
# `preset="tabular"` builds it. It has the smallest mean error. But look at the deviations: the errors differ so much
# from fold to fold that the differences between the best rows may be chance. 404 rows are too few to decide between
# them.
#
# ## Without the column `b`
#
# Does the prediction need the criticised column?

# %%
kept = [k for k, name in enumerate(train.feature_names) if name != "b"]
without_b = Dataset(train.X[:, kept], train.y, [train.feature_names[k] for k in kept])
smaller = {"HousingNet, cosine": HousingNet(len(kept), epochs=300, learning_rate=0.003, schedule="cosine")}
smaller |= {"gradient boosting": GradientBoostingRegressor()}
compare(smaller, without_b, cv=budget(5, quick=2), seeds=budget(2, quick=[0]), **settings)

# %% [markdown]
# Hardly anything changes. The prediction does not need the criticised column.
#
# ## The test rows
#
# Only now are the test rows used: for the linear model, for gradient boosting, for the network of the course and for
# the best model of the cross-validation.

# %%
chosen = [name for name in models if name in ("ridge", "gradient boosting", "HousingNet, 300 epochs", by_folds.best)]
final = compare({name: models[name] for name in chosen}, train, test, seeds=budget(5, quick=2), **settings)
final

# %% [markdown]
# The order is that of the cross-validation. The single network of the course is much better than the linear model, but not
# as good as gradient boosting. The ensemble of networks has the smallest errors, a little smaller than those of gradient
# boosting. The deviations are now those over seeds, with the same 102 test rows. They are much smaller than those over
# folds, and say nothing about other test rows.
#
# The final comparison is not a perfect test: while this lab was written, several models had been measured on these
# test rows before, so that the choice of what to show may depend on them.

# %%
assert final.scores("r2")["HousingNet, 300 epochs"].mean() > 0.2
predicted = network.predict(standard_test).ravel()
plot_predicted_against_true(test.y, predicted, name=budget("value in 1,000 dollars", quick="value"))

# %% [markdown]
# The picture shows the network of the first section. For points on the line, the prediction is exact. Most predictions
# are near the line. One is far from it: a district with a value of 22 is predicted to have 47. Such rows make the mean
# squared error large. Several districts have a value of exactly 50, because all higher values were cut off in the
# table.
#
# ## What you have learned
#
# - Regression: one output without an activation, the mean squared error, and $R^2$ to measure how good the predictions
#   are.
# - Standardise the inputs, by the training rows.
# - With few rows, a single split says little. Cross-validation uses all rows, and shows how much the score varies.
# - On small tables, gradient boosting is hard to beat, and an ensemble of networks is better than one network.
# - Look at the columns before you train: a model repeats the assumptions of its data.
#
# ## Exercises
#
# 1. Train without standardising. What happens to the loss in the first epochs, and why?
# 2. Split the rows with ten other seeds. How much does the test error of ridge vary?
# 3. Train with the mean absolute error as the loss (`loss="mean_absolute_error"`). Which of the measures improve?
# 4. Average the predictions of ten `HousingNet` with different seeds. Compare the error with that of a single one.
# 5. (Open.) Repeat the lab with `load_lab_data("california")`. Is the order of the models the same?
#
# `chainrule labs boston_housing --solution` copies the solutions.
