"""Numbers for what the compiled loops can do, as they stand in the tables that say what is to be done."""

from __future__ import annotations

# The columns of the table of layers: what a layer is, the widths of its input and its output, where its weights and its
# biases begin in the parameter vector, and where its output begins in the array of all outputs.
KIND, N_IN, N_OUT, WEIGHTS_AT, BIASES_AT, OUTPUT_AT = range(6)
# What a layer can be.
DENSE, IDENTITY, RELU, LEAKY_RELU, SIGMOID, TANH = range(6)
# The losses, and the optimizers by their kernels.
SOFTMAX_CROSS_ENTROPY, SIGMOID_BINARY_CROSS_ENTROPY, SQUARED_ERROR = range(3)
MOMENTUM_DESCENT, ADAM, ADAMW, RMSPROP = range(4)
