# %% [markdown]
# # Lab 16: Solutions

# %%
import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import make_circles

from chainrule import Dataset, build_network
from chainrule.explain import pgd, robustness
from chainrule.labs import budget, load_lab_data
from chainrule.plots import plot_decision_boundary, plot_robustness

# %% [markdown]
# ## Exercise 1: other activations


# %%
def make_spirals(n_rows, seed):
    rng = np.random.default_rng(seed)
    angle = 3 * np.pi * np.sqrt(rng.uniform(0.05, 1, n_rows))
    label = np.arange(n_rows) % 2
    points = (angle * np.array([np.cos(angle + np.pi * label), np.sin(angle + np.pi * label)])).T
    return points + rng.normal(0, 0.3, points.shape), label


def network(data, hidden, activation="relu"):
    epochs = budget(300, quick=10)
    return build_network(
        2, data.target, hidden=hidden, activation=activation, epochs=epochs, learning_rate=0.01, seed=0
    )


spirals = Dataset(*make_spirals(400, seed=0)).standardize()
figure, panels = plt.subplots(1, 3, figsize=(11, 3.6), layout="tight")
for ax, activation in zip(panels, ("relu", "tanh", "sigmoid"), strict=True):
    trained = network(spirals, (16, 16), activation).fit(spirals)
    plot_decision_boundary(trained, spirals, ax=ax)
    ax.set_title(f"{activation}: accuracy {trained.score(spirals):.2f}", fontsize="medium")

# %% [markdown]
# The boundaries of ReLU have corners, because they consist of pieces of lines. Those of tanh and sigmoid are smooth. In the same
# number of epochs, ReLU comes closest to the training points.
#
# ## Exercise 2: the circles
#
# Three lines can enclose an area, a triangle. Two cannot.

# %%
circles = Dataset(*make_circles(400, noise=0.1, factor=0.5, random_state=0)).standardize()
figure, panels = plt.subplots(1, 3, figsize=(11, 3.6), layout="tight")
for ax, units in zip(panels, (2, 3, 4), strict=True):
    trained = network(circles, (units,)).fit(circles)
    plot_decision_boundary(trained, circles, ax=ax)
    ax.set_title(f"{units} units: accuracy {trained.score(circles):.2f}", fontsize="medium")

# %% [markdown]
# ## Exercise 3: the Euclidean norm
#
# With `norm="l2"`, $\varepsilon$ bounds the length of the whole change, not that of each pixel.

# %%
train, test = load_lab_data("mnist")
train, test = train.take(slice(None, budget(10000, quick=500))), test.take(slice(None, budget(1000, quick=200)))


def digit_network(seed=0):
    return build_network(784, train.target, hidden=(128, 64), epochs=budget(8, quick=5), seed=seed)


first, second = digit_network(0).fit(train), digit_network(1).fit(train)
measured = robustness(first, test, epsilons=[0, 0.25, 0.5, 0.75, 1, 1.5, 2], norm="l2", bounds=(0, 1))
print(measured.to_frame().round(3))

# %%
plot_robustness(measured)

# %% [markdown]
# ## Exercise 4: do the examples fool another network?

# %%
attacked = pgd(first, test, epsilon=0.1, bounds=(0, 1))
accuracies = {
    "the attacked network": np.mean(first.predict_labels(attacked) == test.y),
    "another network": np.mean(second.predict_labels(attacked) == test.y),
    "another network, original images": second.score(test),
}
for name, accuracy in accuracies.items():
    print(f"{name:34} {accuracy:.3f}")
assert (
    accuracies["the attacked network"] < accuracies["another network"] < accuracies["another network, original images"]
)

# %% [markdown]
# Many of them do, although the second network started with other weights. Both have learned similar boundaries from the
# same images. So an attacker does not need the attacked network itself. The attack is weaker than on the first network.
#
# ## Exercise 5: adversarial training

# %%
defended = digit_network()
defended.epochs = 1
for _ in range(budget(8, quick=5)):
    for start in range(0, train.n_rows, 500):
        part = train.take(slice(start, start + 500))
        attacked = pgd(defended, part, epsilon=0.1, bounds=(0, 1), n_steps=5) if defended.history else part.X
        both = Dataset(np.concatenate([part.X, attacked]), np.tile(part.y, 2), target=train.target)
        defended.fit(both)
comparison = {"plain": first, "adversarial training": defended}
scores = {
    name: robustness(one, test, epsilons=[0, 0.05, 0.1], bounds=(0, 1)).scores for name, one in comparison.items()
}
for name, (clean, small, large) in scores.items():
    print(f"{name:22} no change {clean:.3f}   epsilon 0.05 {small:.3f}   epsilon 0.1 {large:.3f}")
assert scores["adversarial training"][1] > scores["plain"][1]

# %% [markdown]
# This is the strongest of the defences in this lab. It costs more time, because every image is attacked in every epoch. The attacks must be
# renewed often, here every 500 images: attacked images that are made once per epoch are out of date after a few steps,
# because the network has changed.
