# %% [markdown]
# # Lab 14: Backpropagation by hand
#
# **Question.** How does a network compute the gradient of its loss, and how can you check that the result is right?
#
# **You need** [Lab 2](02_forward_by_hand.md), pencil and paper, the product of matrices and the chain rule of calculus.
# **Time:** 60 minutes. Running it takes a few seconds.

# %%
import numpy as np

from chainrule import Dataset, NeuralNetwork, check_gradients, load_dataset
from chainrule.activations import ReLUActivation, SigmoidActivation
from chainrule.layers import DenseLayer
from chainrule.losses import BinaryCrossEntropy, MeanSquaredError
from chainrule.plots import plot_loss, plot_network

# %% [markdown]
# ## The network
#
# Take 2 inputs, 3 hidden neurons with ReLU, and 1 linear output. ReLU is $f(z) = \max(0, z)$. For $N$ examples, the rows
# of $X$, the forward pass is
#
# $$Z_1 = X W_1 + b_1, \qquad A_1 = f(Z_1), \qquad Z_2 = A_1 W_2 + b_2, \qquad
# L = \frac{1}{N} \sum_{i=1}^{N} (z_{2,i} - y_i)^2$$
#
# | array | $X$ | $W_1$ | $b_1$ | $Z_1$, $A_1$ | $W_2$ | $b_2$ | $Z_2$, $Y$ | $L$ |
# |---|---|---|---|---|---|---|---|---|
# | shape | $N \times 2$ | $2 \times 3$ | $3$ | $N \times 3$ | $3 \times 1$ | $1$ | $N \times 1$ | a number |
#
# Here is one example with numbers that are easy to compute on paper. Compute $z_1$, $a_1$, $z_2$ and $L$ on paper
# before you read on.

# %%
x, y = np.array([[1.0, 2.0]]), np.array([[1.0]])
W1, b1 = np.array([[1.0, 0.0, 1.0], [1.0, -1.0, 0.5]]), np.array([0.0, 1.0, -1.0])
W2, b2 = np.array([[1.0], [2.0], [-1.0]]), np.array([0.0])

z1 = x @ W1 + b1
a1 = np.maximum(0, z1)
z2 = a1 @ W2 + b2
L = np.mean((z2 - y) ** 2)
print("z1 =", z1, " a1 =", a1, " z2 =", z2, " L =", L)

# %% [markdown]
# The second hidden neuron has $z = -1$. ReLU turns it into 0: this neuron is *off* for this example.
#
# ## The gradient, from the back to the front
#
# Gradient descent needs the derivative of $L$ with respect to every weight. The chain rule gives these derivatives step
# by step, beginning at the loss. In each step, the derivative with respect to the output of an operation is known, and
# the derivatives with respect to its inputs are computed. Write $\delta$ for the derivative of $L$ with respect to $Z$
# of a layer; it has the shape of $Z$.
#
# **Step 1: the loss.** The derivative of $(z_2 - y)^2 / N$ is
#
# $$\delta_2 = \frac{\partial L}{\partial Z_2} = \frac{2}{N} (Z_2 - Y) \qquad (N \times 1)$$

# %%
delta2 = 2 * (z2 - y) / len(x)
print("delta2 =", delta2)

# %% [markdown]
# **Step 2: the output layer.** Element by element, $z_{2,i} = \sum_k a_{1,ik} W_{2,k} + b_2$. The weight $W_{2,k}$ is
# multiplied by $a_{1,ik}$ in each example $i$, so the chain rule gives
# $\partial L / \partial W_{2,k} = \sum_i a_{1,ik} \, \delta_{2,i}$. This sum is a product of matrices. The bias is
# multiplied by 1:
#
# $$\frac{\partial L}{\partial W_2} = A_1^T \delta_2 \quad (3 \times N)(N \times 1) = 3 \times 1, \qquad
# \frac{\partial L}{\partial b_2} = \sum_i \delta_{2,i}$$
#
# The shapes help to remember the formula: a gradient has the same shape as the weights, and only this order of the
# factors gives this shape.

# %%
dW2 = a1.T @ delta2
db2 = delta2.sum(axis=0)
print("dL/dW2 =", dW2.ravel(), " dL/db2 =", db2)

# %% [markdown]
# The weight of the neuron that is off has the gradient 0: the output of this neuron is 0, so a small change of the
# weight changes nothing.
#
# **Step 3: back through the output layer.** The value $a_{1,ik}$ is multiplied by the weight $W_{2,k}$:
#
# $$\frac{\partial L}{\partial A_1} = \delta_2 W_2^T \qquad (N \times 1)(1 \times 3) = N \times 3$$
#
# **Step 4: the activation.** It acts on each number alone, so its derivative is a factor for each number ($\odot$ is the
# product element by element). For ReLU, $f'(z)$ is 1 for $z > 0$ and 0 for $z < 0$:
#
# $$\delta_1 = \frac{\partial L}{\partial A_1} \odot f'(Z_1) \qquad (N \times 3)$$

# %%
da1 = delta2 @ W2.T
delta1 = da1 * (z1 > 0)
print("dL/da1 =", da1, " delta1 =", delta1)

# %% [markdown]
# **Step 5: the hidden layer** is a dense layer like the output layer, with the input $X$ instead of $A_1$. So the
# formulas of steps 2 and 3 apply again:
#
# $$\frac{\partial L}{\partial W_1} = X^T \delta_1 \quad (2 \times N)(N \times 3) = 2 \times 3, \qquad
# \frac{\partial L}{\partial b_1} = \sum_i \delta_{1,i}, \qquad \frac{\partial L}{\partial X} = \delta_1 W_1^T$$

# %%
dW1 = x.T @ delta1
db1 = delta1.sum(axis=0)
dx = delta1 @ W1.T
print("dL/dW1 =\n", dW1, "\ndL/db1 =", db1, " dL/dx =", dx)

# %% [markdown]
# That is **backpropagation**: the chain rule, applied from the loss to the first layer. A network with a hundred layers
# repeats these two kinds of steps, dense layer and activation. In a dense layer, the forward pass needs one product of
# matrices and the backward pass two. So all gradients together cost about as much as two more forward passes, however many
# weights there are.
#
# ## The same in chainrule
#
# The layers of chainrule compute exactly this. `forward_propagation` goes forward, `backward_propagation` goes back
# from $\partial L / \partial Z_2$, takes one step of gradient descent, and returns $\partial L / \partial X$. Each
# layer keeps its gradients in `gradient_views`.


# %%
def two_layers(W1, b1, W2, b2, **settings):
    network = NeuralNetwork(optimizer="sgd", dtype="float64", **settings)
    for layer in (DenseLayer(W1.shape[1], (W1.shape[0],)), ReLUActivation(), DenseLayer(W2.shape[1])):
        network.add(layer)
    network.layers[0].weights, network.layers[0].biases = W1, b1
    network.layers[2].weights, network.layers[2].biases = W2, b2
    return network


network = two_layers(W1, b1, W2, b2, learning_rate=0.05)
plot_network(network)

# %%
prediction = network.forward_propagation(x, training=True)
error = MeanSquaredError().derivative(y, prediction)
input_error = network.backward_propagation(error)
print("dL/dz2 =", error, " dL/dx =", input_error)
for number in (0, 2):
    print(f"layer {number}:", network.layers[number].gradient_views)

# %%
first, second = network.layers[0].gradient_views, network.layers[2].gradient_views
for by_library, by_hand in ((first["weights"], dW1), (first["biases"], db1), (input_error, dx)):
    assert np.array_equal(by_library, by_hand)
for by_library, by_hand in ((second["weights"], dW2), (second["biases"], db2)):
    assert np.array_equal(by_library, by_hand)
assert np.array_equal(network.layers[0].weights, W1 - 0.05 * dW1)  # the step of gradient descent

# %% [markdown]
# All numbers are equal to those computed by hand, and each weight has become $w - 0.05 \, \partial L / \partial w$.
#
# ## Check 1: finite differences
#
# A derivative says how much the loss changes if a weight changes a little. So change one weight by $\pm h$ and measure:
#
# $$\frac{\partial L}{\partial w} \approx \frac{L(w + h) - L(w - h)}{2h}$$
#
# This needs two forward passes for *each* weight, far too many for training. But it uses no formula of backpropagation, so
# it is an independent check.


# %%
def loss_of(W1, b1, W2, b2, x=x, y=y):
    return np.mean((np.maximum(0, x @ W1 + b1) @ W2 + b2 - y) ** 2)


def difference_quotients(arrays, number, h=1e-5):
    quotients = np.zeros_like(arrays[number])
    for index in np.ndindex(quotients.shape):
        up, down = [a.copy() for a in arrays], [a.copy() for a in arrays]
        up[number][index] += h
        down[number][index] -= h
        quotients[index] = (loss_of(*up) - loss_of(*down)) / (2 * h)
    return quotients


# %%
for number, (name, by_hand) in enumerate({"W1": dW1, "b1": db1, "W2": dW2, "b2": db2}.items()):
    quotients = difference_quotients([W1, b1, W2, b2], number)
    print(f"dL/d{name}: largest difference {abs(quotients - by_hand).max():.0e}")
    assert np.allclose(quotients, by_hand, atol=1e-6)

# %% [markdown]
# ## Check 2: `check_gradients`
#
# The library does the same for any network and data. To save time, it changes all weights of an array at once, in a random
# direction.

# %%
example = Dataset(x, y, task="regression")
check = check_gradients(two_layers(W1, b1, W2, b2), example)
print(check)
assert check

# %% [markdown]
# Use it whenever you write a formula of your own. A network with a wrong gradient often still learns something, so you
# may not notice the mistake otherwise.
#
# ## Three steps of training
#
# Now repeat forward pass, backward pass and step three times by hand, and let `fit` do the same: three epochs with one
# batch that contains the one example.

# %%
weights, losses = [W1, b1, W2, b2], []
for _ in range(3):
    V1, c1, V2, c2 = weights
    z1 = x @ V1 + c1
    a1 = np.maximum(0, z1)
    z2 = a1 @ V2 + c2
    losses.append(np.mean((z2 - y) ** 2))
    delta2 = 2 * (z2 - y) / len(x)
    delta1 = delta2 @ V2.T * (z1 > 0)
    gradients = [x.T @ delta1, delta1.sum(axis=0), a1.T @ delta2, delta2.sum(axis=0)]
    weights = [w - 0.01 * gradient for w, gradient in zip(weights, gradients, strict=True)]
print("by hand:", np.round(losses, 6))

# %%
network = two_layers(W1, b1, W2, b2, learning_rate=0.01, epochs=3, batch_size=1).fit(example)
print("fit:    ", np.round(network.history["loss"], 6))
assert np.allclose(network.history["loss"], losses, atol=1e-14)
assert np.allclose(network.layers[0].weights, weights[0], atol=1e-14)
assert np.allclose(network.layers[2].weights, weights[2], atol=1e-14)

# %% [markdown]
# The losses and the weights are equal. Each number of the history is the loss *before* the step of its epoch. `fit`
# does the same three things for many examples, in batches.
#
# ## Classification: sigmoid and cross-entropy
#
# For two classes, the output is $p = \sigma(z_2)$ with the sigmoid $\sigma$, and the loss is the binary cross-entropy
# $L = -\frac{1}{N} \sum_i \big( y_i \ln p_i + (1 - y_i) \ln(1 - p_i) \big)$. Only step 1 changes:
#
# $$\frac{\partial L}{\partial p} = \frac{1}{N} \, \frac{p - y}{p (1 - p)}, \qquad
# \sigma'(z) = p (1 - p), \qquad
# \delta_2 = \frac{\partial L}{\partial p} \, \sigma'(z_2) = \frac{p - y}{N}$$
#
# The factor $p (1 - p)$ cancels. Without this cancellation, a network that gives a wrong class a probability near 1
# would hardly learn, because $\sigma'$ is nearly 0 there. chainrule computes sigmoid and cross-entropy together for
# this reason.

# %%
z, wrong = np.array([[20.0]]), np.array([[0.0]])  # the network is sure that the class is 1; it is 0
p = SigmoidActivation().activation_function(z)
print("sigmoid'(z) =", SigmoidActivation().derivative(z), " delta2 = p - y =", p - wrong)

# %% [markdown]
# The derivative of the sigmoid is nearly 0, but $\delta_2$ is 1, the largest value that it can have.
#
# The four examples of XNOR show the matrix formulas with $N = 4$ rows. Only the lines for $P$ and $\delta_2$ are new.

# %%
xnor = load_dataset("xnor")
X, Y = xnor.X.astype(float), xnor.y.reshape(4, 1)
network = two_layers(W1, b1, W2, b2, loss="binary_cross_entropy", learning_rate=0.5, epochs=1, batch_size=4)
network.add(SigmoidActivation())

Z1 = X @ W1 + b1
A1 = np.maximum(0, Z1)
P = 1 / (1 + np.exp(-(A1 @ W2 + b2)))
delta2 = (P - Y) / len(X)
delta1 = delta2 @ W2.T * (Z1 > 0)
print("loss:", round(BinaryCrossEntropy().loss(Y, P), 4))
print("dL/dW1 =\n", (X.T @ delta1).round(4))

# %%
network.fit(xnor)
assert np.isclose(network.history["loss"][0], BinaryCrossEntropy().loss(Y, P))
assert np.allclose(network.layers[0].weights, W1 - 0.5 * X.T @ delta1)
assert np.allclose(network.layers[2].weights, W2 - 0.5 * A1.T @ delta2)
network.epochs = 200
network.fit(xnor)
print("after 200 more steps:", network.predict(xnor).ravel().round(3))
assert abs(network.predict(xnor) - Y).max() < 0.05
plot_loss(network.history, log=True)

# %% [markdown]
# With these gradients the network learns XNOR: after 201 steps all four outputs differ from the true classes by less
# than 0.05.
#
# ## What you have learned
#
# - The gradient of the loss is computed from the back to the front. A dense layer needs two products of matrices,
#   $A^T \delta$ for its weights and $\delta W^T$ for the layer before it; an activation needs a product element by element.
# - A gradient has the shape of its weights. A bias gets the sum of $\delta$ over the examples.
# - If the derivative of an activation is 0 for an example, the gradients of the weights of this neuron are 0 for this
#   example.
# - With sigmoid and cross-entropy, $\delta$ of the output is simply $(p - y) / N$.
# - Finite differences are slow, but independent. Check every formula of your own with them.
#
# ## Exercises
#
# 1. On paper: change the example to $x = (2, 1)$, $y = 0$, with the same weights. Compute all gradients, and check them
#    with NumPy and with the library.
# 2. Replace ReLU by tanh, with $f'(z) = 1 - \tanh^2 z$. Which lines change? Check the result by finite differences.
# 3. Show with two examples that the gradient of a batch is the mean of the gradients of its examples.
# 4. The quotient depends on $h$. Draw its error for $h = 10^{-1}, \dots, 10^{-12}$, in float64 and in float32. Why does the
#    error grow again for small $h$?
# 5. Write a wrong activation on purpose: `CustomActivation` with the function of the sigmoid and a derivative with a mistake.
#    What does `check_gradients` say? Does a network with this activation still learn XNOR?
#
# `chainrule labs backpropagation_by_hand --solution` copies the solutions.
