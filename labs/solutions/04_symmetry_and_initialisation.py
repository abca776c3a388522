# %% [markdown]
# # Lab 4: Solutions

# %%
import numpy as np
from sklearn.datasets import make_moons

from chainrule import Dataset, build_network
from chainrule.experiments import compare
from chainrule.initializers import Constant, Normal
from chainrule.labs import budget, load_lab_data
from chainrule.plots import plot_gradients

N_JOBS = budget(None, quick=1)
SEEDS = budget(5, quick=1)

# %% [markdown]
# ## Exercise 1: equal weights in the hidden layer only
#
# The gradient of a hidden weight contains the output weight $v_j$. If the output weights differ, the first step already makes the
# hidden units different. One random layer is enough to break the symmetry.

# %%
moons = Dataset(*make_moons(400, noise=0.15, random_state=0)).standardize()
network = build_network(
    2,
    moons.target,
    hidden=(4,),
    activation="tanh",
    weights_initializer=[Constant(0.5)],
    learning_rate=0.02,
    epochs=budget(200, quick=20),
    seed=0,
)
network.layers[2].weights = np.random.default_rng(0).normal(0, 0.5, (4, 1))
print(network.layers[0].weights.round(2))
network.fit(moons)
print(network.layers[0].weights.round(2))
assert np.ptp(network.layers[0].weights, axis=1).max() > 0.1

# %% [markdown]
# ## Exercise 2: `0.1 * randn` with 100 and with 400 units
#
# With 100 units, $n \mathrm{Var}(w) = 100 \cdot 0.01 = 1$: this is nearly Xavier's rule. With 400 units it is 4, so the sums become twice as
# large in every layer, until tanh saturates.

# %%
train, test = load_lab_data("mnist")
train, test = train.take(slice(None, budget(8000, quick=300))), test.take(slice(None, budget(4000, quick=100)))


def deep_network(activation="tanh", units=100, depth=10, initializer="glorot_normal", **settings):
    return build_network(
        train.n_features,
        train.target,
        hidden=depth * (units,),
        activation=activation,
        weights_initializer=initializer,
        seed=0,
        **{"optimizer": "sgd", "learning_rate": 0.02, "momentum": 0.9, "epochs": budget(4, quick=1), **settings},
    )


def share_saturated(network):
    outputs = train.X[:500]
    for layer in network.layers[:-2]:
        outputs = layer.forward_propagation(outputs)
    return np.mean(np.abs(outputs) > 0.98)


for units in (100, 400):
    for name, initializer in {"normal, sd 0.1": Normal(0.1), "Xavier": "glorot_normal"}.items():
        share = share_saturated(deep_network(units=units, initializer=initializer))
        print(f"{units} units, {name:15} saturated in the last hidden layer: {share:.1%}")
assert share_saturated(deep_network(units=400, initializer=Normal(0.1))) > 0.1

# %% [markdown]
# ## Exercise 3: the depth of a sigmoid network

# %%
depths = budget((1, 2, 3, 5, 10), quick=(1, 5))
result = compare(
    {f"{depth} hidden layers": deep_network("sigmoid", depth=depth) for depth in depths},
    train,
    test,
    seeds=SEEDS,
    metrics=["accuracy"],
    n_jobs=N_JOBS,
    verbose=False,
)
result

# %% [markdown]
# With one hidden layer, the network learns. Each further layer makes the training slower, and with many layers the
# accuracy is no better than that of guessing.

# %% [markdown]
# ## Exercise 4: batch normalisation
#
# Batch normalisation divides the sums of every unit by their standard deviation in the batch. So the size of the initial weights
# no longer matters much:

# %%
result = compare(
    {
        name: deep_network("relu", initializer=initializer, batch_normalization=True)
        for name, initializer in {"sd 0.01": Normal(0.01), "sd 0.3": Normal(0.3), "He": "he_normal"}.items()
    },
    train,
    test,
    seeds=SEEDS,
    metrics=["accuracy"],
    n_jobs=N_JOBS,
    verbose=False,
)
result

# %% [markdown]
# ## Exercise 5: a sigmoid network that keeps its gradients
#
# The derivative of the sigmoid is about $1/4$ near $z = 0$, so the weights must be four times as large as with Xavier's rule for
# tanh, whose derivative is 1 there: standard deviation $4 / \sqrt{n}$. The biases are chosen so that the sums have the mean 0:
# the outputs have the mean $1/2$, so $b_j = -\frac{1}{2} \sum_i w_{ij}$.

# %%
network = deep_network("sigmoid", initializer=Normal(0.4), epochs=budget(10, quick=2))
for layer in network.layers[2::2]:
    layer.biases = -layer.weights.sum(axis=0) / 2
plot_gradients(network, train)

# %%
network.fit(train)
print(f"accuracy on test images: {network.score(test):.3f}")

# %% [markdown]
# The gradients have the same size in all layers, and the network with ten sigmoid layers learns, after all.
