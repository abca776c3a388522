"""Vectors and register tiles for compiled kernels.

LLVM vectorises a loop with the width that it prefers, and keeps no block of a matrix in registers. Products of matrices
reach the speed of the processor only if both are stated. A *vector* is a cache line of 64 bytes: 16 numbers of float32,
8 of float64. A *tile* is a block of some rows and vectors of a matrix that stays in registers. LLVM translates both to
the instructions of the processor: AVX-512, AVX2, NEON or others.

Every element of a tile is computed by the same operations in the same order, whatever the processor, so that the
results have the same bits. The functions take flat arrays, and offsets and strides as numbers of elements. They do not
check bounds.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from llvmlite.binding import get_host_cpu_features
from numba.core import cgutils, config, types
from numba.core.errors import TypingError
from numba.extending import intrinsic as numba_intrinsic
from numba.extending import models, register_model

__all__ = [
    "HAS_WIDE_REGISTERS",
    "copy_rows",
    "copy_vectors",
    "count_bits",
    "decode_vector",
    "lowest_bit",
    "nonzeros",
    "tile_add_product",
    "tile_load",
    "tile_load_part",
    "tile_store",
    "tile_store_part",
    "transpose_block",
]

VECTOR_BYTES = 64

_intrinsic: Callable[[Any], Any] = numba_intrinsic
_literal_intrinsic: Callable[[Any], Any] = numba_intrinsic(prefer_literal=True)
_tools: Any = cgutils  # it has no type hints
_INDEX = ir.IntType(64)


def _features() -> set[str]:
    """Return the names of the processor's instruction sets that Numba compiles for."""
    settings: Any = config
    if settings.CPU_FEATURES is not None:
        return {name[1:] for name in settings.CPU_FEATURES.split(",") if name.startswith("+")}
    return {name for name, is_present in get_host_cpu_features().items() if is_present}


#: Whether a register holds a whole vector, and there are 32 of them.
HAS_WIDE_REGISTERS = "avx512f" in _features()


class TileType(types.Type):
    """The Numba type of a tile of ``n_rows`` rows and ``n_vectors`` vectors."""

    def __init__(self, number: Any, n_rows: int, n_vectors: int) -> None:
        self.number, self.n_rows, self.n_vectors = number, n_rows, n_vectors
        self.lanes = VECTOR_BYTES * 8 // number.bitwidth
        super().__init__(name=f"tile of {n_rows} x {n_vectors} vectors of {number}")

    @property
    def vector(self) -> Any:
        """The LLVM type of a vector."""
        return ir.VectorType(ir.FloatType() if self.number == types.float32 else ir.DoubleType(), self.lanes)


@register_model(TileType)
class _TileModel(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: Any) -> None:
        vectors = ir.ArrayType(kind.vector, kind.n_rows * kind.n_vectors)
        super().__init__(manager, kind, vectors)  # type: ignore[no-untyped-call]


def _literal(value: Any) -> int:
    if not isinstance(value, types.IntegerLiteral):
        raise TypingError("The number of rows or vectors of a tile must be a constant.")
    return int(value.literal_value)


class _Code:
    """Writes the LLVM code of one intrinsic for a tile."""

    def __init__(self, context: Any, builder: Any, tile: TileType) -> None:
        self.context, self.builder, self.tile = context, builder, tile
        self.vector = tile.vector

    def data(self, kind: Any, array: Any) -> Any:
        """Return the address of the first element of an array."""
        return self.context.make_array(kind)(self.context, self.builder, array).data

    def index(self, kind: Any, value: Any) -> Any:
        """Return a whole number with 64 bits."""
        return self.context.cast(self.builder, value, kind, types.int64)

    def offset(self, start: Any, stride: Any, row: int, vector: int = 0) -> Any:
        """Return the offset of a vector in the row that begins at ``start + row * stride``."""
        at = self.builder.add(start, self.builder.mul(stride, ir.Constant(_INDEX, row))) if row else start
        return self.builder.add(at, ir.Constant(_INDEX, vector * self.tile.lanes)) if vector else at

    def number(self, data: Any, offset: Any) -> Any:
        """Return a number of an array in all lanes."""
        return self.splat(self.builder.load(self.builder.gep(data, [offset], inbounds=True)))

    def splat(self, number: Any) -> Any:
        """Return a number in all lanes."""
        kind = ir.VectorType(number.type, self.tile.lanes)
        undefined, first = ir.Constant(kind, ir.Undefined), ir.Constant(ir.IntType(32), 0)
        one = self.builder.insert_element(undefined, number, first)
        return self.builder.shuffle_vector(
            one, undefined, ir.Constant(ir.VectorType(ir.IntType(32), self.tile.lanes), None)
        )

    def address(self, data: Any, offset: Any) -> Any:
        """Return the address of a vector."""
        return self.builder.bitcast(self.builder.gep(data, [offset], inbounds=True), self.vector.as_pointer())

    def load(self, data: Any, offset: Any) -> Any:
        """Return a vector of an array."""
        loaded = self.builder.load(self.address(data, offset))
        loaded.align = self.tile.number.bitwidth // 8
        return loaded

    def store(self, value: Any, data: Any, offset: Any) -> None:
        """Write a vector to an array."""
        self.builder.store(value, self.address(data, offset)).align = self.tile.number.bitwidth // 8

    def mask(self, n_columns: Any, vector: int) -> Any:
        """Return for every lane whether it belongs to the first ``n_columns`` columns of the tile."""
        count = self.tile.lanes
        places = ir.Constant(ir.VectorType(_INDEX, count), [vector * count + lane for lane in range(count)])
        return self.builder.icmp_signed(">", self.splat(n_columns), places)

    def masked(self, name: str, result: Any, arguments: list[Any]) -> Any:
        """Call LLVM's load or store of the lanes of a mask."""
        size = f"v{self.tile.lanes}f{self.tile.number.bitwidth}"
        kind = ir.FunctionType(result, [argument.type for argument in arguments])
        function = _tools.get_or_insert_function(self.builder.module, kind, f"llvm.masked.{name}.{size}.p0")
        return self.builder.call(function, arguments)

    def load_part(self, data: Any, offset: Any, mask: Any) -> Any:
        """Return the lanes of a mask, and 0 in the other lanes."""
        align = ir.Constant(ir.IntType(32), self.tile.number.bitwidth // 8)
        return self.masked(
            "load", self.vector, [self.address(data, offset), align, mask, ir.Constant(self.vector, None)]
        )

    def store_part(self, value: Any, data: Any, offset: Any, mask: Any) -> None:
        """Write the lanes of a mask."""
        align = ir.Constant(ir.IntType(32), self.tile.number.bitwidth // 8)
        self.masked("store", ir.VoidType(), [value, self.address(data, offset), align, mask])

    def multiply_add(self, x: Any, y: Any, z: Any) -> Any:
        """Return x y + z, rounded once."""
        kind = ir.FunctionType(self.vector, [self.vector] * 3)
        name = f"llvm.fma.v{self.tile.lanes}f{self.tile.number.bitwidth}"
        return self.builder.call(_tools.get_or_insert_function(self.builder.module, kind, name), [x, y, z])

    def unless_beyond(self, i: int, n: Any, value: Any) -> Any:
        """Return ``value`` if i is less than n, else 0."""
        is_within = self.builder.icmp_signed("<", ir.Constant(_INDEX, i), n)
        return self.builder.select(is_within, value, ir.Constant(_INDEX, 0))

    def transposed(self, rows: list[Any]) -> list[Any]:
        """Return the columns of a square block: blocks of 1, 2, 4, ... numbers beside the diagonal are exchanged."""
        n, kind, rows = self.tile.lanes, ir.VectorType(ir.IntType(32), self.tile.lanes), list(rows)
        for step in (2**k for k in range(n.bit_length() - 1)):
            low = ir.Constant(kind, [k if not k & step else n + k - step for k in range(n)])
            high = ir.Constant(kind, [k + step if not k & step else n + k for k in range(n)])
            for i in (i for i in range(n) if not i & step):
                upper, lower = rows[i], rows[i + step]
                rows[i] = self.builder.shuffle_vector(upper, lower, low)
                rows[i + step] = self.builder.shuffle_vector(upper, lower, high)
        return rows

    def tile_of(self, values: list[Any]) -> Any:
        """Return the tile of these vectors, row by row."""
        result = ir.Constant(self.context.get_value_type(self.tile), ir.Undefined)
        for place, value in enumerate(values):
            result = self.builder.insert_value(result, value, place)
        return result

    def vectors_of(self, tile: Any) -> list[Any]:
        """Return the vectors of a tile, row by row."""
        return [self.builder.extract_value(tile, k) for k in range(self.tile.n_rows * self.tile.n_vectors)]

    @property
    def places(self) -> list[tuple[int, int]]:
        """The row and the vector of each vector of the tile."""
        return [(i, j) for i in range(self.tile.n_rows) for j in range(self.tile.n_vectors)]


@_literal_intrinsic
def tile_load(typing: Any, n_rows: Any, n_vectors: Any, a: Any, start: Any, stride: Any) -> Any:
    """Return the tile of an array whose row r begins at ``start + r * stride``."""
    tile = TileType(a.dtype, _literal(n_rows), _literal(n_vectors))

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        code = _Code(context, builder, tile)
        data, at, step = code.data(a, values[2]), code.index(start, values[3]), code.index(stride, values[4])
        return code.tile_of([code.load(data, code.offset(at, step, i, j)) for i, j in code.places])

    return tile(n_rows, n_vectors, a, start, stride), generate


@_literal_intrinsic
def tile_load_part(
    typing: Any, n_rows: Any, n_vectors: Any, a: Any, start: Any, stride: Any, n_columns: Any
) -> Any:  # fmt: skip
    """Return the first ``n_columns`` columns of a tile, and zeros in the other columns, which are not read."""
    tile = TileType(a.dtype, _literal(n_rows), _literal(n_vectors))

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        code = _Code(context, builder, tile)
        data, at, step = code.data(a, values[2]), code.index(start, values[3]), code.index(stride, values[4])
        masks = [code.mask(code.index(n_columns, values[5]), j) for j in range(tile.n_vectors)]
        return code.tile_of([code.load_part(data, code.offset(at, step, i, j), masks[j]) for i, j in code.places])

    return tile(n_rows, n_vectors, a, start, stride, n_columns), generate


@_intrinsic
def tile_store(typing: Any, tile: Any, a: Any, start: Any, stride: Any) -> Any:
    """Write a tile to an array; row r begins at ``start + r * stride``."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        code = _Code(context, builder, tile)
        data, at, step = code.data(a, values[1]), code.index(start, values[2]), code.index(stride, values[3])
        for value, (i, j) in zip(code.vectors_of(values[0]), code.places, strict=True):
            code.store(value, data, code.offset(at, step, i, j))
        return context.get_dummy_value()

    return types.void(tile, a, start, stride), generate


@_intrinsic
def tile_store_part(typing: Any, tile: Any, a: Any, start: Any, stride: Any, n_columns: Any) -> Any:
    """Write the first ``n_columns`` columns of a tile."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        code = _Code(context, builder, tile)
        data, at, step = code.data(a, values[1]), code.index(start, values[2]), code.index(stride, values[3])
        masks = [code.mask(code.index(n_columns, values[4]), j) for j in range(tile.n_vectors)]
        for value, (i, j) in zip(code.vectors_of(values[0]), code.places, strict=True):
            code.store_part(value, data, code.offset(at, step, i, j), masks[j])
        return context.get_dummy_value()

    return types.void(tile, a, start, stride, n_columns), generate


def _copy(tile: TileType, *kinds: Any) -> Any:
    """Return an intrinsic that copies the first ``n_columns`` columns of a tile, and fills the others with zeros."""
    _, a, start, stride, n_columns, b, b_start, b_stride = kinds

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        code = _Code(context, builder, tile)
        data, at, step = code.data(a, values[1]), code.index(start, values[2]), code.index(stride, values[3])
        n = code.index(n_columns, values[4])
        out, to, to_step = code.data(b, values[5]), code.index(b_start, values[6]), code.index(b_stride, values[7])
        is_whole = builder.icmp_signed("==", n, ir.Constant(_INDEX, tile.n_vectors * tile.lanes))
        with builder.if_else(is_whole) as (whole, part):
            with whole:
                for i, j in code.places:
                    code.store(code.load(data, code.offset(at, step, i, j)), out, code.offset(to, to_step, i, j))
            with part:
                masks = [code.mask(n, j) for j in range(tile.n_vectors)]
                for i, j in code.places:
                    value = code.load_part(data, code.offset(at, step, i, j), masks[j])
                    code.store(value, out, code.offset(to, to_step, i, j))
        return context.get_dummy_value()

    return types.void(*kinds), generate


@_literal_intrinsic
def copy_vectors(
    typing: Any, n_vectors: Any, a: Any, start: Any, stride: Any, n_columns: Any, b: Any, b_start: Any, b_stride: Any
) -> Any:  # fmt: skip
    """Copy the first ``n_columns`` numbers of some vectors to b, and write zeros to the others."""
    tile = TileType(a.dtype, 1, _literal(n_vectors))
    return _copy(tile, n_vectors, a, start, stride, n_columns, b, b_start, b_stride)


@_literal_intrinsic
def copy_rows(
    typing: Any, n_rows: Any, a: Any, start: Any, stride: Any, n_columns: Any, b: Any, b_start: Any, b_stride: Any
) -> Any:  # fmt: skip
    """Copy the first ``n_columns`` of 64 columns of some rows to b, and write zeros to the others."""
    tile = TileType(a.dtype, _literal(n_rows), 8 * a.dtype.bitwidth // VECTOR_BYTES)
    return _copy(tile, n_rows, a, start, stride, n_columns, b, b_start, b_stride)


@_intrinsic
def tile_add_product(typing: Any, tile: Any, a: Any, start: Any, stride: Any, b: Any, b_start: Any) -> Any:
    """Return ``tile[r, :] + a[start + r * stride] * b[b_start:]`` for each row r."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        code = _Code(context, builder, tile)
        data, at, step = code.data(a, values[1]), code.index(start, values[2]), code.index(stride, values[3])
        b_data, b_at = code.data(b, values[4]), code.index(b_start, values[5])
        row = [code.load(b_data, code.offset(b_at, b_at, 0, j)) for j in range(tile.n_vectors)]
        old, new = code.vectors_of(values[0]), []
        for i in range(tile.n_rows):
            factor = code.number(data, code.offset(at, step, i))
            new += [code.multiply_add(factor, row[j], old[i * tile.n_vectors + j]) for j in range(tile.n_vectors)]
        return code.tile_of(new)

    return tile(tile, a, start, stride, b, b_start), generate


@_intrinsic
def nonzeros(typing: Any, a: Any, start: Any, n: Any) -> Any:
    """Return 64 bits that tell which of the next ``n`` <= 64 numbers are not 0; NaN is not 0."""
    tile = TileType(a.dtype, 1, 8 * a.dtype.bitwidth // VECTOR_BYTES)

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        code = _Code(context, builder, tile)
        data, at, count = code.data(a, values[0]), code.index(start, values[1]), code.index(n, values[2])
        bits = _tools.alloca_once_value(builder, ir.Constant(_INDEX, 0))

        def add(load: Callable[[int], Any]) -> None:
            for j in range(tile.n_vectors):
                differs = builder.fcmp_unordered("!=", load(j), ir.Constant(tile.vector, None))
                word = builder.zext(builder.bitcast(differs, ir.IntType(tile.lanes)), _INDEX)
                place = ir.Constant(_INDEX, j * tile.lanes)
                builder.store(builder.or_(builder.load(bits), builder.shl(word, place)), bits)

        builder.store(ir.Constant(_INDEX, 0), bits)
        with builder.if_else(builder.icmp_signed("==", count, ir.Constant(_INDEX, 64))) as (whole, part):
            with whole:
                add(lambda j: code.load(data, code.offset(at, at, 0, j)))
            with part:
                add(lambda j: code.load_part(data, code.offset(at, at, 0, j), code.mask(count, j)))
        return builder.load(bits)

    return types.uint64(a, start, n), generate


@_intrinsic
def decode_vector(
    typing: Any, codes: Any, start: Any, factor: Any, divisor: Any, n: Any, out: Any, out_start: Any
) -> Any:  # fmt: skip
    """Write the first ``n`` numbers of a vector of numbers that are stored as bytes.

    The number of a byte is ``byte * factor``, or, for a divisor other than 0, ``byte / divisor`` rounded once:
    q = byte * factor is corrected by its residual, with the factor 1 / divisor.
    """
    tile = TileType(out.dtype, 1, 1)
    number = tile.vector.element

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        code = _Code(context, builder, tile)
        data, at = code.data(codes, values[0]), code.index(start, values[1])
        count, to, to_at = code.index(n, values[4]), code.data(out, values[5]), code.index(out_start, values[6])
        factors, divisors = code.splat(values[2]), code.splat(values[3])
        kind = ir.VectorType(ir.IntType(8), tile.lanes)
        size = ir.Constant(_INDEX, tile.lanes)

        def decoded(loaded: Any) -> Any:
            byte = builder.uitofp(builder.zext(loaded, ir.VectorType(ir.IntType(32), tile.lanes)), tile.vector)
            product = builder.fmul(byte, factors)
            residual = code.multiply_add(builder.fneg(product), divisors, byte)
            quotient = code.multiply_add(residual, factors, product)
            return builder.select(builder.fcmp_ordered("==", values[3], ir.Constant(number, 0)), product, quotient)

        with builder.if_else(builder.icmp_signed("==", count, size)) as (whole, part):
            with whole:
                loaded = builder.load(builder.bitcast(builder.gep(data, [at], inbounds=True), kind.as_pointer()))
                loaded.align = 1
                code.store(decoded(loaded), to, to_at)
            with part:
                loaded = ir.Constant(kind, None)
                for lane in range(tile.lanes - 1):  # the last byte that is read may be the last of its array
                    place = builder.add(at, code.unless_beyond(lane, count, ir.Constant(_INDEX, lane)))
                    byte = builder.load(builder.gep(data, [place], inbounds=True))
                    loaded = builder.insert_element(loaded, byte, ir.Constant(ir.IntType(32), lane))
                code.store_part(decoded(loaded), to, to_at, code.mask(count, 0))
        return context.get_dummy_value()

    return types.void(codes, start, out.dtype, out.dtype, n, out, out_start), generate


def _bit_function(name: str, *flags: ir.Constant) -> Any:
    """Return an intrinsic of 64 bits that returns a whole number."""

    def typed(typing: Any, bits: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            kind = ir.FunctionType(_INDEX, [_INDEX, *(flag.type for flag in flags)])
            function = _tools.get_or_insert_function(builder.module, kind, name)
            return builder.call(function, [*values, *flags])

        return types.int64(types.uint64), generate

    return _intrinsic(typed)


#: The place of the lowest bit that is set.
lowest_bit = _bit_function("llvm.cttz.i64", ir.Constant(ir.IntType(1), 1))
#: The number of bits that are set.
count_bits = _bit_function("llvm.ctpop.i64")


@_intrinsic
def transpose_block(
    typing: Any, a: Any, start: Any, stride: Any, n_rows: Any, n_columns: Any, b: Any, b_start: Any, b_stride: Any
) -> Any:  # fmt: skip
    """Write the transpose of a block of at most as many rows and columns as a vector has lanes."""
    n = VECTOR_BYTES * 8 // a.dtype.bitwidth
    block = TileType(a.dtype, n, 1)

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        code = _Code(context, builder, block)
        data, at, row = code.data(a, values[0]), code.index(start, values[1]), code.index(stride, values[2])
        out, to, out_row = code.data(b, values[5]), code.index(b_start, values[6]), code.index(b_stride, values[7])
        rows, columns = code.index(n_rows, values[3]), code.index(n_columns, values[4])
        size = ir.Constant(_INDEX, n)
        is_whole = builder.and_(builder.icmp_signed("==", rows, size), builder.icmp_signed("==", columns, size))
        with builder.if_else(is_whole) as (whole, part):
            with whole:
                vectors = [code.load(data, code.offset(at, row, i)) for i in range(n)]
                for i, vector in enumerate(code.transposed(vectors)):
                    code.store(vector, out, code.offset(to, out_row, i))
            with part:  # a row outside the block has an empty mask
                masks = [code.mask(code.unless_beyond(i, rows, columns), 0) for i in range(n)]
                vectors = [code.load_part(data, code.offset(at, row, i), masks[i]) for i in range(n)]
                for i, vector in enumerate(code.transposed(vectors)):
                    mask = code.mask(code.unless_beyond(i, columns, rows), 0)
                    code.store_part(vector, out, code.offset(to, out_row, i), mask)
        return context.get_dummy_value()

    return types.void(a, start, stride, n_rows, n_columns, b, b_start, b_stride), generate
