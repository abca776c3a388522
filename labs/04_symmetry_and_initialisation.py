# %% [markdown]
# # Lab 4: Symmetry and initialisation
#
# **Question.** Why must the first weights of a network be random, and how large should they be?
#
# **You need** [Lab 3](03_xnor.md): forward propagation, and training by gradient descent. **Time:** 60 minutes.
# Running it takes about 30 seconds on two cores.
#
# Training changes the weights step by step, so it has to start somewhere. The start is called the **initialisation**. In this
# lab, you see three bad starts (all weights equal, weights that are too small, weights that are too large), and the two
# rules that are used today.

# %%
import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import make_moons

from chainrule import Dataset, build_network
from chainrule.experiments import compare
from chainrule.initializers import Constant, Normal
from chainrule.labs import budget, load_lab_data
from chainrule.plots import plot_activations, plot_decision_boundary, plot_gradients, plot_network

SEEDS = budget(5, quick=1)

# %% [markdown]
# ## Equal weights stay equal
#
# The data are two half circles, "moons". The network has one hidden layer of four units. One copy starts with random
# weights, the other with the constant 0.5 for all weights.

# %%
moons = Dataset(*make_moons(400, noise=0.15, random_state=0)).standardize()


def small_network(initializer, units=4):
    return build_network(
        2,
        moons.target,
        hidden=(units,),
        activation="tanh",
        weights_initializer=initializer,
        learning_rate=0.02,
        epochs=budget(200, quick=20),
        seed=0,
    )


# %% [markdown]
# The next function trains a network for one epoch at a time (an epoch is one pass over all rows), and keeps a copy of the weights of the
# hidden layer after each.


# %%
def weights_during_training(network, n_epochs):
    found = [network.layers[0].weights.copy()]
    network.epochs = 1
    for _ in range(n_epochs):
        network.fit(moons)
        found.append(network.layers[0].weights.copy())
    return np.array(found)  # (epochs + 1, inputs, units)


N_EPOCHS = budget(100, quick=10)
networks = {"random": small_network("glorot_uniform"), "constant": small_network(Constant(0.5))}
paths = {name: weights_during_training(network, N_EPOCHS) for name, network in networks.items()}

# %% [markdown]
# Each line below is one weight from the first input to one of the four hidden units, over the epochs of training.

# %%
figure, panels = plt.subplots(1, 2, figsize=(9, 3.2), layout="tight")
for ax, (name, path) in zip(panels, paths.items(), strict=True):
    for unit, style in enumerate(["-", "--", "-.", ":"]):
        ax.plot(path[:, 0, unit], style, linewidth=2, label=f"unit {unit + 1}")
    ax.set(title=f"{name} start", xlabel="epoch", ylabel="weight of the first input")
legend = ax.legend(loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)

# %% [markdown]
# With the random start, the four weights change in different ways. With the constant start, the four lines lie on top
# of each other: all four units have the same weights, at all times. Look at the formula of the gradient. For hidden
# unit $j$ with the output weight $v_j$,
#
# $$\frac{\partial L}{\partial w_{ij}} = \frac{1}{n} \sum_{\text{rows}} x_i \, f'(z_j) \, v_j \, e$$
#
# where $e$ is the derivative of the loss of the row with respect to the last sum. If all $w_{ij}$ and all $v_j$ are
# equal, then all $z_j$ are equal, and so are the gradients. So every unit takes the same step, and the units stay
# equal. This is called **symmetry**. Only a difference at the start can break it.

# %%
spread = {name: np.ptp(path, axis=2).max(axis=1) for name, path in paths.items()}  # by epoch
print("largest difference between units, constant start:", spread["constant"].max())
print("smallest difference between units, random start: ", spread["random"].min().round(2))
assert spread["constant"].max() < 1e-4 < spread["random"].min()

# %%
plot_network(networks["constant"])

# %% [markdown]
# The drawing shows the trained network with the constant start: the lines into the four units are the same. So the four
# units compute the same number. Together they can do no more than **one** unit:

# %%
result = compare(
    {
        "4 units, random": small_network("glorot_uniform"),
        "4 units, constant": small_network(Constant(0.5)),
        "1 unit, random": small_network("glorot_uniform", units=1),
    },
    moons,
    seeds=SEEDS,
    metrics=["accuracy"],
    n_jobs=budget(None, quick=1),
    verbose=False,
)
result

# %% [markdown]
# The table shows the mean and the standard deviation of the accuracy (the share of correct predictions) on rows that were
# held out, over five random seeds. The last columns are the number of epochs and the seconds. Four equal units are exactly as
# good as one unit, and worse than four different units. The boundary of the constant start shows why: one unit gives one line.

# %%
figure, panels = plt.subplots(1, 2, figsize=(9, 3.6), layout="tight")
for ax, (name, network) in zip(panels, networks.items(), strict=True):
    plot_decision_boundary(network, moons, ax=ax)
    ax.set_title(f"{name} start")

# %% [markdown]
# ## Zeros are worse
#
# If all weights are 0, the factor $v_j$ in the formula is 0, so the gradient of the first layer is 0. The hidden outputs
# are $\tanh(0) = 0$, so the gradient of the second layer is 0 as well. `plot_gradients` draws the absolute values of the
# gradients of each layer, and writes the share of zeros beside them:

# %%
plot_gradients(small_network("zeros"), moons)

# %%
zeros = small_network("zeros").fit(moons)
largest = max(abs(zeros.layers[place].weights).max() for place in (0, 2))
print("largest weight after training:", largest)
assert largest == 0

# %% [markdown]
# Only the bias of the output can learn. The network predicts the same probability for every row.
#
# ## Deep networks: how large should the weights be?
#
# Random weights break the symmetry. Their size matters if there are many layers, because the numbers pass through all of
# them. From here on, the data are handwritten digits (MNIST), and the networks have ten hidden layers of 100 units.
#
# A unit adds $n$ products, $z = \sum_i w_i a_i$. If the weights are independent with mean 0, then
#
# $$\mathrm{Var}(z) = n \, \mathrm{Var}(w) \, \overline{a^2}$$
#
# where $\overline{a^2}$ is the mean of the squared inputs. With $n \mathrm{Var}(w) = 0.01$, each layer makes the
# numbers ten times smaller (the standard deviation is the square root of the variance), ten layers $10^{10}$ times.
# With $n \mathrm{Var}(w) = 9$, each layer makes them three times larger. The same holds for the gradients in the
# backward direction. Gradients that become too small in this way are called **vanishing gradients**, and gradients that
# become too large **exploding gradients**.
#
# Two rules choose the variance so that the numbers keep their size ($n_\text{in}$ and $n_\text{out}$ are the numbers of
# inputs and outputs of the layer):
#
# | rule | variance of the weights | for |
# |---|---|---|
# | Xavier (or Glorot) | $\dfrac{2}{n_\text{in} + n_\text{out}}$ | sigmoid, tanh |
# | He | $\dfrac{2}{n_\text{in}}$ | ReLU, which sets half of the numbers to 0 |

# %%
DEPTH = budget(10, quick=5)
train, test = load_lab_data("mnist")
train = train.take(slice(None, budget(8000, quick=500)))
test = test.take(slice(None, budget(4000, quick=200)))
INITIALIZERS = {
    "normal, sd 0.01": Normal(0.01),
    "normal, sd 0.1": Normal(0.1),
    "normal, sd 0.3": Normal(0.3),
    "Xavier": "glorot_normal",
    "He": "he_normal",
}


# %%
def deep_network(activation, initializer, epochs=1):
    return build_network(
        train.n_features,
        train.target,
        hidden=DEPTH * (100,),
        activation=activation,
        weights_initializer=INITIALIZERS[initializer],
        optimizer="sgd",
        learning_rate=0.02,
        momentum=0.9,
        epochs=epochs,
        seed=0,
    )


# %% [markdown]
# ### Tanh
#
# `plot_activations` draws the distribution of the outputs of each layer, before any training. First with weights of the
# standard deviation 0.01:

# %%
plot_activations(deep_network("tanh", "normal, sd 0.01"), train)

# %% [markdown]
# Already after a few layers, all outputs are so near to 0 that their boxes are lines. Hardly any information about the
# image is left. Now with the standard deviation 0.3:

# %%
plot_activations(deep_network("tanh", "normal, sd 0.3"), train)

# %% [markdown]
# Many outputs are close to -1 or 1. Such units are **saturated**: there, tanh is flat, its derivative is nearly 0, and
# so is the gradient. With Xavier's rule, the outputs keep their size, and few units are saturated:

# %%
plot_activations(deep_network("tanh", "Xavier"), train)

# %% [markdown]
# Now the gradients, first with weights of the standard deviation 0.01, then with Xavier's rule. The axis is logarithmic.

# %%
plot_gradients(deep_network("tanh", "normal, sd 0.01"), train)

# %%
plot_gradients(deep_network("tanh", "Xavier"), train)

# %% [markdown]
# With the small weights, the typical gradient is about $10^{-12}$, in every layer: in a layer near the input, the
# gradient that arrives from the later layers is tiny; in a layer near the output, the inputs are tiny. A step of
# gradient descent then changes almost nothing. With Xavier's rule, the typical gradient is between 0.0005 and 0.005.
# (In the first layer, the gradients of the pixels that are black in all images are 0.)
#
# ### ReLU
#
# ReLU is $f(z) = \max(0, z)$. Here are the gradients with the standard deviation 0.01:

# %%
plot_gradients(deep_network("relu", "normal, sd 0.01"), train)

# %% [markdown]
# They vanish. With the standard deviation 0.3, they explode: some are above 100, so a step of gradient descent with
# them goes much too far.

# %%
plot_gradients(deep_network("relu", "normal, sd 0.3"), train)

# %% [markdown]
# With He's rule, they are neither too small nor too large:

# %%
plot_gradients(deep_network("relu", "He"), train)

# %% [markdown]
# ### Sigmoid
#
# The derivative of the sigmoid is at most $1/4$. So each layer divides the gradient by four or more, unless the weights make
# up for it. The gradients vanish even with Xavier's rule:

# %%
plot_gradients(deep_network("sigmoid", "Xavier"), train)

# %% [markdown]
# From the last layer to the first, they become smaller by many powers of ten. So the weights of the layers near the
# input hardly change, and the later layers get inputs that contain almost no information about the image.
#
# The next table has one number per network: the standard deviation of the sums $z$ of the output layer over the rows,
# before training. If it is 0, the output of the network is the same for all images.


# %%
def output_spread(network):
    outputs = train.X[:500]
    for layer in network.layers[:-1]:
        outputs = layer.forward_propagation(outputs)
    return outputs.std(axis=0).mean()


spreads = {
    (activation, name): output_spread(deep_network(activation, name))
    for activation in ("sigmoid", "tanh", "relu")
    for name in INITIALIZERS
}
print("                  sigmoid      tanh      relu")
for name in INITIALIZERS:
    print(f"{name:16}", *(f"{spreads[a, name]:8.2g} " for a in ("sigmoid", "tanh", "relu")))
assert spreads["relu", "normal, sd 0.01"] < 1e-4
assert 0.1 < spreads["relu", "He"] < 10 < spreads["relu", "normal, sd 0.3"]

# %% [markdown]
# ## Which initialisation suits which activation?
#
# All fifteen networks are trained for a few epochs with the same optimizer, each with five seeds. The numbers are accuracies on
# test images. Guessing gives 0.1.

# %%
result = compare(
    {f"{a}, {name}": deep_network(a, name, epochs=budget(4, quick=2)) for a, name in spreads},
    train,
    test,
    seeds=SEEDS,
    metrics=["accuracy"],
    n_jobs=budget(None, quick=1),
    verbose=False,
)
result.table()

# %%
means = result.summary()["accuracy"]
assert means["relu, He"] > means["relu, normal, sd 0.01"] + 0.1
assert means["tanh, Xavier"] > means["tanh, normal, sd 0.01"] + 0.1
result.plot_scores()

# %% [markdown]
# - **Sigmoid**: none of the five initialisations helps. The accuracy stays near that of guessing.
# - **Tanh**: with the standard deviation 0.01, nothing is learned. With 0.3, the units are saturated, and the accuracy
#   is much lower than with Xavier's rule.
# - **ReLU**: with 0.01, nothing is learned. With 0.3, all runs diverged: the loss became infinite in the first epoch.
#   He's rule has the best mean.
# - The differences between Xavier, He and 0.1 are small here. That 0.1 works well is not a general rule: with 100
#   units, $n \mathrm{Var}(w) = 100 \cdot 0.1^2 = 1$. With another number of units, it is not 1 (exercise 2).
#
# ## What you have learned
#
# - Units that start equal stay equal. Random weights break the symmetry. If all weights start at zero, only the bias of
#   the output is trained.
# - In a deep network, weights that are too small make outputs and gradients vanish, and weights that are too large make them
#   explode or saturate the units.
# - Xavier's rule keeps their size for tanh, He's rule for ReLU. `DenseLayer` chooses the rule that suits the activation
#   if you give no initialisation.
# - The sigmoid is a poor activation for hidden layers of deep networks: its gradients vanish with every usual
#   initialisation.
#
# In [Lab 5](05_mnist.md), a network with a good initialisation learns MNIST.
#
# ## Exercises
#
# 1. Start the hidden layer with a constant, and the output layer at random (`weights_initializer` of `build_network` takes a
#    list for the hidden layers; set `network.layers[2].weights` by hand). Do the hidden units stay equal?
# 2. The lecture's start is `0.1 * randn`, a normal distribution with the standard deviation 0.1. Repeat the table of spreads
#    for tanh with 100 and with 400 units per layer. Why is 0.1 good for 100 units only?
# 3. Train the sigmoid network with Xavier's rule and one, two, three, five and ten hidden layers. From which depth on does
#    it fail?
# 4. Add batch normalisation (`batch_normalization=True`) to the ReLU networks. Does the initialisation still matter?
# 5. (Open.) Find a standard deviation with which ten sigmoid layers keep the size of their gradients, and train the network.
#
# `chainrule labs symmetry_and_initialisation --solution` copies the solutions.
