"""A network as a program: a list of operations on the rows of a batch.

There are only a few kinds of operations. The method ``lower`` of a layer appends the operations of the layer to a
program. The compiled engine, PyTorch and the exporters implement each kind of operation once, independent of the
layers. A new layer that consists of these operations therefore works in all of them.

=======================  ==============================================================================================
:class:`Affine`          ``z = x W + b``
:class:`Map`             a traced formula of the elements, or of whole rows, of one or more values and of parameters
:class:`BatchNormalize`  standardisation of every column by the statistics of the batch; in training only
:class:`Noise`           random numbers; in training only
:class:`Lookup`          the vectors of categories, from tables
:class:`Select`          a selection of the columns, in any order and with repetitions
:class:`Concatenate`     the columns of several values, one after another
=======================  ==============================================================================================
"""

from __future__ import annotations

import inspect
import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, Protocol

from chainrule.errors import InvalidInputError
from chainrule.formulas import Expression, Formula, Loop, TraceError, values_of
from chainrule.formulas.derivatives import pull_back
from chainrule.types import Array

__all__ = [
    "N_NOISE_SETTINGS",
    "Affine",
    "ArrayReference",
    "BatchNormalize",
    "Concatenate",
    "Lookup",
    "Map",
    "MapFormula",
    "Noise",
    "NotLoweredError",
    "Operation",
    "Program",
    "Select",
    "Value",
    "sparse_refusal",
    "with_output",
]


class NotLoweredError(InvalidInputError):
    """Raised for a layer that does not define which operations it consists of."""


@dataclass(frozen=True, eq=False)
class Value:
    """The result of an operation: ``width`` numbers for each row of the batch, as a dense array or a CSR matrix."""

    width: int
    is_sparse: bool = False


class ArrayOwner(Protocol):
    """The part of the layer interface that programs use: parameters with their gradients, and untrained arrays."""

    parameter_views: dict[str, Array]
    gradient_views: dict[str, Array]
    state: dict[str, Array]


@dataclass(frozen=True)
class ArrayReference:
    """A reference to an array of a layer by name: a parameter, or a state, which is not trained."""

    layer: ArrayOwner
    name: str

    @property
    def is_trained(self) -> bool:
        """Whether the array is a parameter."""
        return self.name in self.layer.parameter_views

    @property
    def values(self) -> Array:
        """The present values, as a view of the layer's array."""
        return self.layer.parameter_views[self.name] if self.is_trained else self.layer.state[self.name]

    @property
    def gradient(self) -> Array:
        """The gradient of a parameter."""
        return self.layer.gradient_views[self.name]


@dataclass(frozen=True, eq=False)
class Operation:
    """Base class of the operations.

    Attributes
    ----------
    inputs
        The values that the operation reads.
    output
        The value that the operation computes.
    """

    inputs: tuple[Value, ...]
    output: Value

    @property
    def arrays(self) -> tuple[ArrayReference, ...]:
        """The arrays of layers that the operation reads."""
        return ()

    @property
    def offsets(self) -> tuple[ArrayReference, ...]:
        """The arrays that the operation adds to every row."""
        return ()


@dataclass(frozen=True, eq=False)
class Affine(Operation):
    """``z = x W + b``, with W of shape (inputs, outputs) and b of shape (outputs,).

    If the number of input columns is a multiple of ``inputs``, the input consists of several parts, such as the members
    of an ensemble, and z is computed for each part. With W of shape (parts, inputs, outputs) and b of shape (parts,
    outputs), each part has separate weights and biases.
    """

    weights: ArrayReference
    biases: ArrayReference | None

    @property
    def arrays(self) -> tuple[ArrayReference, ...]:
        """The arrays of layers that the operation reads."""
        return (self.weights, *self.offsets)

    @property
    def offsets(self) -> tuple[ArrayReference, ...]:
        """The biases."""
        return () if self.biases is None else (self.biases,)

    @property
    def n_parts(self) -> int:
        """The number of parts of the input."""
        return self.inputs[0].width // int(self.weights.values.shape[-2])

    @property
    def is_separate(self) -> bool:
        """Whether each part has separate weights."""
        return self.weights.values.ndim == 3

    @property
    def has_separate_biases(self) -> bool:
        """Whether each part has separate biases."""
        return self.is_separate and self.biases is not None


@dataclass(frozen=True, eq=False)
class MapFormula:
    """A formula of some values and parameters, with its derivatives.

    Attributes
    ----------
    formula
        The trace that contains the expressions.
    result
        The formula, as an expression of the symbols in ``inputs``, ``parameters`` and ``settings``.
    inputs
        The names of the symbols that vary with every element.
    parameters
        The names of the symbols that are the same for all rows: one number for each column, or a single number.
    input_errors
        dL/d(input) by name, as expressions of the same symbols, ``output`` and ``error`` = dL/d(output).
    terms
        For a parameter by name, the term of one element in dL/d(parameter); the sum of the terms is the derivative.
    """

    formula: Formula
    result: Expression
    inputs: tuple[str, ...]
    parameters: tuple[str, ...]
    input_errors: Mapping[str, Expression]
    terms: Mapping[str, Expression]
    _loops: dict[Any, Loop] = field(default_factory=dict, init=False)

    @classmethod
    def derive(cls, formula: Formula, inputs: Sequence[str], parameters: Sequence[str]) -> MapFormula:
        """Return a traced formula with its derivatives. Raises ``TraceError`` if an operation has no derivative."""
        result, symbols = formula.expression, (*inputs, *parameters)
        derivatives = pull_back(result, result.graph.symbol("error"), symbols)
        named = dict(zip(symbols, (with_output(one, result) for one in derivatives), strict=True))
        errors, terms = ({name: named[name] for name in names} for names in (inputs, parameters))
        return cls(formula, result, tuple(inputs), tuple(parameters), errors, terms)

    @property
    def settings(self) -> tuple[str, ...]:
        """The names of the symbols for settings; :func:`~chainrule.formulas.values_of` returns their values."""
        return self.formula.settings

    @property
    def is_rowwise(self) -> bool:
        """Whether an element of the result depends on other elements of its row."""
        return any(node.is_reduction for node in self.result.visit())

    def forward(self, scalars: tuple[str, ...]) -> Loop:
        """Return the loop that computes the output from inputs and parameters.

        ``scalars`` has the names of the parameters that consist of one number.
        """
        return self._loop(
            ("forward", scalars), (*self.inputs, "output", *self.parameters), {"output": self.result}, {}, scalars
        )

    def backward(self, wanted: tuple[str, ...], trained: tuple[str, ...], scalars: tuple[str, ...]) -> Loop:
        """Return the loop that writes dL/d(input) for ``wanted`` inputs and the gradients of ``trained`` parameters.

        The loop takes the arrays that are listed in its attribute ``arrays``. Arrays that it writes have names of the
        form ``"d_" + name``.
        """
        outputs = {f"d_{name}": self.input_errors[name] for name in wanted}
        sums = {f"d_{name}": self.terms[name] for name in trained}
        used = {n.value for e in (*outputs.values(), *sums.values()) for n in e.visit() if n.operation == "symbol"}
        read = [name for name in (*self.inputs, "output", "error", *self.parameters) if name in used]
        return self._loop(("backward", wanted, trained, scalars), (*read, *outputs, *sums), outputs, sums, scalars)

    def _loop(
        self,
        key: tuple[Any, ...],
        arrays: tuple[str, ...],
        outputs: Mapping[str, Expression],
        sums: Mapping[str, Expression],
        scalars: tuple[str, ...],
    ) -> Loop:
        if key not in self._loops:
            ones = {*scalars, *(f"d_{name}" for name in scalars)}
            column_names = {*self.parameters, *sums} - ones
            self._loops[key] = Loop(
                arrays,
                self.settings,
                outputs,
                columns=tuple(name for name in arrays if name in column_names),
                scalars=tuple(name for name in arrays if name in ones),
                sums=sums,
            )
        return self._loops[key]


def with_output(expression: Expression, output: Expression) -> Expression:
    """Return ``expression`` with the symbol ``output`` in place of the subexpression that the forward pass computes."""
    graph = expression.graph
    return graph.replace(expression, output, graph.symbol("output")) if output.operands else expression


@dataclass(frozen=True, eq=False)
class Map(Operation):
    """A formula of one or more values of the same width, and of parameters.

    Attributes
    ----------
    name
        The name of the formula in generated code.
    formula
        The formula with its derivatives.
    owner
        The object that the formula takes its settings from.
    parameters
        The arrays of the formula's parameters, in the same order.
    row_width
        For a formula of whole rows, the length of a row. For rows with several axes, it is the length of the last axis.
    """

    name: str
    formula: MapFormula
    owner: Any
    parameters: tuple[ArrayReference, ...]
    row_width: int

    @property
    def arrays(self) -> tuple[ArrayReference, ...]:
        """The arrays of layers that the operation reads."""
        return self.parameters

    @property
    def offsets(self) -> tuple[ArrayReference, ...]:
        """The parameters that the formula adds: the derivative of the result with respect to them is 1."""
        named = zip(self.formula.parameters, self.parameters, strict=True)
        terms = self.formula.terms
        return tuple(array for n, array in named if (terms[n].operation, terms[n].value) == ("symbol", "error"))

    @property
    def scalars(self) -> tuple[str, ...]:
        """The names of the formula's parameters that consist of one number."""
        named = zip(self.formula.parameters, self.parameters, strict=True)
        return tuple(name for name, array in named if array.values.size == 1)

    def numbers(self) -> list[float]:
        """Return the present values of the formula's settings."""
        return list(values_of(self.owner, self.formula.settings))

    @property
    def is_current(self) -> bool:
        """Whether the formula is up to date: attributes of its owner may have changed after it was traced."""
        traced = getattr(self.owner, "traced", None)
        return self.formula.formula.is_current(self.owner) if traced is None else traced() is self.formula

    def applied(self) -> Expression:
        """Return the formula with the settings and the parameters of one number replaced by their present values."""
        result, graph = self.formula.result, self.formula.result.graph
        known = dict(zip(self.formula.settings, self.numbers(), strict=True))
        known |= {
            n: p.values.item()
            for n, p in zip(self.formula.parameters, self.parameters, strict=True)
            if n in self.scalars
        }
        for name, value in known.items():
            result = graph.replace(result, graph.symbol(name), graph.constant(value))
        return result


@dataclass(frozen=True, eq=False)
class BatchNormalize(Operation):
    """``h = (x - mean) / sqrt(variance + epsilon)`` with the statistics of the batch.

    The operation also updates the running statistics. A batch of one row is normalised by the running statistics.

    Source: Ioffe and Szegedy 2015, Batch normalization, algorithm 1.
    """

    running_mean: ArrayReference
    running_variance: ArrayReference
    momentum: float
    epsilon: float

    @property
    def arrays(self) -> tuple[ArrayReference, ...]:
        """The arrays of layers that the operation reads."""
        return self.running_mean, self.running_variance


@dataclass(frozen=True, eq=False)
class Noise(Operation):
    """Random numbers, one for each element of the input: uniform in [0, 1), or from the normal distribution N(0, 1).

    They are a function of the noise source of the layer, the epoch, the step, the row and the column. For a CSR matrix,
    there is one number for each stored entry. The input may be some columns of wider rows: those from ``first_column``
    on, of ``row_width`` columns (0 for whole rows).
    """

    source: Any
    kind: Literal["uniform", "normal"]
    first_column: int = 0
    row_width: int = 0


#: The number of settings of the noise of a step: two words of the key, the epoch, the step, whether the numbers are
#: normal, the first column, and the width of the rows.
N_NOISE_SETTINGS = 7


@dataclass(frozen=True, eq=False)
class Lookup(Operation):
    """For each column of codes, the rows of the table of this column; the rows of all columns are concatenated.

    The tables are stacked in the array ``table``. The table of column j has ``sizes[j]`` rows.
    """

    table: ArrayReference
    sizes: tuple[int, ...]

    @property
    def firsts(self) -> tuple[int, ...]:
        """The number of the first row of each table in ``table``."""
        return tuple(itertools.accumulate(self.sizes[:-1], initial=0))

    @property
    def arrays(self) -> tuple[ArrayReference, ...]:
        """The arrays of layers that the operation reads."""
        return (self.table,)


@dataclass(frozen=True, eq=False)
class Select(Operation):
    """The selected columns of the input, in the given order; a column may be selected several times."""

    columns: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Concatenate(Operation):
    """The columns of all inputs, one input after another."""


class LayerLike(Protocol):
    """The part of the layer interface that :meth:`Program.of` uses."""

    accepts_sparse: ClassVar[bool]

    def input_shape(self) -> tuple[int, ...]: ...
    def output_shape(self) -> tuple[int, ...]: ...
    def layer_name(self) -> str: ...
    def lower(self, program: Program, x: Value) -> Value: ...


def sparse_refusal(layer_name: str) -> str:
    """Return the message for a CSR matrix in front of a layer that needs a dense array."""
    return (
        f"{layer_name} cannot take a sparse matrix; use a DenseLayer as the first layer, or give a dense array "
        "(X.toarray())."
    )


def _check_overrides(layer: LayerLike) -> None:
    """Raise NotLoweredError if a class overrides forward or backward propagation of its base class but not lower."""
    kind, defined_in = getattr(layer, "user_class", type(layer)), {}
    for name in ("lower", "forward_propagation", "backward_propagation"):
        defined_in[name] = next(cls for cls in kind.__mro__ if name in vars(cls))
    if not all(issubclass(defined_in["lower"], cls) for cls in defined_in.values()):
        raise NotLoweredError(
            f"The class {type(layer).__name__} overrides forward_propagation or backward_propagation, but not lower; "
            "override lower too, or use engine='numpy' and no exports."
        )


class Program:
    """The operations of a network, in the order of computation. Layers append operations by the methods of this class.

    Attributes
    ----------
    is_training
        Whether the program is for training, with noise and batch statistics, or for inference.
    allows_unknown
        Whether a layer that does not define its operations becomes one operation of unknown kind, the base class
        :class:`Operation`. Such a program can be analysed, but not executed.
    input
        The input of the network.
    operations
        The operations that have been appended so far.
    layer_values
        The input, and the output of each layer.
    """

    def __init__(
        self, n_inputs: int, *, is_training: bool, is_sparse: bool = False, allows_unknown: bool = False
    ) -> None:
        self.is_training, self.allows_unknown = is_training, allows_unknown
        self.input = Value(n_inputs, is_sparse)
        self.operations: list[Operation] = []
        self.layer_values = [self.input]

    @classmethod
    def of(
        cls,
        layers: Sequence[LayerLike],
        *,
        is_training: bool = False,
        is_sparse: bool = False,
        allows_unknown: bool = False,
    ) -> Program:
        """Return the program of a chain of layers whose input shapes are set.

        Raises ``NotLoweredError`` for a layer that does not define its operations, and ``TraceError`` for a formula
        that cannot be traced.
        """
        n_inputs = math.prod(layers[0].input_shape()) if layers else 0
        program = cls(n_inputs, is_training=is_training, is_sparse=is_sparse, allows_unknown=allows_unknown)
        for layer in layers:
            program.layer_values.append(program.lower(layer, program.output))
        return program

    def lower(self, layer: LayerLike, x: Value) -> Value:
        """Return the output of a layer for the input x."""
        if x.is_sparse and not layer.accepts_sparse:
            raise InvalidInputError(sparse_refusal(layer.layer_name()))
        n_operations, n_outputs = len(self.operations), math.prod(layer.output_shape())
        try:
            _check_overrides(layer)
            output: Any = layer.lower(self, x)
        except (NotLoweredError, TraceError):
            if not self.allows_unknown:
                raise
            output = Value(n_outputs)
            self.operations[n_operations:] = [Operation((x,), output)]
        if not isinstance(output, Value) or output.width != n_outputs:
            found = f"a value of {output.width} columns" if isinstance(output, Value) else repr(output)
            raise InvalidInputError(
                f"The method lower of {layer.layer_name()} returns {found}; return the output of its last operation, "
                f"with {n_outputs} columns."
            )
        return output

    def cancelled_offsets(self) -> list[ArrayReference]:
        """Return the parameters that are added to every row and cancel out in the batch normalisation that follows.

        In batches of several rows, their gradient is 0 except for rounding errors. Optimizers that divide by the size
        of the gradient would turn these errors into steps of full length, and the results of two engines, or of two
        numbers of processes, would soon differ. All engines therefore set these gradients to 0.
        """
        found: list[ArrayReference] = []
        for operation in self.operations:
            readers = [reader for reader in self.operations if operation.output in reader.inputs]
            if readers and all(isinstance(reader, BatchNormalize) for reader in readers):
                found += [array for array in operation.offsets if array.is_trained]
        return found

    @property
    def output(self) -> Value:
        """The output of the last layer."""
        return self.layer_values[-1]

    def affine(self, x: Value, weights: ArrayReference, biases: ArrayReference | None = None) -> Value:
        """Return ``x W + b`` for each part of x; see :class:`Affine`."""
        n_inputs, n_outputs = weights.values.shape[-2:]
        n_parts, rest = divmod(x.width, n_inputs)
        if rest or (weights.values.ndim == 3 and n_parts != len(weights.values)):
            raise InvalidInputError(
                f"An affine operation has weights of shape {weights.values.shape} and an input of {x.width} columns; "
                "they do not fit."
            )
        return self._append(Affine((x,), Value(x.width // n_inputs * n_outputs), weights, biases))

    def map(
        self, formula: Callable[..., Any], *operands: Value | ArrayReference, name: str = "", row_width: int = 0
    ) -> Value:
        """Return a formula, written in NumPy, of values and of arrays of layers.

        ``row_width`` is the length of the rows over which the formula reduces, by default all columns. If the formula
        is a method, it may use the float settings of its object, such as ``self.rate``. Raises ``TraceError`` for a
        formula that cannot be traced.
        """
        owner = getattr(formula, "__self__", None)
        method = formula.__func__ if owner is not None else lambda _, *arguments: formula(*arguments)  # type: ignore[attr-defined]
        arguments = list(inspect.signature(formula).parameters)[: len(operands)]
        traced = Formula.trace(method, owner, arguments)
        named = list(zip(arguments, operands, strict=True))
        values = {name: operand for name, operand in named if isinstance(operand, Value)}
        arrays = {name: operand for name, operand in named if isinstance(operand, ArrayReference)}
        derived = MapFormula.derive(traced, list(values), list(arrays))
        name = name or formula.__name__
        return self.apply(derived, tuple(values.values()), tuple(arrays.values()), owner, name, row_width)

    def apply(
        self,
        formula: MapFormula,
        inputs: tuple[Value, ...],
        parameters: tuple[ArrayReference, ...],
        owner: Any,
        name: str,
        row_width: int = 0,
    ) -> Value:
        """Return a formula that has already been traced, with derivatives.

        ``row_width`` is the width of the inputs by default.
        """
        if len({x.width for x in inputs}) > 1:
            widths = " and ".join(str(x.width) for x in inputs)
            raise InvalidInputError(
                f"The formula {name} combines values of {widths} columns; all must have the same number of columns."
            )
        width = (row_width or inputs[0].width) if formula.is_rowwise else inputs[0].width
        for array in parameters:
            if array.values.size not in (1, width):
                raise InvalidInputError(
                    f"The formula {name} combines {width} columns with the array '{array.name}' of "
                    f"{array.values.size} numbers; it needs one number, or one for each column."
                )
        if not formula.result.operands and formula.result.value in formula.inputs:  # the identity
            return inputs[formula.inputs.index(formula.result.value)]
        output = Value(inputs[0].width, inputs[0].is_sparse)
        return self._append(Map(inputs, output, name, formula, owner, parameters, row_width or output.width))

    def batch_normalize(
        self, x: Value, running_mean: ArrayReference, running_variance: ArrayReference, momentum: float, epsilon: float
    ) -> Value:
        """Return x standardised by the statistics of the batch."""
        return self._append(BatchNormalize((x,), Value(x.width), running_mean, running_variance, momentum, epsilon))

    def noise(self, x: Value, source: Any, kind: Literal["uniform", "normal"]) -> Value:
        """Return random numbers, one for each element of x."""
        return self._append(Noise((x,), Value(x.width, x.is_sparse), source, kind))

    def lookup(self, codes: Value, table: ArrayReference, sizes: Sequence[int]) -> Value:
        """Return the table rows of the codes; the table of column j has ``sizes[j]`` rows."""
        return self._append(Lookup((codes,), Value(codes.width * table.values.shape[-1]), table, tuple(sizes)))

    def select(self, x: Value, columns: Sequence[int]) -> Value:
        """Return the given columns of x, in this order; a column may be given several times."""
        if not all(0 <= column < x.width for column in columns):
            raise InvalidInputError(f"A selection of columns goes beyond those of its input, 0 to {x.width - 1}.")
        return self._append(Select((x,), Value(len(columns)), tuple(columns)))

    def concatenate(self, *values: Value) -> Value:
        """Return the columns of all values, one value after another."""
        return self._append(Concatenate(values, Value(sum(value.width for value in values))))

    def _append(self, operation: Operation) -> Value:
        self.operations.append(operation)
        return operation.output
