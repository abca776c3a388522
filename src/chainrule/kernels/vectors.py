"""Vectors and register tiles for compiled kernels.

LLVM chooses the width of the vectors of a loop itself, and keeps no block of a matrix in registers. Matrix products
reach the speed of the processor only if the code states both. A *vector* is a cache line of 64 bytes: 16 numbers of
float32, or 8 of float64. A *tile* is a block of some rows and vectors of a matrix that stays in registers. LLVM
translates both to the instructions of the processor: AVX-512, AVX2, NEON or others.

Every element of a tile is computed by the same operations in the same order on every processor that computes x y + z
with one instruction, so that the results have the same bits. The functions take flat arrays, and offsets and strides as
numbers of elements. They do not check bounds.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from llvmlite import ir
from numba.core import cgutils, codegen, config, types
from numba.core.errors import TypingError
from numba.extending import intrinsic as numba_intrinsic

__all__ = [
    "HAS_WIDE_REGISTERS",
    "VECTOR_BYTES",
    "copy_column",
    "copy_rows",
    "count_bits",
    "decode_vector",
    "multiply_row",
    "multiply_tile",
    "nonzeros",
    "transpose_block",
]

VECTOR_BYTES = 64

_intrinsic: Callable[[Any], Any] = numba_intrinsic
_literal_intrinsic: Callable[[Any], Any] = numba_intrinsic(prefer_literal=True)
_tools: Any = cgutils  # these modules have no type hints
_codegen: Any = codegen
_INDEX = ir.IntType(64)


def _features() -> set[str]:
    """Return the names of the processor's instruction sets that Numba compiles for."""
    settings: Any = config
    given = settings.CPU_FEATURES
    names: str = _codegen.get_host_cpu_features() if given is None else given
    return {name[1:] for name in names.split(",") if name.startswith("+")}


#: Whether a register holds a whole vector, and there are 32 of them.
HAS_WIDE_REGISTERS = "avx512f" in _features()

# Whether x y + z is one instruction. Without this instruction, LLVM calls a function of the C library for every number.
_FUSES = "fma" in _features() or platform.machine().lower() not in ("x86_64", "amd64", "i386", "i686")


def _literal(value: Any) -> int:
    if not isinstance(value, types.IntegerLiteral):
        raise TypingError("The number of rows or vectors of a tile must be a constant.")
    return int(value.literal_value)


class _Code:
    """Writes the LLVM code of one intrinsic for vectors of a float type."""

    def __init__(self, context: Any, builder: Any, number: Any) -> None:
        self.context, self.builder, self.bytes = context, builder, number.bitwidth // 8
        self.lanes = VECTOR_BYTES // self.bytes
        self.number = ir.FloatType() if number == types.float32 else ir.DoubleType()
        self.vector = ir.VectorType(self.number, self.lanes)

    def data(self, kind: Any, array: Any) -> Any:
        """Return the address of the first element of an array."""
        return self.context.make_array(kind)(self.context, self.builder, array).data

    def indices(self, kinds: Any, values: Any) -> list[Any]:
        """Return whole numbers with 64 bits."""
        pairs = zip(kinds, values, strict=True)
        return [self.context.cast(self.builder, value, kind, types.int64) for kind, value in pairs]

    def offset(self, start: Any, stride: Any, row: int, vector: int = 0) -> Any:
        """Return the offset of a vector in the row that begins at ``start + row * stride``."""
        at = self.builder.add(start, self.builder.mul(stride, ir.Constant(_INDEX, row))) if row else start
        return self.builder.add(at, ir.Constant(_INDEX, vector * self.lanes)) if vector else at

    def splat(self, number: Any) -> Any:
        """Return a number in all lanes."""
        kind = ir.VectorType(number.type, self.lanes)
        undefined, first = ir.Constant(kind, ir.Undefined), ir.Constant(ir.IntType(32), 0)
        one = self.builder.insert_element(undefined, number, first)
        return self.builder.shuffle_vector(one, undefined, ir.Constant(ir.VectorType(ir.IntType(32), self.lanes), None))

    def number_at(self, data: Any, offset: Any) -> Any:
        """Return a number of an array in all lanes."""
        return self.splat(self.builder.load(self.builder.gep(data, [offset], inbounds=True)))

    def address(self, data: Any, offset: Any) -> Any:
        """Return the address of a vector."""
        return self.builder.bitcast(self.builder.gep(data, [offset], inbounds=True), self.vector.as_pointer())

    def mask(self, n_columns: Any, vector: int = 0) -> Any:
        """Return for every lane of a vector whether it belongs to the first ``n_columns`` columns."""
        whole = ir.IntType(8 * self.bytes)  # as wide as the numbers, so that a comparison is one instruction
        places = [vector * self.lanes + lane for lane in range(self.lanes)]
        n = n_columns if self.bytes == 8 else self.builder.trunc(n_columns, whole)
        return self.builder.icmp_signed(">", self.splat(n), ir.Constant(ir.VectorType(whole, self.lanes), places))

    def load(self, data: Any, offset: Any, mask: Any = None) -> Any:
        """Return a vector of an array; lanes outside the mask are not read, and are 0."""
        if mask is not None:
            arguments = [self.address(data, offset), self._alignment, mask, ir.Constant(self.vector, None)]
            return self._call("masked.load", self.vector, arguments, ".p0")
        loaded = self.builder.load(self.address(data, offset))
        loaded.align = self.bytes
        return loaded

    def store(self, value: Any, data: Any, offset: Any, mask: Any = None) -> None:
        """Write a vector to an array; lanes outside the mask are not written."""
        if mask is not None:
            arguments = [value, self.address(data, offset), self._alignment, mask]
            self._call("masked.store", ir.VoidType(), arguments, ".p0")
        else:
            self.builder.store(value, self.address(data, offset)).align = self.bytes

    def multiply_add(self, x: Any, y: Any, z: Any) -> Any:
        """Return x y + z, rounded once if the processor has an instruction for it."""
        if not _FUSES:
            return self.builder.fadd(self.builder.fmul(x, y), z)
        return self._call("fma", self.vector, [x, y, z])

    def _call(self, name: str, result: Any, arguments: list[Any], suffix: str = "") -> Any:
        kind = ir.FunctionType(result, [argument.type for argument in arguments])
        full = f"llvm.{name}.v{self.lanes}f{8 * self.bytes}{suffix}"
        return self.builder.call(_tools.get_or_insert_function(self.builder.module, kind, full), arguments)

    @property
    def _alignment(self) -> Any:
        return ir.Constant(ir.IntType(32), self.bytes)

    def whole_or_part(self, n_columns: Any, n_vectors: int, write: Callable[[list[Any]], None]) -> None:
        """Write code twice: for all columns of some vectors, and for the first ``n_columns``, with their masks."""
        all_columns = ir.Constant(_INDEX, n_vectors * self.lanes)
        with self.builder.if_else(self.builder.icmp_signed("==", n_columns, all_columns)) as (whole, part):
            with whole:
                write([None] * n_vectors)
            with part:
                write([self.mask(n_columns, j) for j in range(n_vectors)])

    def slots(self, n: int) -> list[Any]:
        """Return variables for vectors, which LLVM keeps in registers."""
        return [_tools.alloca_once(self.builder, self.vector) for _ in range(n)]

    @contextmanager
    def loop(self, n: Any) -> Iterator[Any]:
        """Write a loop over the whole numbers below n."""
        with _tools.for_range(self.builder, n) as counter:
            yield counter.index

    @contextmanager
    def bits_of(self, word: Any) -> Iterator[Any]:
        """Write a loop over the places of the bits that are set."""
        builder = self.builder
        rest = _tools.alloca_once(builder, _INDEX)
        builder.store(word, rest)
        check, body, end = (builder.append_basic_block(f"bits.{name}") for name in ("check", "body", "end"))
        builder.branch(check)
        builder.position_at_end(check)
        bits = builder.load(rest)
        builder.cbranch(builder.icmp_unsigned("!=", bits, ir.Constant(_INDEX, 0)), body, end)
        builder.position_at_end(body)
        kind = ir.FunctionType(_INDEX, [_INDEX, ir.IntType(1)])
        count_zeros = _tools.get_or_insert_function(builder.module, kind, "llvm.cttz.i64")
        yield builder.call(count_zeros, [bits, ir.Constant(ir.IntType(1), 1)])
        builder.store(builder.and_(bits, builder.sub(bits, ir.Constant(_INDEX, 1))), rest)
        builder.branch(check)
        builder.position_at_end(end)

    def add_products(self, slots: list[Any], factors: list[Any], data: Any, offset: Any) -> None:
        """Add the products of the factor of each row and the vectors at an offset to the variables of a tile."""
        n_vectors = len(slots) // len(factors)
        row = [self.load(data, self.offset(offset, offset, 0, j)) for j in range(n_vectors)]
        for i, factor in enumerate(factors):
            for j, vector in enumerate(row):
                slot = slots[i * n_vectors + j]
                self.builder.store(self.multiply_add(factor, vector, self.builder.load(slot)), slot)

    def within(self, i: int, n: Any, value: Any) -> Any:
        """Return ``value`` if i is less than n, else 0."""
        is_within = self.builder.icmp_signed("<", ir.Constant(_INDEX, i), n)
        return self.builder.select(is_within, value, ir.Constant(_INDEX, 0))

    def transposed(self, rows: list[Any]) -> list[Any]:
        """Return the columns of a square block: blocks of 1, 2, 4, ... numbers beside the diagonal are exchanged."""
        n, kind, rows = self.lanes, ir.VectorType(ir.IntType(32), self.lanes), list(rows)
        for step in (2**k for k in range(n.bit_length() - 1)):
            low = ir.Constant(kind, [k if not k & step else n + k - step for k in range(n)])
            high = ir.Constant(kind, [k + step if not k & step else n + k for k in range(n)])
            for i in (i for i in range(n) if not i & step):
                upper, lower = rows[i], rows[i + step]
                rows[i] = self.builder.shuffle_vector(upper, lower, low)
                rows[i + step] = self.builder.shuffle_vector(upper, lower, high)
        return rows


@_literal_intrinsic
def multiply_tile(
    typing: Any, n_rows: Any, n_vectors: Any, a: Any, a_start: Any, a_row: Any, n_steps: Any, b: Any, b_start: Any,
    b_row: Any, initial: Any, initial_start: Any, initial_row: Any, c: Any, c_start: Any, c_row: Any, n_columns: Any,
) -> Any:  # fmt: skip
    """Write a tile ``C_ij = initial_ij + sum over k of A_ik B_kj``, of which only ``n_columns`` columns exist.

    ``A_ik = a[a_start + i * a_row + k]``; the other matrices are given in the same way. B must have all columns of the
    tile.
    """
    rows, vectors = _literal(n_rows), _literal(n_vectors)
    places = [(i, j) for i in range(rows) for j in range(vectors)]
    signature = types.void(
        n_rows, n_vectors, a, a_start, a_row, n_steps, b, b_start, b_row, initial, initial_start, initial_row,
        c, c_start, c_row, n_columns,
    )  # fmt: skip

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        code, kinds = _Code(context, builder, c.dtype), signature.args
        a_data, b_data, i_data, c_data = (code.data(kinds[k], values[k]) for k in (2, 6, 9, 12))
        a_at, a_step, steps = code.indices(kinds[3:6], values[3:6])
        b_at, b_step = code.indices(kinds[7:9], values[7:9])
        i_at, i_step = code.indices(kinds[10:12], values[10:12])
        c_at, c_step, columns = code.indices(kinds[13:16], values[13:16])
        slots = code.slots(len(places))

        def start(masks: list[Any]) -> None:
            for slot, (i, j) in zip(slots, places, strict=True):
                builder.store(code.load(i_data, code.offset(i_at, i_step, i, j), masks[j]), slot)

        def finish(masks: list[Any]) -> None:
            for slot, (i, j) in zip(slots, places, strict=True):
                code.store(builder.load(slot), c_data, code.offset(c_at, c_step, i, j), masks[j])

        code.whole_or_part(columns, vectors, start)
        with code.loop(steps) as k:
            at = builder.add(a_at, k)
            factors = [code.number_at(a_data, code.offset(at, a_step, i)) for i in range(rows)]
            code.add_products(slots, factors, b_data, builder.add(b_at, builder.mul(k, b_step)))
        code.whole_or_part(columns, vectors, finish)
        return context.get_dummy_value()

    return signature, generate


@_literal_intrinsic
def multiply_row(
    typing: Any, n_vectors: Any, a: Any, a_start: Any, bits: Any, b: Any, b_start: Any, b_row: Any,
    initial: Any, initial_start: Any, c: Any, c_start: Any, n_columns: Any,
) -> Any:  # fmt: skip
    """Write the first ``n_columns`` numbers of a row of C: the sums of the terms k whose bits are set."""
    vectors = _literal(n_vectors)
    signature = types.void(
        n_vectors, a, a_start, bits, b, b_start, b_row, initial, initial_start, c, c_start, n_columns
    )

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        code, kinds = _Code(context, builder, c.dtype), signature.args
        a_data, b_data, i_data, c_data = (code.data(kinds[k], values[k]) for k in (1, 4, 7, 9))
        (a_at,), (i_at,) = code.indices(kinds[2:3], values[2:3]), code.indices(kinds[8:9], values[8:9])
        b_at, b_step = code.indices(kinds[5:7], values[5:7])
        c_at, columns = code.indices(kinds[10:12], values[10:12])
        slots = code.slots(vectors)

        def start(masks: list[Any]) -> None:
            for j, slot in enumerate(slots):
                builder.store(code.load(i_data, code.offset(i_at, i_at, 0, j), masks[j]), slot)

        def finish(masks: list[Any]) -> None:
            for j, slot in enumerate(slots):
                code.store(builder.load(slot), c_data, code.offset(c_at, c_at, 0, j), masks[j])

        code.whole_or_part(columns, vectors, start)
        with code.bits_of(values[3]) as k:
            factor = code.number_at(a_data, builder.add(a_at, k))
            code.add_products(slots, [factor], b_data, builder.add(b_at, builder.mul(k, b_step)))
        code.whole_or_part(columns, vectors, finish)
        return context.get_dummy_value()

    return signature, generate


@_intrinsic
def copy_column(
    typing: Any, a: Any, start: Any, stride: Any, n_rows: Any, n_columns: Any, b: Any, b_start: Any, b_stride: Any
) -> Any:  # fmt: skip
    """Copy one vector of each row, of which ``n_columns`` numbers exist; the other numbers of the copies are 0."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        code, kinds = _Code(context, builder, b.dtype), signature.args
        data, out = code.data(a, values[0]), code.data(b, values[5])
        at, step, rows, columns = code.indices(kinds[1:5], values[1:5])
        to, to_step = code.indices(kinds[6:], values[6:])

        def write(masks: list[Any]) -> None:
            with code.loop(rows) as i:
                vector = code.load(data, builder.add(at, builder.mul(i, step)), masks[0])
                code.store(vector, out, builder.add(to, builder.mul(i, to_step)))

        code.whole_or_part(columns, 1, write)
        return context.get_dummy_value()

    return types.void(a, start, stride, n_rows, n_columns, b, b_start, b_stride), generate


@_literal_intrinsic
def copy_rows(
    typing: Any, n_rows: Any, a: Any, start: Any, stride: Any, n_columns: Any, b: Any, b_start: Any
) -> Any:  # fmt: skip
    """Copy ``n_columns`` <= 64 numbers of each of some rows to rows of 64 numbers in b; the other numbers are 0."""
    rows = _literal(n_rows)

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        code, kinds = _Code(context, builder, b.dtype), signature.args
        data, out, n_vectors = code.data(a, values[1]), code.data(b, values[5]), 64 // code.lanes
        (at, step, columns), (to,) = code.indices(kinds[2:5], values[2:5]), code.indices(kinds[6:], values[6:])

        def write(masks: list[Any]) -> None:
            for i in range(rows):
                for j, mask in enumerate(masks):
                    place = code.offset(to, to, 0, i * n_vectors + j)
                    code.store(code.load(data, code.offset(at, step, i, j), mask), out, place)

        code.whole_or_part(columns, n_vectors, write)
        return context.get_dummy_value()

    return types.void(n_rows, a, start, stride, n_columns, b, b_start), generate


@_intrinsic
def nonzeros(typing: Any, a: Any, start: Any, n: Any) -> Any:
    """Return 64 bits that tell which of the next ``n`` <= 64 numbers are not 0; NaN counts as not 0."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        code = _Code(context, builder, a.dtype)
        data, (at, count) = code.data(a, values[0]), code.indices(signature.args[1:], values[1:])
        bits = _tools.alloca_once(builder, _INDEX)

        def write(masks: list[Any]) -> None:
            result = ir.Constant(_INDEX, 0)
            for j, mask in enumerate(masks):
                loaded = code.load(data, code.offset(at, at, 0, j), mask)
                differs = builder.fcmp_unordered("!=", loaded, ir.Constant(code.vector, None))
                word = builder.zext(builder.bitcast(differs, ir.IntType(code.lanes)), _INDEX)
                result = builder.or_(result, builder.shl(word, ir.Constant(_INDEX, j * code.lanes)))
            builder.store(result, bits)

        code.whole_or_part(count, 64 // code.lanes, write)
        return builder.load(bits)

    return types.uint64(a, start, n), generate


@_intrinsic
def count_bits(typing: Any, word: Any) -> Any:
    """Return the number of bits that are set."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        kind = ir.FunctionType(_INDEX, [_INDEX])
        return builder.call(_tools.get_or_insert_function(builder.module, kind, "llvm.ctpop.i64"), values)

    return types.int64(types.uint64), generate


@_intrinsic
def decode_vector(
    typing: Any, codes: Any, start: Any, factor: Any, divisor: Any, n: Any, out: Any, out_start: Any
) -> Any:  # fmt: skip
    """Write the first ``n`` numbers of a vector of numbers that are stored as bytes.

    The number of a byte is ``byte * factor``, or ``byte / divisor`` rounded once if the divisor is not 0. For such a
    divisor, the factor is 1 / divisor, and the quotient q = byte * factor is corrected by its residual.
    """

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        code, kinds = _Code(context, builder, out.dtype), signature.args
        data, to = code.data(codes, values[0]), code.data(out, values[5])
        at, count, to_at = code.indices([kinds[k] for k in (1, 4, 6)], [values[k] for k in (1, 4, 6)])
        factors, divisors = code.splat(values[2]), code.splat(values[3])
        kind, whole_numbers = (ir.VectorType(ir.IntType(size), code.lanes) for size in (8, 32))

        def write(masks: list[Any]) -> None:
            if masks == [None]:
                loaded = builder.load(builder.bitcast(builder.gep(data, [at], inbounds=True), kind.as_pointer()))
                loaded.align = 1
            else:
                loaded = ir.Constant(kind, None)
                for lane in range(code.lanes - 1):  # the last byte that is read may be the last of its array
                    place = builder.add(at, code.within(lane, count, ir.Constant(_INDEX, lane)))
                    byte = builder.load(builder.gep(data, [place], inbounds=True))
                    loaded = builder.insert_element(loaded, byte, ir.Constant(ir.IntType(32), lane))
            byte = builder.uitofp(builder.zext(loaded, whole_numbers), code.vector)
            product = builder.fmul(byte, factors)
            residual = code.multiply_add(builder.fneg(product), divisors, byte)
            quotient = code.multiply_add(residual, factors, product)
            is_product = builder.fcmp_ordered("==", values[3], ir.Constant(code.number, 0))
            code.store(builder.select(is_product, product, quotient), to, to_at, masks[0])

        code.whole_or_part(count, 1, write)
        return context.get_dummy_value()

    return types.void(codes, start, out.dtype, out.dtype, n, out, out_start), generate


@_intrinsic
def transpose_block(
    typing: Any, a: Any, start: Any, stride: Any, n_rows: Any, n_columns: Any, b: Any, b_start: Any, b_stride: Any
) -> Any:  # fmt: skip
    """Write the transpose of a block of at most as many rows and columns as a vector has lanes."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        code, kinds = _Code(context, builder, a.dtype), signature.args
        data, out, n = code.data(a, values[0]), code.data(b, values[5]), code.lanes
        at, row, rows, columns = code.indices(kinds[1:5], values[1:5])
        to, out_row = code.indices(kinds[6:], values[6:])
        size = ir.Constant(_INDEX, n)
        is_whole = builder.and_(builder.icmp_signed("==", rows, size), builder.icmp_signed("==", columns, size))

        def write(in_masks: list[Any], out_masks: list[Any]) -> None:
            vectors = [code.load(data, code.offset(at, row, i), mask) for i, mask in enumerate(in_masks)]
            for i, (vector, mask) in enumerate(zip(code.transposed(vectors), out_masks, strict=True)):
                code.store(vector, out, code.offset(to, out_row, i), mask)

        with builder.if_else(is_whole) as (whole, part):
            with whole:
                write([None] * n, [None] * n)
            with part:  # a row outside the block has an empty mask
                masks = [
                    [code.mask(code.within(i, *size)) for i in range(n)] for size in ((rows, columns), (columns, rows))
                ]
                write(*masks)
        return context.get_dummy_value()

    return types.void(a, start, stride, n_rows, n_columns, b, b_start, b_stride), generate
