# %% [markdown]
# # Lab 1: Regression
#
# **Question.** How does a network learn to predict a number from examples, and how do you find out whether it has learned?
#
# **You need** Python with NumPy, and nothing about neural networks. **Time:** 90 minutes. Running it takes about 30 seconds
# on two cores.
#
# This is the first training. The lab explains the words *training set*, *test set*, *loss*, *epoch*, *batch* and *learning
# rate*. After that come eight tasks: in each, you change one thing and measure what it does.

# %%
import numpy as np
import pandas as pd
from sklearn.linear_model import LinearRegression, LogisticRegression

from chainrule import Dataset, EarlyStopping, tune_hyperparameters
from chainrule.experiments import Configuration, compare
from chainrule.labs import budget
from chainrule.plots import plot_confusion_matrix, plot_decision_boundary, plot_loss
from chainrule.plots import plot_network, plot_predicted_against_true, plot_scores
from chainrule.zoo import RegressionNN

# %% [markdown]
# ## The data
#
# **Regression** means predicting a number $y$ from numbers $x_1, \dots, x_n$, the **features**. A row with its features
# and its $y$ is an **instance** or example. Here the data are generated, so the true relation is known: $y$ is a
# weighted sum of the features plus **noise** $\varepsilon$, a random number from the normal distribution with mean 0
# and standard deviation 1:
#
# $$y = w_1 x_1 + \dots + w_n x_n + 0.1 \, \varepsilon$$


# %%
def generate_dataset(num_features, num_instances, noise=0.1, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(num_instances, num_features))
    weights = rng.normal(size=num_features)
    y = X @ weights + noise * rng.normal(size=num_instances)
    return Dataset(X, y)


dataset = generate_dataset(3, 100)
pd.DataFrame(dataset.X, columns=["x1", "x2", "x3"]).assign(y=dataset.y).head(4).round(2)

# %% [markdown]
# ## The network
#
# A network consists of **layers** of neurons. Each neuron computes a weighted sum of the outputs of the layer before it,
# adds a number, the **bias**, and applies an **activation** function ([Lab 2](02_forward_by_hand.md) shows this in detail).
# `RegressionNN(3)` takes 3 features, has two hidden layers with 64 and 32 neurons and the activation ReLU, $\max(0, z)$,
# and one output neuron without activation: the prediction.

# %%
network = RegressionNN(3, seed=0)
plot_network(network)

# %% [markdown]
# The weights and biases are the **parameters** of the network. At the start they are random numbers, and so are the
# predictions. The **seed** determines the random numbers: with the same seed you get the same network again.
#
# ## Training and test set
#
# A network with thousands of parameters can memorise examples. What counts is therefore how well it predicts examples
# that it was *not* trained on. So put some rows aside before you start: the **test set**. The network never sees them
# in training, and you do not use them to choose anything.

# %%
train, test = dataset.split(0.2, seed=0)
print(train.n_rows, "rows for training,", test.n_rows, "rows for the test")

# %% [markdown]
# ## What training does
#
# The **loss** says how wrong the predictions $\hat y_i$ are. For regression it is usually the **mean squared error**:
#
# $$\mathrm{MSE} = \frac{1}{N} \sum_{i=1}^{N} (\hat y_i - y_i)^2$$
#
# **Gradient descent** changes every weight $w$ a little in the direction in which the loss falls. The **gradient**
# $\partial L / \partial w$ says how the loss changes if $w$ grows; the **learning rate** $\eta$ says how large a step is:
#
# $$w \leftarrow w - \eta \, \frac{\partial L}{\partial w}$$
#
# The rows that are used for one step are a **batch**. An **epoch** is a pass over all training rows. Here a batch has up to
# 100 rows, so all 80 training rows are one batch, and an epoch is one step. `RegressionNN` is trained for 100 epochs with
# **Adam**, a kind of gradient descent that adapts the size of the step for each weight, with $\eta = 0.01$.
#
# (`budget(100, quick=40)` is 100. It is 40 only if the environment variable `CHAINRULE_LABS` is `quick`, which serves to
# test the labs in seconds. An `assert` stops the lab with an error if its condition is false; it checks what the text says.)

# %%
epochs = budget(100, quick=40)
network = RegressionNN(3, epochs=epochs, seed=0)
network.fit(train)
plot_loss(network.history, log=True)

# %% [markdown]
# The loss of the training rows falls from more than 1 to less than 0.01. It does not fall in each epoch: Adam takes large
# steps at first and sometimes goes too far.
#
# ## Task 1: Measure on the training and the test set
#
# Besides the MSE, use the **coefficient of determination** $R^2$. It compares the MSE with that of the simplest prediction,
# the mean $\bar y$ for every row. 1 is perfect, and 0 is no better than the mean:
#
# $$R^2 = 1 - \frac{\sum_i (\hat y_i - y_i)^2}{\sum_i (\bar y - y_i)^2}$$

# %%
rows = {"training": train, "test": test}
measured = pd.DataFrame({name: network.evaluate(part) for name, part in rows.items()}).T
assert measured.loc["test", "r2"] > 0.7
measured.rename(columns={"loss": "MSE", "r2": "R²"}).round(4)

# %%
plot_predicted_against_true(test.y, network.predict(test))

# %% [markdown]
# Each dot is a test row; on the dashed line, prediction and truth are equal. The test MSE is 0.0109. That is near the
# variance of the noise, $0.1^2 = 0.01$. No model can have a smaller MSE on new rows, except by chance. The training MSE
# is only 0.0037, a third of it: the network has begun to memorise the noise of its training rows.
#
# ### Repeat it
#
# With another seed, the network starts with other weights, and other rows are the test set. Then the numbers are
# different. `compare` trains each configuration with several seeds. Each seed holds out a different 20 % of the rows as
# its test set. The table shows mean and standard deviation over the seeds. For comparison, it includes **linear
# regression**, which computes the best weighted sum directly.

# %%
seeds, n_jobs = budget(5, quick=2), budget(None, quick=1)
settings = {"seeds": seeds, "n_jobs": n_jobs, "verbose": False, "metrics": ["mean_squared_error", "r2"]}


def net(num_features=3, **changes):
    return RegressionNN(num_features, **{"epochs": epochs, **changes})


first = compare({"network": net(), "linear regression": LinearRegression()}, dataset, **settings)
first

# %% [markdown]
# Both predict well. Linear regression is a little better on average, but the sentence below the table says that the
# difference is not **significant**: it is so small, compared with the variation between the seeds, that it may be chance.
# This sentence comes from a **t-test**, which compares the mean of the differences with their
# standard deviation. Holm's correction makes the test stricter when several models are compared at once, and the test is
# corrected for the rows that the training sets of the seeds have in common.
#
# ## Task 2: More features, and more noise
#
# First, more features. The number of instances stays 100.


# %%
def training_loss(result, name="network"):
    return np.mean([run.history.last("loss") for run in result.of(name)])


def with_baseline(network, data):
    models = {"network": network, "linear regression": LinearRegression()}
    return compare(models, data, **settings)


# %%
features = {n: with_baseline(net(n), generate_dataset(n, 100)) for n in (3, 10, 30)}
table = {f"{n} features": {**one.table()["mean squared error"]} for n, one in features.items()}
table = pd.DataFrame(table).T.add_prefix("test MSE, ")
table.insert(0, "training MSE, network", [f"{training_loss(one):.4f}" for one in features.values()])
table

# %% [markdown]
# With 30 features the network still predicts its training rows almost perfectly, but on the test rows its MSE is about
# a hundred times that of linear regression. 80 rows are few for 30 features: very many functions of 30 numbers fit
# these rows, and the network has found one that is wrong for other rows. This is called **overfitting**. Linear
# regression cannot overfit as much, because it can only choose 30 weights and a bias.
#
# Now more noise, with 3 features. No model can predict the noise of new rows. So the smallest test MSE that is possible
# on average is the variance of the noise, that is, the square of its standard deviation.

# %%
levels = (0.1, 0.5, 1.0, 2.0)
noisy = {s: with_baseline(net(), generate_dataset(3, 100, noise=s)) for s in levels}
table = pd.DataFrame({f"noise {s}": {**one.table()["mean squared error"]} for s, one in noisy.items()}).T
table = table.add_prefix("test MSE, ")
table.insert(0, "variance of the noise", [f"{s**2:.2f}" for s in levels])
table.insert(1, "training MSE, network", [f"{training_loss(one):.4f}" for one in noisy.values()])
table

# %%
plot_scores({f"noise {s}": one.scores("r2")["network"] for s, one in noisy.items()}, "r2")

# %% [markdown]
# The test MSE of the network is near the variance of the noise, and on average above that of linear regression. The
# training MSE is far below the variance of the noise, 0.66 instead of 4 in the last row. (The test MSE of linear regression
# is below the variance of the noise in every row. That is chance: the four rows use the same random numbers, multiplied by
# another factor, and five times 20 test rows are few.) In the plot, each dot is one seed, the line in the middle of the bar
# is the mean, and the bar is one standard deviation to both sides. So the network has learned
# noise, which does not help to predict new rows. $R^2$ falls from nearly 1 to less than 0.4, because a growing part of
# $y$ is noise that cannot be predicted.
#
# ## Task 3: Other activations

# %%
names = ("relu", "leaky_relu", "sigmoid", "tanh")
activations = compare({name: net(activation=name) for name in names}, dataset, **settings)
activations

# %%
activations.plot(log=True)

# %% [markdown]
# The curves show the mean training loss over the seeds, and the bands one standard deviation. The network with the
# sigmoid learns most slowly: after 100 epochs its training loss is almost ten times that with ReLU. tanh is in between.
# Leaky ReLU multiplies a negative $z$ by 0.01 instead of replacing it by 0. Here it gives the same result as ReLU. On
# the test rows, the mean MSE with the sigmoid is four times that with ReLU. But its five values differ so much from
# each other that five runs do not suffice to call the difference significant.
#
# ## Task 4: The L1 loss
#
# The **mean absolute error** (MAE, also L1 loss) is the mean of $|\hat y_i - y_i|$. A loss of 0.08 in MAE and one of 0.01
# in MSE cannot be compared, because they measure different things. So measure *both* networks by *both* metrics.

# %%
losses = {"trained with MSE": net(), "trained with MAE": net(loss="mean_absolute_error")}
both = {**settings, "metrics": ["mean_squared_error", "mean_absolute_error"]}
l1 = compare(losses, dataset, **both)
l1

# %%
l1.plot_scores("mean_absolute_error")

# %% [markdown]
# The network that was trained with the MSE is a little better on average by both metrics, even by the MAE, which is the
# loss that the other network minimised. The differences are small. In exercise 2, the L1 loss is much better.
#
# ## Task 5: Other optimizers
#
# Replace Adam, and change nothing else: the learning rate stays 0.01.

# %%
names = ("adam", "sgd", "rmsprop", "adagrad")
optimizers = compare({name: net(optimizer=name, learning_rate=0.01) for name in names}, dataset, **settings)
optimizers

# %%
optimizers.plot(log=True)

# %% [markdown]
# Plain gradient descent (SGD) is slowest: with the rate 0.01 its steps are small. The other three adapt their steps.
# The loss of RMSprop is uneven: it jumps up in the third epoch, and grows again after epoch 50. The curve of AdaGrad,
# whose steps become smaller and smaller, is smooth. Adam reaches the lowest training loss.
#
# This comparison is not quite fair, because 0.01 may be a bad learning rate for some of them. So choose a rate for each
# optimizer. A choice must not use the test rows. **Cross-validation** uses only the training rows: it divides them into
# 3 parts, trains on two of them, measures on the third, and repeats this until each part has been measured once.


# %%
def best_rate(name):
    def builder(learning_rate):
        return net(optimizer=name, learning_rate=learning_rate)

    rates = {"learning_rate": budget([0.001, 0.003, 0.01, 0.03, 0.1, 0.3], quick=[0.01, 0.1])}
    tuned = tune_hyperparameters(builder, rates, train, cv=3, n_jobs=n_jobs, verbose=False)
    return tuned.best_parameters["learning_rate"]


best = {name: best_rate(name) for name in names}
best

# %% [markdown]
# Now measure them on the test rows, with 5 seeds:

# %%
candidates = {f"{name}, rate {rate}": net(optimizer=name, learning_rate=rate) for name, rate in best.items()}
tuned = compare(candidates, train, test, **settings)
tuned

# %% [markdown]
# The chosen rates differ by a factor of 100. With them, Adam and AdaGrad have the same mean, and RMSprop is better than
# before. SGD is good with some seeds and bad with others. So a statement such as "optimizer A is better than B" means
# nothing without the learning rates.
#
# ## Task 6: One layer less, and one more

# %%
hidden = {"64": (64,), "64, 32 (original)": (64, 32), "64, 32, 16": (64, 32, 16)}
depth = compare({name: net(hidden=sizes) for name, sizes in hidden.items()}, dataset, **settings)
depth

# %%
depth.plot_scores()

# %% [markdown]
# The number of layers makes no difference here: the means differ much less than the single runs. The true relation is
# linear, so one hidden layer is more than enough.
#
# ## Task 7: Early stopping
#
# How many epochs are enough? The criterion of this task: stop if the loss stays within $\pm 10^{-2}$ during 5 epochs in
# a row. `EarlyStopping` checks it with `tolerance` and `window`. Another criterion puts some *training* rows aside as a
# **validation set**, and stops when the loss of these rows has not improved for a number of epochs (the *patience*).
# The network then gets back the weights of the best epoch.

# %%
within = EarlyStopping(monitor="loss", patience=None, tolerance=1e-2, window=5)
patience = EarlyStopping(monitor="validation_loss", patience=20)
longest = 5 * epochs
stopping = {
    "no stopping": net(epochs=longest),
    "loss within ±0.01": Configuration(net(epochs=longest), {"callbacks": [within]}),
    "validation rows": Configuration(net(epochs=longest), {"callbacks": [patience], "validation": 0.2}),
}
stopped = compare(stopping, dataset, **settings)
assert stopped.summary()["epochs"].iloc[1] < longest
stopped

# %%
run = RegressionNN(3, epochs=longest, seed=0).fit(train)
early = RegressionNN(3, epochs=longest, seed=0).fit(train, callbacks=[within])
ax = plot_loss(run.history, log=True)
ax.axvline(early.history.n_epochs, linestyle="--", color="gray")
print(early.stop_reason)

# %% [markdown]
# The criterion of the task stops after 30 epochs on average (in the picture, at the dashed line). That is too early:
# with more epochs, the loss becomes about ten times smaller. The tolerance of 0.01 is as large as the loss that can be
# reached, so the criterion does not notice the rest of the decrease. 500 epochs are too many: the test MSE is 0.014,
# but in task 1 it was 0.009 after 100 epochs. The validation rows stop the training after 82 epochs on average. The
# result is about as good as without stopping, in a sixth of the epochs, although 16 of the 80 training rows were used
# only for validation.
#
# ## Task 8: Classification
#
# Now predict one of two **classes** instead of a number: is $y$ high (above 0) or low? The output neuron gets the sigmoid,
# which turns a number into a probability between 0 and 1. The loss is the **binary cross-entropy**, the mean of
# $-\ln(\text{probability of the true class})$. `RegressionNN` adds the sigmoid when it gets this loss. The result is
# measured by the **accuracy**, the share of rows whose class is predicted correctly.
#
# To make it harder, and to have a picture, these data have 2 features and more noise.

# %%
numbers = generate_dataset(2, 300, noise=0.5, seed=1)
classes = Dataset(numbers.X, np.where(numbers.y > 0, "high", "low"))
train, test = classes.split(0.2, seed=0)
classifier = RegressionNN(2, loss="binary_cross_entropy", metric="accuracy", epochs=epochs, seed=0).fit(train)
print("accuracy:", f"training {classifier.score(train):.3f}, test {classifier.score(test):.3f}")
assert classifier.score(test) > 0.75

# %%
plot_decision_boundary(classifier, test)

# %%
plot_confusion_matrix(test.y, classifier.predict(test), test.label_names)

# %%
classifiers = {
    "network, 100 epochs": net(2, loss="binary_cross_entropy"),
    "network, 20 epochs": net(2, loss="binary_cross_entropy", epochs=20),
    "logistic regression": LogisticRegression(),
}
accuracy = compare(classifiers, classes, **{**settings, "metrics": ["accuracy", "log_loss"]})
accuracy

# %% [markdown]
# The true boundary is a line. The boundary of the network has bends, which follow single training rows. The confusion
# matrix counts the test rows by their true and their predicted class: 22 + 27 of the 60 rows are classified correctly,
# 8 rows that are high are predicted to be low, and 3 that are low to be high. Fewer epochs give the better accuracy and
# log loss on average, but the three models do not differ significantly. With noise, no model can always be right.
#
# ## What you have learned
#
# - Training changes the weights step by step so that the loss of the training rows falls. What counts is the error on rows
#   that were not used: the test set.
# - On new rows, the MSE cannot be smaller than the variance of the noise, except by chance. On the training rows it
#   can: then the network has memorised noise. This is overfitting.
# - Include a simple model in every comparison. Here the true relation is linear, and linear regression was better on
#   average.
# - Compare with several seeds. Many differences are smaller than the variation between seeds.
# - Choose settings (learning rate, epochs, layers) by validation rows or cross-validation, and use the test rows only
#   at the end.
#
# [Lab 2](02_forward_by_hand.md) looks inside the network, and [Lab 14](14_backpropagation_by_hand.md) computes the gradient
# by hand.
#
# ## Exercises
#
# 1. Train with 20, 50, 200 and 1000 instances and noise 0.5. How do the MSE of the training rows and of the test rows change?
# 2. Change 5 of the 80 training targets by adding 20 to them (outliers). Which loss is better now, MSE or MAE?
# 3. Generate data that are not linear, $y = \sin(3 x_1) + x_2^2 + 0.1 \varepsilon$. Compare network and linear regression.
# 4. Train with `optimizer="sgd"` and the learning rate 0.001 for 1000 epochs, with the criterion of task 7. When does it stop,
#    and is that a good moment? What does the criterion assume about the loss?
# 5. Open: with 30 features, the network was worse than linear regression. How close to linear regression can you get?
#    Try fewer epochs, smaller layers, `l2`, and early stopping, and choose by cross-validation.
#
# `chainrule labs regression --solution` copies the solutions.
