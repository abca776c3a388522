# %% [markdown]
# # Lab 2: Forward propagation by hand
#
# **Question.** What does a neuron compute, and why can one neuron not compute XNOR?
#
# **You need** Python, and nothing about neural networks. **Time:** 40 minutes.
#
# In this lab, nothing is trained. You set the weights yourself, and check the outputs with pencil and paper.

# %%
import numpy as np

from chainrule import NeuralNetwork
from chainrule.activations import LinearActivation, SigmoidActivation
from chainrule.layers import DenseLayer
from chainrule.plots import plot_activation, plot_decision_boundary

# %% [markdown]
# ## One neuron
#
# A neuron multiplies each input by a weight, adds a bias, and applies an activation function. With two inputs:
#
# $$z = b + w_1 x_1 + w_2 x_2, \qquad a = \sigma(z) = \frac{1}{1 + e^{-z}}$$
#
# The sigmoid $\sigma$ maps every number to a number between 0 and 1. It is nearly 0 below $z = -5$, and nearly 1 above
# $z = 5$.

# %%
plot_activation("sigmoid")

# %% [markdown]
# ## AND, OR and NOR
#
# Read 0 as *false* and 1 as *true*. With the bias $-30$ and the weights $20$ and $20$, the sum $z$ is positive only if both
# inputs are 1:
#
# | $x_1$ | $x_2$ | $z = -30 + 20 x_1 + 20 x_2$ | $a$ |
# |---|---|---|---|
# | 0 | 0 | -30 | 0 |
# | 0 | 1 | -10 | 0 |
# | 1 | 0 | -10 | 0 |
# | 1 | 1 | 10 | 1 |
#
# This neuron computes AND. A circuit or neuron that computes such a function of true and false is called a **gate**. OR
# is 1 if at least one input is 1, and NOR is its opposite: 1 if no input is 1. The function below makes a network that
# consists of one neuron, and sets its weights.

# %%
inputs = np.array([[0, 0], [0, 1], [1, 0], [1, 1]])


def neuron(bias, weights):
    network = NeuralNetwork(loss="binary_cross_entropy")
    network.add(DenseLayer(1, (2,)))
    network.add(SigmoidActivation())
    network.layers[0].weights = np.reshape(weights, (2, 1))  # rows: where from, columns: where to
    network.layers[0].biases = [bias]
    return network


gates = {"AND": neuron(-30, [20, 20]), "OR": neuron(-10, [20, 20]), "NOR": neuron(10, [-20, -20])}
for name, gate in gates.items():
    print(name, gate.predict(inputs).ravel().round(3))

# %% [markdown]
# Each line lists the outputs for the inputs (0, 0), (0, 1), (1, 0) and (1, 1). They are the truth tables of the three gates.

# %%
assert gates["AND"].predict(inputs).ravel().round().tolist() == [0, 0, 0, 1]
assert gates["OR"].predict(inputs).ravel().round().tolist() == [0, 1, 1, 1]
assert gates["NOR"].predict(inputs).ravel().round().tolist() == [1, 0, 0, 0]

# %% [markdown]
# ## The boundary of a neuron is a line
#
# The output is 0.5 where $z = 0$, that is on the line $b + w_1 x_1 + w_2 x_2 = 0$. On one side of it, the output is
# above 0.5 and is read as 1. On the other side, it is read as 0.

# %%
plot_decision_boundary(gates["AND"], inputs.astype(float), np.array([0, 0, 0, 1]))

# %% [markdown]
# ## XNOR needs a hidden layer
#
# XNOR is 1 if both inputs are equal. No line separates (0, 0) and (1, 1) from (0, 1) and (1, 0), so no single neuron
# can compute XNOR. But three neurons can: XNOR is *(both are 1) or (neither is 1)*, that is, the OR of AND and NOR. The
# neurons AND and NOR form a **hidden layer**, and the neuron OR gives the output.
#
# For a layer, the weights are a matrix $W$ with one row per input and one column per neuron. The whole layer is one
# formula, for all examples (rows of $A$) at the same time:
#
# $$Z = A W + b, \qquad A' = \sigma(Z)$$

# %%
xnor = NeuralNetwork(loss="binary_cross_entropy")
for layer in (DenseLayer(2, (2,)), SigmoidActivation(), DenseLayer(1), SigmoidActivation()):
    xnor.add(layer)
xnor.layers[0].weights = [[20, -20], [20, -20]]  # the first column is AND, the second column NOR
xnor.layers[0].biases = [-30, 10]
xnor.layers[2].weights = [[20], [20]]  # OR
xnor.layers[2].biases = [-10]

hidden = xnor.layers[1].forward_propagation(xnor.layers[0].forward_propagation(inputs.astype("float32")))
print("hidden layer (AND, NOR):\n", hidden.round(3))
print("output:", xnor.predict(inputs).ravel().round(3))
assert xnor.predict(inputs).ravel().round().tolist() == [1, 0, 0, 1]

# %% [markdown]
# Here is the same computation in NumPy, without chainrule. `predict` computes nothing more than this:


# %%
def sigmoid(z):
    return 1 / (1 + np.exp(-z))


W1, b1 = np.array([[20, -20], [20, -20]]), np.array([-30, 10])
W2, b2 = np.array([[20], [20]]), np.array([-10])
by_hand = sigmoid(sigmoid(inputs @ W1 + b1) @ W2 + b2)
print(by_hand.ravel().round(3))
assert np.allclose(by_hand, xnor.predict(inputs), atol=1e-5)

# %% [markdown]
# The boundary of the network is no longer one line:

# %%
plot_decision_boundary(xnor, inputs.astype(float), np.array([1, 0, 0, 1]))

# %% [markdown]
# ## Known models are networks with one neuron
#
# With the identity as the activation, a neuron computes $z = b + w_1 x_1 + \dots + w_n x_n$: this is **linear regression**.
# With the sigmoid, it is **logistic regression**. scikit-learn finds the weights; the neuron with these weights gives the
# same predictions.

# %%
from sklearn.datasets import load_breast_cancer, load_diabetes
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.preprocessing import scale


def one_neuron(activation, model):
    network = NeuralNetwork(dtype="float64")
    network.add(DenseLayer(1, (model.n_features_in_,)))
    network.add(activation)
    network.layers[0].weights = np.reshape(model.coef_, (-1, 1))
    network.layers[0].biases = np.reshape(model.intercept_, 1)
    return network


X, y = load_diabetes(return_X_y=True)
linear = LinearRegression().fit(X, y)
difference = abs(one_neuron(LinearActivation(), linear).predict(X).ravel() - linear.predict(X)).max()
print(f"linear regression: the largest difference is {difference:.1e}")
assert difference < 1e-9

X, y = load_breast_cancer(return_X_y=True)
X = scale(X)
logistic = LogisticRegression().fit(X, y)
difference = abs(one_neuron(SigmoidActivation(), logistic).predict(X).ravel() - logistic.predict_proba(X)[:, 1]).max()
print(f"logistic regression: the largest difference is {difference:.1e}")
assert difference < 1e-9

# %% [markdown]
# ## What you have learned
#
# - A neuron computes a weighted sum and an activation. Its decision boundary is a line (with three inputs a plane, with
#   more a hyperplane).
# - A layer is a matrix product: $Z = A W + b$. Rows of $W$ are the inputs, columns the neurons.
# - A hidden layer makes boundaries possible that are not lines.
# - Linear and logistic regression are networks without a hidden layer.
#
# In [Lab 3](03_xnor.md), training finds the weights of XNOR.
#
# ## Exercises
#
# 1. Find a bias and weights for NAND (0 only if both inputs are 1). Draw its boundary.
# 2. Build XOR (1 if the inputs differ) with one hidden layer, in a different way from XNOR.
# 3. Divide all weights and biases of XNOR by 10. What changes in the outputs, and what does not? What if you divide by 100?
# 4. Compose a gate of three inputs: 1 if at least two of them are 1. Is a hidden layer necessary?
#
# `chainrule labs forward_by_hand --solution` copies the solutions.
