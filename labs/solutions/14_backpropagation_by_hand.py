# %% [markdown]
# # Lab 14: Solutions
#
# ## Exercise 1: another example
#
# On paper, with $x = (2, 1)$ and $y = 0$:
#
# - $z_1 = (3, 0, 1.5)$. The second neuron is exactly at 0, where ReLU has no derivative; chainrule uses 0 there.
# - $a_1 = (3, 0, 1.5)$, $z_2 = 3 - 1.5 = 1.5$, $L = 2.25$, $\delta_2 = 2 \cdot 1.5 = 3$.
# - $\partial L / \partial W_2 = (9, 0, 4.5)$, $\partial L / \partial b_2 = 3$.
# - $\partial L / \partial a_1 = (3, 6, -3)$, $\delta_1 = (3, 0, -3)$.
# - $\partial L / \partial W_1$ has the rows $2 \delta_1 = (6, 0, -6)$ and $\delta_1 = (3, 0, -3)$.

# %%
import matplotlib.pyplot as plt
import numpy as np

from chainrule import NeuralNetwork, check_gradients, load_dataset
from chainrule.activations import CustomActivation, ReLUActivation, SigmoidActivation, TanhActivation
from chainrule.labs import budget
from chainrule.layers import DenseLayer
from chainrule.losses import MeanSquaredError

W1, b1 = np.array([[1.0, 0.0, 1.0], [1.0, -1.0, 0.5]]), np.array([0.0, 1.0, -1.0])
W2, b2 = np.array([[1.0], [2.0], [-1.0]]), np.array([0.0])


def two_layers(activation, **settings):
    network = NeuralNetwork(optimizer="sgd", dtype="float64", **settings)
    for layer in (DenseLayer(3, (2,)), activation, DenseLayer(1)):
        network.add(layer)
    network.layers[0].weights, network.layers[0].biases = W1, b1
    network.layers[2].weights, network.layers[2].biases = W2, b2
    return network


def gradients_of(network, x, y):
    error = MeanSquaredError().derivative(y, network.forward_propagation(x, training=True))
    network.backward_propagation(error)
    return [gradient.copy() for layer in network.layers[::2] for gradient in layer.gradient_views.values()]


x, y = np.array([[2.0, 1.0]]), np.array([[0.0]])
found = gradients_of(two_layers(ReLUActivation()), x, y)
for name, gradient in zip(("W1", "b1", "W2", "b2"), found, strict=True):
    print(f"dL/d{name} =", gradient.tolist())
assert found[0].tolist() == [[6, 0, -6], [3, 0, -3]]
assert found[2].ravel().tolist() == [9, 0, 4.5]

# %% [markdown]
# ## Exercise 2: tanh
#
# Two lines change: the forward line of $a_1$, and the factor in $\delta_1$.


# %%
def loss_of(W1, b1, W2, b2):
    return np.mean((np.tanh(x @ W1 + b1) @ W2 + b2 - y) ** 2)


z1 = x @ W1 + b1
a1 = np.tanh(z1)
delta2 = 2 * (a1 @ W2 + b2 - y) / len(x)
delta1 = delta2 @ W2.T * (1 - np.tanh(z1) ** 2)
by_hand = x.T @ delta1

quotients, h = np.zeros_like(W1), 1e-5
for index in np.ndindex(W1.shape):
    step = np.zeros_like(W1)
    step[index] = h
    quotients[index] = (loss_of(W1 + step, b1, W2, b2) - loss_of(W1 - step, b1, W2, b2)) / (2 * h)
print("largest difference:", f"{abs(quotients - by_hand).max():.0e}")
assert np.allclose(quotients, by_hand, atol=1e-8)
assert np.allclose(gradients_of(two_layers(TanhActivation()), x, y)[0], by_hand, atol=1e-12)

# %% [markdown]
# ## Exercise 3: the gradient of a batch
#
# The loss is a mean over the examples, and the derivative of a mean is the mean of the derivatives.

# %%
X, Y = np.array([[1.0, 2.0], [2.0, 1.0]]), np.array([[1.0], [0.0]])
batch = gradients_of(two_layers(ReLUActivation()), X, Y)
single = [gradients_of(two_layers(ReLUActivation()), X[i : i + 1], Y[i : i + 1]) for i in range(2)]
print("batch:\n", batch[0], "\nmean of the two:\n", (single[0][0] + single[1][0]) / 2)
for whole, one, other in zip(batch, *single, strict=True):
    assert np.allclose(whole, (one + other) / 2)

# %% [markdown]
# ## Exercise 4: the size of h
#
# For large $h$ the quotient is not yet the derivative: its error falls with $h^2$. For small $h$ the two losses are nearly
# equal, and their difference consists mainly of rounding errors, which are divided by $2h$. So the error grows again.
# float32 has only about 7 digits, so its best $h$ is larger, and its best error is much larger. This is why
# `check_gradients` computes in float64.

# %%
steps, errors = 10.0 ** -np.arange(1, 13), {"float64": [], "float32": []}
for dtype, column in errors.items():
    first, *others = [array.astype(dtype) for array in (W1, b1, W2, b2)]
    x, y = x.astype(dtype), y.astype(dtype)
    for h in steps:
        step = np.zeros_like(first)
        step[0, 0] = h
        quotient = (loss_of(first + step, *others) - loss_of(first - step, *others)) / (2 * h)
        column.append(abs(quotient - by_hand[0, 0]))
figure, ax = plt.subplots(figsize=(6, 3.6))
for dtype, column in errors.items():
    ax.loglog(steps, np.maximum(column, 1e-14), "o-", label=dtype)
ax.set(xlabel="h", ylabel="error of the difference quotient")
ax.legend()
assert min(errors["float64"]) < 1e-8 < min(errors["float32"])

# %% [markdown]
# ## Exercise 5: a wrong derivative

# %%
sigmoid = SigmoidActivation()
wrong = CustomActivation(sigmoid.activation_function, sigmoid.activation_function)  # forgot the factor 1 - f(z)
print(check_gradients(wrong))
assert not check_gradients(wrong)


# %%
xnor, seeds = load_dataset("xnor"), range(budget(20, quick=3))


def learns_xnor(derivative, seed):
    network = NeuralNetwork(loss="binary_cross_entropy", optimizer="adam", learning_rate=0.05, epochs=500, seed=seed)
    activation = CustomActivation(sigmoid.activation_function, derivative)
    for layer in (DenseLayer(4, (2,)), activation, DenseLayer(1), SigmoidActivation()):
        network.add(layer)
    return network.fit(xnor).history.last("loss") < 0.1


for name, derivative in {"right": sigmoid.derivative, "wrong": sigmoid.activation_function}.items():
    count = sum(learns_xnor(derivative, seed) for seed in seeds)
    print(f"{name} derivative: XNOR is learned with {count} of {len(seeds)} seeds")

# %% [markdown]
# The check finds the mistake: backward propagation and differences disagree for the first layer, whose gradient goes
# through the activation. The gradients of the last layer are right. The network still learns XNOR with 3 of 20 seeds
# (with the right derivative: 18). So the fact that a network learns does not prove that its gradients are right.
