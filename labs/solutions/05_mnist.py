# %% [markdown]
# # Lab 5: Solutions

# %%
import numpy as np

from chainrule import DivergenceError
from chainrule.experiments import compare
from chainrule.labs import budget, load_lab_data
from chainrule.plots import plot_comparison
from chainrule.zoo import SimpleMLP

train, test = load_lab_data("mnist")
training, validation = train.split(1 / 6, seed=0)

# %% [markdown]
# ## Exercise 1: the number of parameters
#
# $784 \cdot 256 + 256 = 200{,}960$ in the hidden layer and $256 \cdot 10 + 10 = 2{,}570$ in the output layer.

# %%
print(SimpleMLP(hidden=(256,)).stack.parameters())
assert SimpleMLP(hidden=(256,)).stack.parameters() == 200_960 + 2_570

# %% [markdown]
# ## Exercise 2: learning rates
#
# With 0.00001, the loss falls, but very slowly: each step is 100 times smaller. With 0.1, each step is so large that it
# misses the minimum: the loss stays near $\log 10 = 2.3$, which is the loss of guessing, or grows.

# %%
histories = {}
for rate in (0.1, 0.001, 0.00001):
    network = SimpleMLP(learning_rate=rate, epochs=budget(5, quick=3), seed=0)
    try:
        network.fit(training)
    except DivergenceError as error:
        print(error)
    histories[f"rate {rate}"] = network.history
assert histories["rate 0.001"].last("loss") < histories["rate 1e-05"].last("loss")
plot_comparison(histories, "loss")

# %% [markdown]
# ## Exercise 3: pixels that are always white
#
# The gradient of the loss with respect to a weight is the gradient at the unit times the input. Where the input is
# always 0, the gradient is 0, and the weight never changes: it keeps its random first value.

# %%
white = np.flatnonzero(training.X.max(axis=0) == 0)
print(len(white), "of 784 pixels are white in all training images")
network = SimpleMLP(epochs=2, seed=0)
first = network.layers[0].weights.copy()
network.fit(training)
assert np.array_equal(network.layers[0].weights[white], first[white])
assert not np.array_equal(network.layers[0].weights, first)

# %% [markdown]
# ## Exercise 4: activations

# %%
names = ("relu", "tanh", "sigmoid")
result = compare(
    {name: SimpleMLP(activation=name, epochs=budget(10, quick=5)) for name in names},
    training,
    validation,
    seeds=budget(5, quick=2),
    metrics="accuracy",
    n_jobs=budget(None, quick=1),
    verbose=False,
)
print(result)
assert result.scores()["relu"].mean() > 0.8

# %% [markdown]
# Choosing among activations is a decision like any other, so the accuracy is measured on the validation set. On MNIST,
# the differences are small. The curves show that the network with the sigmoid learns more slowly in the first epochs.

# %%
result.plot("loss", log=True)

# %% [markdown]
# ## Exercise 5: a threshold for the confidence
#
# Sort the validation images by their confidence. The threshold is the lowest confidence at which at most 1 in 500 of the
# images above it is wrong.

# %%
network = SimpleMLP(epochs=budget(10, quick=8), seed=0).fit(training)


def read(dataset):
    probabilities = network.predict(dataset)
    return probabilities.max(axis=1), probabilities.argmax(axis=1) != dataset.y


confidence, is_wrong = read(validation)
order = np.argsort(-confidence)
share_wrong = np.cumsum(is_wrong[order]) / np.arange(1, len(order) + 1)
threshold = confidence[order][np.flatnonzero(share_wrong <= 1 / 500)[-1]]

confidence, is_wrong = read(test)
is_sure = confidence >= threshold
print(f"threshold {threshold:.4f}: people read {1 - is_sure.mean():.1%} of the test images")
print(
    f"wrong: {is_wrong[is_sure].mean():.2%} of those that the network reads, {is_wrong.mean():.2%} without a threshold"
)
assert is_wrong[is_sure].mean() <= is_wrong.mean()
