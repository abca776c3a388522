# %% [markdown]
# # Lab 6: Solutions

# %%
from dataclasses import dataclass

import numpy as np

from chainrule import find_learning_rate
from chainrule.experiments import compare
from chainrule.labs import budget, load_lab_data
from chainrule.optimizer import SGD, Adam, Optimizer
from chainrule.plots import plot_rate_search
from chainrule.zoo import SimpleMLP

train, test = load_lab_data("mnist")
training, validation = train.split(1 / 6, seed=0)
epochs, n_jobs = budget(10, quick=3), budget(None, quick=1)

# %% [markdown]
# ## Exercise 1: the first step of Adam
#
# In the first step, $m = 0.1\, g$ and $\hat m = m / (1 - 0.9) = g$, and $v = 0.001\, g^2$ and
# $\hat v = v / (1 - 0.999) = g^2$. The step is $\eta\, g / \sqrt{g^2} = \eta\, \mathrm{sign}(g)$: its length is $\eta$ for
# every gradient. The size of the gradient does not matter, only how it changes from step to step.

# %%
for gradient in (0.001, 1000.0, -5.0):
    step = Adam(learning_rate=0.01).update(np.array([0.0]), np.array([gradient]))[0]
    print(f"gradient {gradient}: step {step:.6f}")
    assert np.isclose(step, -0.01 * np.sign(gradient), rtol=1e-4)

# %% [markdown]
# ## Exercise 2: the largest rate
#
# Along $w_2$, the gradient is $20\, w_2$. A step gives $w_2 - \eta\, 20\, w_2 = (1 - 20 \eta)\, w_2$. Its absolute value becomes
# smaller if $|1 - 20 \eta| < 1$, that is for $\eta < 0.1$.

# %%
for rate in (0.099, 0.101):
    sgd, w = SGD(learning_rate=rate), np.array([-4.0, 1.0])
    for _ in range(300):
        w = sgd.update(w, np.array([w[0], 20 * w[1]]))
    print(f"rate {rate}: w_2 = {w[1]:.3g} after 300 steps")
    assert (abs(w[1]) < 1) == (rate < 0.1)

# %% [markdown]
# ## Exercise 3: the rate finder
#
# `find_learning_rate` trains a copy of the network with a rate that grows from step to step. The loss falls as long as the
# rate is useful, and rises when the steps are too long. The suggestion is a tenth of the rate with the lowest loss.

# %%
search = find_learning_rate(SimpleMLP(seed=0), training)
print(f"suggestion: {search.suggestion:.2g}")
assert 1e-5 < search.suggestion < 0.1
plot_rate_search(search)

# %% [markdown]
# ## Exercise 4: batch size and learning rate
#
# With a batch that is 4 times larger, there are a quarter of the steps. If the learning rate of SGD is 4 times as
# large, each step is about as long as 4 of the small ones. This works as long as the larger rate does not make the
# training diverge.

# %%
result = compare(
    {
        "64 rows, rate 0.05": SimpleMLP(optimizer=SGD(0.05), batch_size=64, epochs=epochs),
        "256 rows, rate 0.05": SimpleMLP(optimizer=SGD(0.05), batch_size=256, epochs=epochs),
        "256 rows, rate 0.2": SimpleMLP(optimizer=SGD(0.2), batch_size=256, epochs=epochs),
    },
    training,
    validation,
    seeds=budget(3, quick=1),
    metrics=["accuracy", "log_loss"],
    n_jobs=n_jobs,
    verbose=False,
)
print(result)

# %%
result.plot("loss", log=True)

# %% [markdown]
# ## Exercise 5: an optimizer of your own
#
# The method `rule` takes the weights, the gradient, the learning rate, and the arrays that the optimizer remembers. Here,
# this is the momentum. It returns the new weights and the new momentum. chainrule compiles the formula, so that it runs as
# fast as the built-in optimizers.


# %%
@dataclass(eq=False)
class SignMomentum(Optimizer):
    learning_rate: float = 0.0003
    decay: float = 0.9

    def rule(self, weights, gradient, rate, momentum):
        momentum = self.decay * momentum + (1 - self.decay) * gradient
        return weights - rate * np.sign(momentum), momentum


network = SimpleMLP(optimizer=SignMomentum(), epochs=epochs, seed=0).fit(training)
adam = SimpleMLP(epochs=epochs, seed=0).fit(training)
for name, one in (("sign of the momentum", network), ("Adam", adam)):
    print(f"{name}: validation accuracy {one.evaluate(validation)['accuracy']:.4f}")
assert network.evaluate(validation)["accuracy"] > 0.7
