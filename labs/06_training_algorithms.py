# %% [markdown]
# # Lab 6: Training algorithms
#
# **Question.** What do the training algorithms (optimizers) do differently, and which of them trains a network best?
#
# **You need** [Lab 5](05_mnist.md). **Time:** 75 minutes. Running it takes about 4 minutes on two cores.
#
# All optimizers use the **gradient** $g$: for each weight, it says how much the loss grows if the weight grows. They
# differ in how they compute the change of the weights from it.

# %%
import matplotlib.pyplot as plt
import numpy as np

from chainrule.experiments import compare
from chainrule.labs import budget, load_lab_data
from chainrule.optimizer import SGD, AdaGrad, Adam, AdamW, RMSprop
from chainrule.schedules import CosineDecay, ExponentialDecay, InverseTimeDecay, OneCycle, StepDecay
from chainrule.zoo import SimpleMLP

# %% [markdown]
# ## The formulas
#
# $w$ are the weights, $\eta$ is the **learning rate**. All operations act on each weight separately.
#
# | Algorithm | One step | Idea |
# |---|---|---|
# | Gradient descent | $w \leftarrow w - \eta g$, with $g$ of all rows | go downhill |
# | SGD (stochastic gradient descent) | the same, with $g$ of a batch of rows | many cheap steps instead of one exact step |
# | Momentum | $r \leftarrow \mu r + g$; $\; w \leftarrow w - \eta r$ | remember the direction of the last steps |
# | Nesterov | $r \leftarrow \mu r + g$; $\; w \leftarrow w - \eta (g + \mu r)$ | look one step ahead |
# | AdaGrad | $s \leftarrow s + g^2$; $\; w \leftarrow w - \eta g / \sqrt{s}$ | shorter steps where gradients were large |
# | RMSprop | $v \leftarrow \alpha v + (1 - \alpha) g^2$; $\; w \leftarrow w - \eta g / \sqrt{v}$ | the same, with an average in which old gradients count less and less |
# | Adam | $m \leftarrow \beta_1 m + (1 - \beta_1) g$; $\; v$ as in RMSprop; $\; w \leftarrow w - \eta \hat m / \sqrt{\hat v}$ | momentum and RMSprop together |
# | AdamW | $w \leftarrow w - \eta \lambda w$, then a step of Adam | also pull the weights towards 0 |
#
# Usual values are $\mu = 0.9$, $\alpha = 0.99$, $\beta_1 = 0.9$, and $0.999$ in the average $v$ of Adam. $\hat m$ and
# $\hat v$ are $m$ and $v$ divided by $1 - \beta^t$ in step $t$, because both averages start at 0 and are too small in the
# first steps. A tiny number is added to the roots, so that nothing is divided by 0.
#
# In chainrule, each optimizer has the method `update`, which takes the weights and the gradient, changes the weights, and
# returns them. One step of SGD and two steps of momentum, checked by hand:

# %%
print(SGD(learning_rate=0.1).update(np.array([1.0, 2.0]), np.array([1.0, -1.0])))

momentum = SGD(learning_rate=0.1, momentum=0.9)
w = momentum.update(np.array([1.0]), np.array([1.0]))  # r = 1, w = 1 - 0.1
w = momentum.update(w, np.array([1.0]))  # r = 0.9 + 1, w = 0.9 - 0.19
assert np.allclose(w, 0.71)

# %% [markdown]
# ## The steps on a function of two weights
#
# The loss $f(w) = \frac{1}{2}(w_1^2 + 20\, w_2^2)$ of two weights has the shape of a long valley: steep along $w_2$,
# and flat along $w_1$. Its minimum is at $(0, 0)$. The pictures show 30 steps of each algorithm, from the same point.


# %%
def walk(optimizer, n_steps=30):
    w = np.array([-4.0, 1.0])
    path = [w.copy()]
    for _ in range(n_steps):
        gradient = np.array([w[0], 20 * w[1]])
        optimizer.update(w, gradient)
        path.append(w.copy())
    return np.array(path)


walkers = {
    "SGD, rate 0.09": SGD(learning_rate=0.09),
    "SGD, rate 0.02": SGD(learning_rate=0.02),
    "momentum, rate 0.02": SGD(learning_rate=0.02, momentum=0.9),
    "AdaGrad, rate 0.5": AdaGrad(learning_rate=0.5),
    "RMSprop, rate 0.1": RMSprop(learning_rate=0.1),
    "Adam, rate 0.3": Adam(learning_rate=0.3),
}

# %%
x, y = np.meshgrid(np.linspace(-4.6, 2, 100), np.linspace(-1.4, 1.4, 100))
figure, axes = plt.subplots(2, 3, figsize=(11, 5), sharex=True, sharey=True)
ends = {}
for ax, (name, optimizer) in zip(axes.flat, walkers.items(), strict=True):
    path = walk(optimizer)
    ends[name] = (path[-1, 0] ** 2 + 20 * path[-1, 1] ** 2) / 2
    ax.contour(x, y, x**2 + 20 * y**2, levels=12, colors="0.8", linewidths=0.8)
    ax.plot(path[:, 0], path[:, 1], ".-", linewidth=1)
    ax.plot(0, 0, "k+")
    ax.set_title(f"{name}: loss {ends[name]:.2g}", fontsize=10)
figure.supxlabel("first weight")
figure.supylabel("second weight")
figure.tight_layout()

# %% [markdown]
# SGD with the larger rate zigzags across the valley: along the steep direction, the steps are almost too long (with a
# rate above 0.1, the loss grows, see exercise 2). With the smaller rate it does not zigzag, but moves slowly along the
# flat direction. With momentum, the steps along the valley add up: after 30 steps, the loss is smaller than with SGD at
# the same rate, although the path runs past the minimum and has to come back. AdaGrad, RMSprop and Adam divide by the
# size of the gradient, so that they move along the flat direction as fast as along the steep one. The steps of AdaGrad
# become shorter and shorter. Adam includes momentum, and also runs past the minimum.

# %%
assert ends["momentum, rate 0.02"] < ends["SGD, rate 0.02"]

# %% [markdown]
# ## Choose the learning rates
#
# It would be unfair to compare optimizers at one common learning rate, because they use it in different ways. Each gets
# its own rate: the one with the highest accuracy on 10,000 validation images, which are held out of the training
# images. The test set is not used for this choice.

# %%
train, test = load_lab_data("mnist")
training, validation = train.split(1 / 6, seed=0)
epochs, n_jobs = budget(10, quick=3), budget(None, quick=1)
rates = {
    "gradient descent": (SGD, [0.1, 0.3, 1.0]),
    "SGD": (SGD, [0.03, 0.1, 0.3]),
    "momentum": (lambda rate: SGD(rate, momentum=0.9), [0.01, 0.03, 0.1]),
    "Nesterov": (lambda rate: SGD(rate, momentum=0.9, nesterov=True), [0.01, 0.03, 0.1]),
    "AdaGrad": (AdaGrad, [0.01, 0.03, 0.1]),
    "RMSprop": (RMSprop, [0.0003, 0.001, 0.003]),
    "Adam": (Adam, [0.0003, 0.001, 0.003]),
    "AdamW": (AdamW, [0.0003, 0.001, 0.003]),
}


def network(name, rate, rows):
    batch_size = rows if name == "gradient descent" else 64
    return SimpleMLP(optimizer=rates[name][0](rate), batch_size=batch_size, epochs=epochs)


# %%
tried = {(name, rate): network(name, rate, len(training)) for name, (_, grid) in rates.items() for rate in grid}
search = compare(
    {f"{name}, {rate}": one for (name, rate), one in tried.items()},
    training,
    validation,
    seeds=[100],  # one run for each rate, with a seed that is not used below
    metrics="accuracy",
    n_jobs=n_jobs,
    verbose=False,
)
accuracy = {key: search.scores()[f"{key[0]}, {key[1]}"][0] for key in tried}
best = {name: max(grid, key=lambda rate: accuracy[name, rate]) for name, (_, grid) in rates.items()}
print(best)

# %%
figure, ax = plt.subplots(figsize=(7, 4))
for style, (name, (_, grid)) in zip(["o-", "s-", "^-", "v--", "D-", "P-", "X-", "*--"], rates.items(), strict=True):
    ax.plot(grid, [1 - accuracy[name, rate] for rate in grid], style, label=name)
ax.set(xscale="log", yscale="log", xlabel="learning rate (log axis)", ylabel="validation error (log axis)")
ax.legend(loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)

# %% [markdown]
# The good rates of Adam and SGD differ by a factor of 300. A rate that is 10 times too small costs a lot: with SGD, the
# error at 0.03 is about twice as large as at 0.3. For five algorithms, the best rate is in the middle of the grid. SGD
# and AdamW are best at the largest rate of their grids, and Nesterov at the smallest: in a real search, extend the
# grids there.
#
# ## The comparison
#
# With these rates, each algorithm trains `SimpleMLP` on all training images, for 10 epochs and with five seeds.

# %%
result = compare(
    {name: network(name, rate, len(train)) for name, rate in best.items()},
    train,
    test,
    seeds=budget(5, quick=1),
    metrics=["accuracy", "log_loss"],
    n_jobs=n_jobs,
    verbose=False,
)
print(result)

# %%
result.plot("loss", log=True)

# %% [markdown]
# The lines are means over the seeds, and the bands are one standard deviation wide to both sides.

# %%
scores = result.scores("accuracy")
assert scores["Adam"].mean() > 0.85
assert scores["gradient descent"].mean() < scores["momentum"].mean()

# %% [markdown]
# Gradient descent has taken only ten steps, one per epoch, and has hardly learned anything. All others have taken 9,380
# steps. With its own learning rate, each of them comes to an accuracy between 0.976 and 0.980. The best mean is that of
# momentum, but SGD and RMSprop cannot be distinguished from it with five runs. Adam, which is the usual first choice,
# is not the best here. But its usual rate, 0.001, is the best of its grid: Adam works well without a search.
#
# The order by the training loss is not the order by the test results. Of these algorithms, Nesterov has the highest
# training loss in all epochs, because a small rate was chosen for it, and the lowest log loss on the test set.

# %%
summary = result.summary()
(summary["seconds"] / summary["epochs"]).round(3).rename("seconds per epoch").to_frame()

# %% [markdown]
# An epoch takes less than a second with each of them. Other programs ran on the computer, so that differences of some
# tenths mean little. Adam, whose formula is longer, takes about as long as SGD, because the matrix products take most of
# the time.
#
# ## The batch size
#
# A large batch gives a more exact gradient, but fewer steps per epoch. Here, Adam has the learning rate 0.001 for all batch
# sizes.

# %%
sizes = budget([16, 64, 256, 1024], quick=[16, 64, 256])
batches = compare(
    {f"{size} rows": SimpleMLP(batch_size=size, epochs=epochs) for size in sizes},
    train,
    test,
    seeds=budget(5, quick=1),
    metrics=["accuracy", "log_loss"],
    n_jobs=n_jobs,
    verbose=False,
)
print(batches)

# %%
batches.plot("loss", log=True)

# %%
final_loss = {name: runs[0].last("loss") for name, runs in batches.histories().items()}
assert final_loss["16 rows"] < final_loss["256 rows"]

# %% [markdown]
# With batches of 1024 rows, there are only 590 steps in 10 epochs, and the loss would still fall further. With 16 rows,
# there are 37,500 steps. The training loss is then the lowest in most epochs, but the larger number of steps makes an
# epoch take longer. In the accuracy, 16, 64 and 256 rows cannot be distinguished. The log loss on the test set is
# lowest with 256 rows: the smaller batches have already begun to overfit. Sizes from 32 to 256 are a good first choice.
#
# ## Learning-rate schedules
#
# At the beginning, large steps are good, because the weights are far from a minimum. Near the minimum, large steps only
# jump around it. A **schedule** multiplies the learning rate by a factor that depends on the epoch $t$ of $T$:
#
# | Schedule | Factor |
# |---|---|
# | step | $0.3$ to the power of the number of steps, here one every 3 epochs |
# | exponential | $0.7^t$ |
# | inverse time | $1 / (1 + 0.5\, t)$ |
# | cosine | $(1 + \cos(\pi t / T)) / 2$ |
# | one cycle | up in the first 30 % of the epochs, then down to almost 0 |

# %%
schedules = {
    "constant": None,
    "step": StepDecay(every=3, factor=0.3),
    "exponential": ExponentialDecay(0.7),
    "inverse time": InverseTimeDecay(0.5),
    "cosine": CosineDecay(epochs=epochs),
    "one cycle": OneCycle(epochs=epochs),
}
figure, ax = plt.subplots(figsize=(7, 3.2))
moments = np.linspace(0, epochs, 200)
for name, schedule in schedules.items():
    ax.plot(moments, [1 if schedule is None else schedule(t) for t in moments], label=name)
ax.set(xlabel="epoch", ylabel="factor on the learning rate")
ax.legend(loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)

# %% [markdown]
# Because the schedule makes the rate smaller, it may be large at first. Here, Adam starts with 0.003, three times its
# usual rate. Only one cycle starts lower, and reaches 0.003 later.

# %%
scheduled = compare(
    {name: SimpleMLP(learning_rate=0.003, schedule=one, epochs=epochs) for name, one in schedules.items()},
    train,
    test,
    seeds=budget(5, quick=1),
    metrics=["accuracy", "log_loss"],
    n_jobs=n_jobs,
    verbose=False,
)
print(scheduled)

# %%
scheduled.plot_scores()

# %% [markdown]
# Every schedule is better than the constant rate, by 0.4 to 0.6 percentage points of accuracy, in the same number of
# epochs. Every schedule is also better than Adam with the constant rate 0.001 in the table of the optimizers. Which
# schedule it is matters less: one cycle has the best mean, but step, cosine and inverse time cannot be distinguished
# from it with five runs.
#
# ## What you have learned
#
# - Momentum adds up the steps that point in the same direction. AdaGrad, RMSprop and Adam scale the step of each
#   weight.
# - The learning rate is the most important setting of an optimizer. Choose it for each optimizer, on validation rows.
# - Steps count, not epochs: gradient descent with all rows takes one step per epoch.
# - With a good rate, the optimizers differ little on MNIST. A schedule that lowers the rate helps more.
#
# ## Exercises
#
# 1. Calculate the first step of Adam by hand for the gradient $g = 0.001$ and for $g = 1000$. How large are the two
#    steps?
# 2. In the valley, which is the largest rate at which SGD does not diverge? Find it by a calculation, then by trying.
# 3. Choose the learning rate with `chainrule.find_learning_rate` and `plot_rate_search`. Is it near the one of the
#    grid?
# 4. If the batch size is multiplied by 4, should the learning rate change? Try it for SGD with the batch sizes 64 and
#    256.
# 5. Write your own optimizer: a class derived from `Optimizer` with the method `rule`. Try the step
#    $\eta \cdot \mathrm{sign}(r)$ with the momentum $r$. How does it compare with Adam? (It is similar to Lion, which
#    was found by a computer search in 2023.)
#
# `chainrule labs training_algorithms --solution` copies the solutions.
