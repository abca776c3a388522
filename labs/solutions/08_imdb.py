# %% [markdown]
# # Lab 8: Solutions

# %%
import numpy as np

from chainrule import Dataset, build_network
from chainrule.experiments import compare
from chainrule.labs import budget, load_lab_data
from chainrule.optimizer import AdamW
from chainrule.zoo import IMDBNet

train_and_validation, test = load_lab_data("imdb")
train, validation = train_and_validation.split(0.4, seed=42)
words = np.array(train.feature_names)
settings = {"seeds": budget(3, quick=1), "metrics": ["accuracy", "log_loss"], "verbose": False}
settings["n_jobs"] = budget(None, quick=1)


def course(**chosen):
    fixed = {"max_words": train.n_features, "epochs": 20, "batch_size": budget(512, quick=64)}
    return IMDBNet(64, **{**fixed, **chosen})


def better(n_words, **chosen):
    fixed = {"hidden": (16,), "epochs": budget(15, quick=6), "batch_size": budget(512, quick=32), "schedule": "cosine"}
    fixed |= {"input_dropout": 0.5, "dropout": 0.5, "optimizer": AdamW(learning_rate=0.001, weight_decay=0.3)}
    return build_network(n_words, train.target, **{**fixed, **chosen})


# %% [markdown]
# ## Exercise 1: three epochs
#
# After three epochs, the network has hardly begun to overfit, and the loss is a fraction of that after 20 epochs.

# %%
short = compare({"3 epochs": course(epochs=3), "20 epochs": course()}, train, test, **settings)
short

# %% [markdown]
# ## Exercise 2: how much L2
#
# The choice is made on the validation rows. L2 makes the log loss much smaller. Too much of it keeps the network from
# learning.

# %%
strengths = {f"l2={strength}": course(l2=strength) for strength in (1e-4, 3e-4, 1e-3, 3e-3, 1e-2)}
compare(strengths, train, validation, **settings)

# %% [markdown]
# ## Exercise 3: fewer words
#
# The columns are sorted by how common the words are, after four special columns. A tenth of the words keeps most of the
# accuracy.

# %%
accuracies = {}
for n_words in budget((10_000, 1000, 100), quick=(64, 32)):
    few = Dataset(train.X[:, :n_words], train.y, words[:n_words].tolist())
    network = better(n_words, seed=0).fit(few)
    accuracies[n_words] = network.score(Dataset(validation.X[:, :n_words], validation.y))
    print(f"{n_words:6} words: accuracy {accuracies[n_words]:.3f}")
assert max(accuracies.values()) == accuracies[max(accuracies)] > 0.6

# %% [markdown]
# ## Exercise 4: the largest mistakes
#
# Such reviews often use the words of the other class: they praise another film, quote other people, or are ironic.

# %%
network = better(train.n_features, seed=0).fit(train_and_validation)
neuron = better(train.n_features, hidden=(), seed=0).fit(train_and_validation)
weights = neuron.layers[-2].weights.ravel()
p = network.predict(test).ravel()
losses = np.where(np.asarray(test.y) == 1, -np.log(p), -np.log(1 - p))
for row in np.argsort(-losses)[:5]:
    found = test.X[[row]].nonzero()[-1]
    strongest = found[np.argsort(-abs(weights[found]))[:8]]
    listed = ", ".join(f"{words[k]} {weights[k]:+.2f}" for k in strongest)
    print(f"{test.label_names[test.y[row]]}, p = {p[row]:.3f}: {listed}")
