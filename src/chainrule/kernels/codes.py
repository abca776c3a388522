"""Numbers for what the compiled loops can do, as they stand in the tables that say what is to be done."""

from __future__ import annotations

# The columns of the table of layers: the addresses of the compiled loops of an activation (0 for a dense layer), the
# widths of its input and its output, where its weights and its biases begin in the parameter vector, and where its
# output begins in the array of all outputs.
FORWARD, BACKWARD, N_IN, N_OUT, WEIGHTS_AT, BIASES_AT, OUTPUT_AT = range(7)
