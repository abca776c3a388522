# %% [markdown]
# # Lab 7: Overfitting
#
# **Question.** A large network makes no mistake on its training images. Why does it make mistakes on new images, and
# how can you reduce them?
#
# **You need** [Lab 5](05_mnist.md). **Time:** 75 minutes. Running it takes about 4 minutes on two cores.

# %%
import matplotlib.pyplot as plt

from chainrule import EarlyStopping, build_network
from chainrule.data import ImageAugmentation
from chainrule.experiments import Configuration, compare
from chainrule.labs import budget, load_lab_data
from chainrule.plots import plot_comparison, plot_history

# %% [markdown]
# ## Few images, many weights
#
# To see overfitting clearly, take only 2,000 of the 60,000 training images of MNIST. Another 2,000 are the **validation
# set**, with which all decisions are made. The network has two hidden layers of 512 units, and 669,706 weights and
# biases: more than 300 for each training image.

# %%
all_train, test = load_lab_data("mnist")
n = budget(2000, quick=300)
train, validation = all_train.take(slice(0, n)), all_train.take(slice(n, 2 * n))
two_layers = budget((512, 512), quick=(64, 64))


def network(hidden=two_layers, **settings):
    settings = {"epochs": budget(40, quick=15), "learning_rate": 0.001, "batch_size": 64, **settings}
    return build_network(784, train.target, hidden=hidden, **settings)


large = network(seed=0)
large.fit(train, validation=validation)
plot_history(large.history)

# %%
for name, rows in (("training", train), ("validation", validation)):
    print(name, large.evaluate(rows))
assert large.evaluate(train)["accuracy"] > large.evaluate(validation)["accuracy"]

# %% [markdown]
# After about eight epochs, the network makes no mistake on the training images, and the training loss goes on falling
# towards 0. The validation loss is lowest in epoch 10, and then rises. 7 % of the validation images are not recognised.
# This is **overfitting**: the network has memorised the 2,000 images, with everything that is accidental in them. What
# it learns after epoch 10 does not help on new images, and gives its wrong predictions higher probabilities.
#
# ## A smaller network?
#
# The **capacity** of a network is the variety of functions that it can compute. It grows with the number of units. The
# next networks have one hidden layer with 4 to 512 units, and are trained with the same images.

# %%
units = budget([4, 16, 64, 512], quick=[4, 64])
networks = {n_units: network((n_units,), seed=0).fit(train, validation=validation) for n_units in units}
plot_comparison({f"{n_units} units": one.history for n_units, one in networks.items()}, "validation_loss", log=False)

# %%
for n_units, one in networks.items():
    print(
        f"{n_units:4} units: training loss {one.evaluate(train)['loss']:.4f}, "
        f"validation loss {one.evaluate(validation)['loss']:.3f}"
    )

# %% [markdown]
# With 4 units, the training loss and the validation loss are not far apart, but both are high. This is
# **underfitting**: the network is too small to fit even the training images. With more units, the training loss comes
# close to 0, and the validation loss stays far above it. Nevertheless, the largest network has the lowest validation
# loss. Here, a smaller network is not the remedy against overfitting. It is better to take a large one, and to reduce
# its overfitting by other means.
#
# ## The remedies
#
# **L2** adds a penalty to the loss that grows with the squares of the weights. **L1** adds one that grows with their
# absolute values, and pulls unimportant weights to exactly 0:
#
# $$\text{L2: } L + \frac{\lambda}{2} \sum_i w_i^2 \qquad\qquad \text{L1: } L + \lambda \sum_i |w_i|$$
#
# **Dropout** sets each output of a hidden layer to 0 with probability $p$, at random and anew for each image and step.
# So a unit cannot rely on any single other unit. The remaining outputs are divided by $1 - p$, so that their mean is
# unchanged. When the network is used, nothing is dropped.
#
# **Batch normalisation** shifts and scales the sum $z$ of each unit to mean 0 and variance 1 over the batch, and then
# by two numbers that are learned: $\gamma\, (z - \mu_B) / \sigma_B + \beta$. It was invented to make training faster.
# It also acts like noise: the mean $\mu_B$ and the standard deviation $\sigma_B$ depend on the other images of the
# batch.
#
# **Early stopping** ends the training when the validation loss has not improved for some epochs (the *patience*), and
# goes back to the best weights.
#
# **Augmentation** changes each training image at random in each epoch: it is shifted by up to 2 pixels, rotated by up to 10
# degrees and scaled by up to 10 %. The digit stays the same.
#
# ## Choose the strengths
#
# How strong should a penalty be? This is decided by the loss on the validation set. The test set must not decide it:
# the setting that is best on the test set is partly best by chance, and its result would be too good.

# %%
candidates = {
    "L2": {"l2": [1e-4, 1e-3, 1e-2]},
    "L1": {"l1": [1e-5, 1e-4, 1e-3]},
    "dropout": {"dropout": [0.2, 0.5, 0.7]},
}
tried = {
    (name, value): network(**{setting: value})
    for name, grid in candidates.items()
    for setting, values in grid.items()
    for value in values
}
n_jobs = budget(None, quick=1)
search = compare(
    {f"{name} {value}": one for (name, value), one in tried.items()},
    train,
    validation,
    seeds=[100],
    metrics="log_loss",
    n_jobs=n_jobs,
    verbose=False,
)
print(search)

# %%
loss = {key: search.scores()[f"{key[0]} {key[1]}"][0] for key in tried}
best = {name: min((key for key in tried if key[0] == name), key=loss.get) for name in candidates}
print(best)

# %% [markdown]
# ## The comparison
#
# All networks are trained for 40 epochs (unless they are stopped early), with five seeds, and measured on the 10,000 test
# images.

# %%
augmentation = ImageAugmentation((28, 28), shift=2, rotation=10, scale=0.1)
remedies = {
    "nothing": network(),
    "smaller network": network((16,)),
    "L2": tried[best["L2"]],
    "L1": tried[best["L1"]],
    "dropout": tried[best["dropout"]],
    "batch normalisation": network(batch_normalization=True),
    "early stopping": Configuration(network(), {"callbacks": [EarlyStopping(patience=3)]}),
    "augmentation": Configuration(network(), {"augmentation": augmentation}),
    "dropout, augmentation": Configuration(tried[best["dropout"]], {"augmentation": augmentation}),
}
result = compare(
    remedies,
    train,
    test,
    seeds=budget(5, quick=1),
    validation=validation,
    metrics=["accuracy", "log_loss"],
    n_jobs=n_jobs,
    verbose=False,
)
print(result)

# %%
result.plot_scores("accuracy")

# %%
scores = result.scores("accuracy")
assert scores["nothing"].mean() > 0.7
assert scores["augmentation"].mean() > scores["smaller network"].mean()

# %% [markdown]
# Augmentation is by far the best: 4.3 % of the test images are not recognised, instead of 7.7 % without a remedy. It is
# the only remedy that adds information: a shifted or rotated digit is the same digit. Together with the dropout that
# was chosen without augmentation (0.7), it is worse than alone. Two strong remedies can be too much, and strengths must
# be chosen again when something else changes.
#
# The other remedies do not change the accuracy much, and some lower it. The smaller network is worst. With L2 and with
# batch normalisation, the seeds differ a lot: one more reason not to trust a single run.

# %%
result.plot_scores("log_loss")

# %% [markdown]
# The log loss gives a different order. L1, early stopping, L2, dropout and batch normalisation all have a lower mean
# than the network without a remedy. They hardly recognise more digits, but give their wrong predictions lower
# probabilities. Which of the two measures matters depends on the use: if somebody acts on the probabilities, it is the
# loss. Early stopping also saves time: it needed about 9 epochs instead of 40.

# %%
curves = ("nothing", "L2", "dropout", "batch normalisation", "augmentation")
plot_comparison({name: result.histories()[name] for name in curves}, "validation_loss", log=False)

# %% [markdown]
# Without a remedy, the validation loss rises slowly after the first epochs. With dropout, the network learns more
# slowly. With L2 and with batch normalisation, the curves are uneven, and differ between the seeds. With augmentation,
# the loss does not rise, and after the first epochs it is the lowest.
#
# ## The best remedy: more data
#
# The same network without any remedy, with 1,000 to 60,000 training images. It is trained for the same number of steps
# each time, so that a larger set does not also mean more steps of training.

# %%
sizes = budget([1000, 2000, 5000, 10_000, 20_000, 60_000], quick=[100, 1000])
n_steps = budget(1200, quick=100)
more = {}
for size in sizes:
    epochs = max(1, round(n_steps * 64 / size))
    run = compare(
        {f"{size:,}": network(epochs=epochs)},
        all_train.take(slice(0, size)),
        test,
        seeds=budget(5, quick=1),
        metrics="accuracy",
        n_jobs=n_jobs,
        verbose=False,
    )
    more[size] = 1 - run.scores()[f"{size:,}"]

# %%
figure, ax = plt.subplots(figsize=(6, 3.6))
errors = [more[size].mean() for size in sizes]
ax.errorbar(sizes, errors, [more[size].std() for size in sizes], fmt="o-", capsize=3)
ax.set(xscale="log", yscale="log", xlabel="training images (log axis)", ylabel="test error (log axis)")
assert errors[-1] < errors[0]
print({size: f"{error:.2%}" for size, error in zip(sizes, errors, strict=True)})

# %% [markdown]
# The test error falls from 10.2 % with 1,000 images to 3.2 % with 60,000. Compare this with the table: with 2,000
# images and augmentation, the error is 4.3 %, which is a little better than with 10,000 images and no remedy.
# Augmentation is a cheap substitute for more data, if you know which changes keep the class.
#
# ## What you have learned
#
# - A network overfits if it learns what is accidental in the training rows. The sign is a validation loss that is far
#   above the training loss, or that rises while the training loss falls.
# - More data help most. If there are no more, generate some by changes that keep the class (augmentation).
# - L1, L2, dropout and early stopping make the loss on new rows smaller. Their strengths are chosen on validation rows.
# - Loss and accuracy measure different things: the probabilities of wrong predictions can rise without more mistakes.
#
# ## Exercises
#
# 1. Train the large network on 2,000 images with **random labels**. Can it learn them? What are the losses?
# 2. Which share of the weights is smaller than 0.001 with L1, with L2 and with neither?
# 3. Add Gaussian noise to the inputs (`build_network(noise=...)`). Choose its strength on the validation set.
# 4. Change the patience of early stopping to 1 and to 10. What changes, and why?
# 5. Combine remedies. How few mistakes can you reach with 2,000 training images?
#
# `chainrule labs overfitting --solution` copies the solutions.
