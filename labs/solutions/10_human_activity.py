# %% [markdown]
# # Lab 10: Solutions
#
# All comparisons are cross-validations over the people of the training set, as in the lab.

# %%
import numpy as np

from chainrule import Dataset, build_network
from chainrule.experiments import compare
from chainrule.labs import budget, load_lab_data

train, test = load_lab_data("har-derived")
names = np.array(train.label_names)
people = np.arange(train.n_rows) % 21 if train.groups is None else train.groups
settings = {"cv": budget(5, quick=2), "seeds": [0], "metrics": ["accuracy"], "n_jobs": 1, "verbose": False}


def network(data):
    return build_network(data.n_features, data.target, hidden=(64,), epochs=budget(15, quick=5), batch_size=64)


def cross_validate(name, data):
    accuracy = compare({name: network(data)}, data, **settings).scores()[name]
    print(f"{name:32} {accuracy.mean():.3f} ± {accuracy.std(ddof=1):.3f}")
    return accuracy.mean()


# %% [markdown]
# ## Exercise 1: moving or still
#
# The first three classes are kinds of walking, the last three are kinds of rest. With two classes, hardly any mistakes
# are left.

# %%
moving = np.where(train.y < len(names) // 2, "moving", "still")
two = cross_validate("moving or still", Dataset(train.X, moving, groups=people))
assert two > 0.8

# %% [markdown]
# ## Exercise 2: more people or more rows
#
# The two lines are for the same numbers of training rows. The rows of the second line come from few people.

# %%
rng = np.random.default_rng(0)
chosen_people = rng.choice(np.unique(people), 6, replace=False)
rows_of_few = np.flatnonzero(np.isin(people, chosen_people))
rows_of_all = rng.choice(train.n_rows, len(rows_of_few), replace=False)
for name, rows in {"all people, some rows": rows_of_all, "six people, all rows": rows_of_few}.items():
    one = network(train).fit(train.take(rows))
    print(f"{name:24} test accuracy {one.score(test):.3f}")

# %% [markdown]
# ## Exercise 3: without the gyroscope

# %%
kept = [k for k, name in enumerate(train.feature_names) if "Gyro" not in name]
print(len(kept), "of", train.n_features, "columns")
cross_validate("all columns", Dataset(train.X, names[train.y], groups=people))
cross_validate("without the gyroscope", Dataset(train.X[:, kept], names[train.y], groups=people))

# %% [markdown]
# ## Exercise 4: sitting or standing
#
# The two postures differ only by the angle of the smartphone at the waist, which depends on the person.

# %%
pair = np.isin(train.y, [3, 4])
cross_validate("classes 3 and 4 only", Dataset(train.X[pair], names[train.y[pair]], groups=people[pair]))
