# %% [markdown]
# # Lab 16: Decision boundaries and adversarial examples
#
# **Question.** Which boundaries between classes can a network represent, and why can a small change of an image lead to
# a wrong prediction?
#
# **You need** [Lab 4](04_symmetry_and_initialisation.md) and [Lab 5](05_mnist.md): hidden layers, initialisation, and training on
# images. **Time:** 75 minutes. Running it takes about 1 minute on two cores.

# %%
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.datasets import make_circles, make_moons

from chainrule import Dataset, build_network
from chainrule.experiments import compare
from chainrule.explain import fgsm, pgd, robustness
from chainrule.initializers import Constant
from chainrule.labs import budget, load_lab_data
from chainrule.plots import plot_decision_boundary, plot_robustness, plot_scores

SEEDS = budget(5, quick=1)

# %% [markdown]
# ## Without activations, the boundary is a line
#
# A network predicts a class for every point of the plane. The line where the prediction changes is the **decision boundary**.
# Here are three sets of points: two moons, two circles, and two spirals.


# %%
def make_spirals(n_rows, seed):
    rng = np.random.default_rng(seed)
    angle = 3 * np.pi * np.sqrt(rng.uniform(0.05, 1, n_rows))
    label = np.arange(n_rows) % 2
    points = (angle * np.array([np.cos(angle + np.pi * label), np.sin(angle + np.pi * label)])).T
    return points + rng.normal(0, 0.3, points.shape), label


sets = {
    "moons": Dataset(*make_moons(400, noise=0.15, random_state=0)).standardize(),
    "circles": Dataset(*make_circles(400, noise=0.1, factor=0.5, random_state=0)).standardize(),
    "spirals": Dataset(*make_spirals(400, seed=0)).standardize(),
}


# %%
def network(data, hidden, activation="relu", epochs=None, seed=0):
    epochs = epochs or budget(200, quick=30)
    return build_network(
        2, data.target, hidden=hidden, activation=activation, epochs=epochs, learning_rate=0.01, seed=seed
    )


# %% [markdown]
# First, a network with two hidden layers of 32 units, but with the identity $f(z) = z$ as the activation ("linear"):

# %%
figure, panels = plt.subplots(1, 3, figsize=(11, 3.6), layout="tight")
for ax, (name, data) in zip(panels, sets.items(), strict=True):
    linear = network(data, (32, 32), activation="linear").fit(data)
    plot_decision_boundary(linear, data, ax=ax)
    ax.set_title(f"{name}: accuracy {linear.score(data):.2f}", fontsize="medium")

# %% [markdown]
# The boundaries are straight, whatever the number of layers. Two layers without an activation compute the same as one
# layer:
#
# $$(x W_1 + b_1) W_2 + b_2 = x \, (W_1 W_2) + (b_1 W_2 + b_2)$$
#
# Check it with the numbers of the last network:

# %%
first, second, third = (layer for layer in linear.layers if layer.parameters())
W = first.weights @ second.weights @ third.weights
b = (first.biases @ second.weights + second.biases) @ third.weights + third.biases
by_one_layer = 1 / (1 + np.exp(-(data.X @ W + b)))
print("largest difference:", abs(by_one_layer - linear.predict(data)).max())
assert np.allclose(by_one_layer, linear.predict(data), atol=1e-4)

# %% [markdown]
# ## Width and depth
#
# With ReLU ($f(z) = \max(0, z)$), each hidden unit allows a bend, and the boundary consists of pieces of lines. The
# pictures show the spirals with different numbers of units (rows) and hidden layers (columns):

# %%
spirals = sets["spirals"]
WIDTHS, DEPTHS = budget((4, 16, 64), quick=(4, 32)), budget((1, 2, 4), quick=(1, 2))
figure, panels = plt.subplots(len(WIDTHS), len(DEPTHS), figsize=(11, 3.5 * len(WIDTHS)), layout="tight")
for row, width in zip(panels, WIDTHS, strict=True):
    for ax, depth in zip(row, DEPTHS, strict=True):
        trained = network(spirals, depth * (width,)).fit(spirals)
        plot_decision_boundary(trained, spirals, ax=ax)
        layers = f"{depth} hidden layer{'s' * (depth > 1)} of {width}"
        ax.set_title(f"{layers}: accuracy {trained.score(spirals):.2f}", fontsize="medium")

# %% [markdown]
# The pictures show the training points. The table shows accuracies on 1,000 new points, the mean and the standard
# deviation over the seeds:

# %%
result = compare(
    {f"{depth} x {width}": network(spirals, depth * (width,)) for width in WIDTHS for depth in DEPTHS},
    spirals,
    Dataset(*make_spirals(1000, seed=1)).standardize(like=spirals),
    seeds=SEEDS,
    metrics=["accuracy"],
    n_jobs=budget(None, quick=1),
    verbose=False,
)
result.table()

# %%
means = result.summary()["accuracy"]
assert means.iloc[-1] > means.iloc[0] + 0.05  # the largest network, and the smallest

# %% [markdown]
# With four units per layer, the networks cannot follow the spirals. A second layer of four units helps a little. With
# four layers of four units, some networks fail, which the large standard deviation shows. With 16 units and more,
# nearly all new points are classified correctly.
#
# ## Adversarial examples
#
# In the plane, you can see the boundary. An image of 28 x 28 pixels is a point with 784 coordinates, and most images
# are surprisingly near to a boundary. To see this, train a network on handwritten digits:

# %%
train, test = load_lab_data("mnist")
train = train.take(slice(None, budget(10000, quick=1000)))
test = test.take(slice(None, budget(1000, quick=200)))


def digit_network(data=train, seed=0, **settings):
    settings = {"hidden": (128, 64), "epochs": budget(8, quick=6), **settings}
    return build_network(784, data.target, seed=seed, **settings)


trained = digit_network().fit(train)
print(f"accuracy on test images: {trained.score(test):.3f}")
assert trained.score(test) > 0.8

# %% [markdown]
# Training follows the gradient of the loss with respect to the **weights**, to make the loss smaller. An attack follows the
# gradient with respect to the **input**, to make the loss larger. The fast gradient sign method (FGSM) changes every
# pixel by $\varepsilon$, up or down:
#
# $$x' = x + \varepsilon \, \mathrm{sign}\left(\frac{\partial L}{\partial x}\right)$$
#
# The pixels are between 0 (black) and 1 (white). An image changed in this way is called an **adversarial example**.

# %%
EPSILON = 0.1
attacked = fgsm(trained, test, epsilon=EPSILON, bounds=(0, 1))
before_labels, after_labels = trained.predict_labels(test), trained.predict_labels(attacked)
fooled = np.flatnonzero((before_labels == test.y) & (after_labels != test.y))[:6]

# %%
figure, panels = plt.subplots(3, len(fooled), figsize=(9, 5), layout="tight", squeeze=False)
for column, row in enumerate(fooled):
    before, after = test.X[row].reshape(28, 28), attacked[row].reshape(28, 28)
    panels[0, column].imshow(before, cmap="gray", vmin=0, vmax=1)
    panels[1, column].imshow(after - before, cmap="RdBu", vmin=-0.3, vmax=0.3)
    panels[2, column].imshow(after, cmap="gray", vmin=0, vmax=1)
    for ax, title in zip(panels[:, column], (before_labels[row], "change", after_labels[row]), strict=True):
        ax.set_axis_off()
        ax.set_title(title)

# %% [markdown]
# Above: test images with the prediction of the network, which is right. In the middle: the change (blue: brighter, red:
# darker). Below: the changed images with their predictions. A person still reads the same digit, but the prediction has
# changed.
#
# FGSM takes one step. Projected gradient descent (PGD) takes several smaller steps, and limits the total change of each
# pixel to $\varepsilon$ after each of them. `robustness` measures the accuracy for several $\varepsilon$, and compares
# it with **random** changes of the same size:

# %%
EPSILONS = [0, 0.02, 0.05, 0.1, 0.15, 0.2]
measured = robustness(trained, test, epsilons=EPSILONS, bounds=(0, 1))
plot_robustness(measured)

# %%
by_pgd = pgd(trained, test, epsilon=EPSILON, bounds=(0, 1))
accuracies = {
    "no change": trained.score(test),
    "random": measured.noise_scores[EPSILONS.index(EPSILON)],
    "FGSM": np.mean(after_labels == test.y),
    "PGD": np.mean(trained.predict_labels(by_pgd) == test.y),
}
for name, accuracy in accuracies.items():
    print(f"{name:10} {accuracy:.3f}")
assert accuracies["PGD"] < accuracies["random"] - 0.1

# %% [markdown]
# Random changes of 0.1 cost about one percentage point. With changes of the same size by FGSM, fewer than one in ten
# images are classified correctly, and with PGD even fewer. That is worse than guessing: the attack does not only hide
# the digit, but moves the image to the other side of a boundary.
#
# Why does a small change of each pixel have such an effect? For a sum $z = \sum_i w_i x_i$, the change
# $\varepsilon\, \mathrm{sign}(w_i)$ of every input adds $\varepsilon \sum_i |w_i|$. With 784 inputs, many small changes
# in the right direction add up to a large one. Random changes mostly cancel.
#
# ## Are symmetric networks more vulnerable?
#
# The lecture notes say: "Symmetrical neural networks are vulnerable to adversarial attacks." [Lab
# 4](04_symmetry_and_initialisation.md) showed that hidden units that start equal stay equal. Is such a network easier
# to attack? The claim can be tested, but the comparison needs care: a network of 32 equal units can do no more than a
# network of **one** unit, so this network belongs in the comparison.
#
# One unit cannot tell ten digits apart, so the task is smaller: is it a 3 or an 8?


# %%
def threes_and_eights(data):
    rows = np.isin(data.y, [3, 8])
    return Dataset(data.X[rows], data.y[rows])


pair, test_pair = threes_and_eights(train), threes_and_eights(test)


def table_of(builders, training, testing):
    rows = []
    for name, build in builders.items():
        for seed in range(SEEDS):
            found = robustness(build(seed).fit(training), testing, epsilons=[0, 0.02, 0.05, 0.1], bounds=(0, 1))
            scores = zip(found.epsilons, found.scores, strict=True)
            rows.append({"network": name, **{f"epsilon {e:g}": score for e, score in scores}})
    return pd.DataFrame(rows)


# %%
def pair_network(seed, units, initializer="glorot_uniform"):
    return digit_network(
        pair,
        seed,
        hidden=(units,),
        activation="tanh",
        weights_initializer=initializer,
        epochs=budget(20, quick=15),
    )


symmetry = table_of(
    {
        "32 random units": lambda seed: pair_network(seed, 32),
        "32 equal units": lambda seed: pair_network(seed, 32, Constant(0.01)),
        "1 random unit": lambda seed: pair_network(seed, 1),
    },
    pair,
    test_pair,
)
symmetry.groupby("network", sort=False).agg(["mean", "std"]).round(3)

# %%
at_small = symmetry.groupby("network", sort=False)["epsilon 0.05"]
plot_scores(dict(iter(at_small)), "accuracy")

# %% [markdown]
# Two results. First, in the attacks the network of 32 equal units is **not** worse than the network of 32 random units:
# the differences between them are small, for all $\varepsilon$. Second, the single unit is more robust than both,
# although its accuracy without an attack is the lowest. So in this experiment, symmetry by itself does not make a
# network vulnerable. It wastes units: 32 equal units compute no more than one.
#
# The claim can also be understood in another way. Networks that start equal also end equal. Then an example that fools
# one of them fools all of them. Exercise 4 looks at networks that start differently.
#
# ## Training with noise as a defence
#
# If random noise is added to the images in training (new noise in each epoch), the network must give the same answer in a
# whole neighbourhood of each image. `noise=0.3` adds Gaussian noise with the standard deviation 0.3 to the inputs. Is this
# a defence? Here with all ten digits again:

# %%
defence = table_of(
    {
        "no defence": lambda seed: digit_network(seed=seed),
        "noise 0.1": lambda seed: digit_network(seed=seed, noise=0.1),
        "noise 0.3": lambda seed: digit_network(seed=seed, noise=0.3),
        "dropout 0.3": lambda seed: digit_network(seed=seed, dropout=0.3),
        "L2 0.0003": lambda seed: digit_network(seed=seed, l2=0.0003),
    },
    train,
    test,
)
defence.groupby("network", sort=False).agg(["mean", "std"]).round(3)

# %%
at_small = defence.groupby("network", sort=False)["epsilon 0.05"]
assert at_small.mean()["noise 0.3"] > at_small.mean()["no defence"]
plot_scores(dict(iter(at_small)), "accuracy")

# %% [markdown]
# Noise with the standard deviation 0.1 helps a little. With 0.3, about twice as many images are classified correctly
# under the attack with $\varepsilon = 0.05$ as without a defence, and the accuracy without an attack is not lower.
# Dropout and L2, which were not designed for this, help as well, but less. Against $\varepsilon = 0.1$, none of them is
# of much use. The strengths were not tuned; a choice would need validation rows.
#
# ## What you have learned
#
# - Layers without activations compute the same as one layer, and its boundary is a line (with three inputs a plane,
#   with more a hyperplane). Activations make other boundaries possible; more units and layers make more complicated
#   ones.
# - Adversarial examples are made by following the gradient of the loss with respect to the input. Small changes of many
#   pixels add up.
# - Random changes of the same size hardly reduce the accuracy, so the accuracy under random noise says little about
#   attacks.
# - A claim such as "symmetric networks are vulnerable" needs the right comparison.
# - Noise in training is a cheap defence against small changes, but not a complete one.
#
# ## Exercises
#
# 1. Draw the boundaries of tanh and sigmoid networks with 16 units and two layers on the spirals. How do they differ from those of
#    ReLU?
# 2. What is the smallest number of ReLU units in one hidden layer that separates the circles? Explain it with a picture.
# 3. Attack with the Euclidean norm (`norm="l2"`). Which $\varepsilon$ lets the accuracy drop to one half?
# 4. Make adversarial examples for one network, and test them on another with a different seed. Do they fool it as well?
# 5. (Open.) **Adversarial training**: attack the next 500 training images by PGD (`n_steps=5`) with the network as it
#    is then, and train on the attacked images as well. Is it a better defence than noise?
#
# `chainrule labs decision_boundaries_and_adversarial_examples --solution` copies the solutions.
