# %% [markdown]
# # Lab 2: Solutions
#
# ## Exercise 1: NAND
#
# NAND is the opposite of AND: change the signs of the bias and of the weights.

# %%
import numpy as np

from chainrule import NeuralNetwork
from chainrule.activations import SigmoidActivation
from chainrule.layers import DenseLayer
from chainrule.plots import plot_decision_boundary

inputs = np.array([[0, 0], [0, 1], [1, 0], [1, 1]])


def neuron(bias, weights):
    network = NeuralNetwork(loss="binary_cross_entropy")
    network.add(DenseLayer(1, (len(weights),)))
    network.add(SigmoidActivation())
    network.layers[0].weights = np.reshape(weights, (-1, 1))
    network.layers[0].biases = [bias]
    return network


nand = neuron(30, [-20, -20])
print(nand.predict(inputs).ravel().round(3))
assert nand.predict(inputs).ravel().round().tolist() == [1, 1, 1, 0]
plot_decision_boundary(nand, inputs.astype(float), np.array([1, 1, 1, 0]))

# %% [markdown]
# ## Exercise 2: XOR
#
# One way: XOR is the AND of OR and NAND.


# %%
def two_layers(W1, b1, W2, b2):
    network = NeuralNetwork(loss="binary_cross_entropy")
    for layer in (DenseLayer(2, (2,)), SigmoidActivation(), DenseLayer(1), SigmoidActivation()):
        network.add(layer)
    network.layers[0].weights, network.layers[0].biases = W1, b1
    network.layers[2].weights, network.layers[2].biases = W2, b2
    return network


xor = two_layers([[20, -20], [20, -20]], [-10, 30], [[20], [20]], [-30])
print(xor.predict(inputs).ravel().round(3))
assert xor.predict(inputs).ravel().round().tolist() == [0, 1, 1, 0]

# %% [markdown]
# ## Exercise 3: smaller weights
#
# Divided by 10, the sigmoids are less steep, and the outputs are farther from 0 and 1, but they are still on the right side
# of 0.5. Divided by 100, the hidden outputs are all near 0.5, and the network no longer computes XNOR: all outputs are on
# the same side.

# %%
for factor in (1, 10, 100):
    scaled = two_layers(
        np.array([[20, -20], [20, -20]]) / factor,
        np.array([-30, 10]) / factor,
        np.array([[20], [20]]) / factor,
        np.array([-10]) / factor,
    )
    print(f"divided by {factor}:", scaled.predict(inputs).ravel().round(3))

# %% [markdown]
# ## Exercise 4: at least two of three
#
# No hidden layer is necessary: $z = -30 + 20 x_1 + 20 x_2 + 20 x_3$ is positive if two or three inputs are 1.

# %%
three = np.array([[i, j, k] for i in (0, 1) for j in (0, 1) for k in (0, 1)])
majority = neuron(-30, [20, 20, 20])
print(np.column_stack([three, majority.predict(three).round(3)]))
assert majority.predict(three).ravel().round().tolist() == (three.sum(axis=1) >= 2).tolist()
