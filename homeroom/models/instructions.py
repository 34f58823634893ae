"""The few loops in which nearly all time of an int8 model goes, as LLVM's instructions for Numba.

What a loop in Python becomes depends on the compiler's mood; here it does not. Written once for every width of vector
registers: x86 with AVX2 or AVX-512 (with VNNI the same instructions do more), and anything else that LLVM knows.
`homeroom.models.kernels` makes a model's forward of them.
"""

from collections.abc import Callable
from typing import Any

from llvmlite import binding, ir
from numba import types
from numba.extending import intrinsic

_FEATURES = binding.get_host_cpu_features()
_WIDE = bool(_FEATURES.get("avx512bw"))
_X86 = _WIDE or bool(_FEATURES.get("avx2"))
LANES = 32 if _WIDE else 16  # int16 numbers in a register
ROWS = 4  # of a matrix in one tile, which share what is read of the activations
TOKENS = 4 if _WIDE else 2  # in one tile: 16 accumulators need 32 registers
_PREFETCH = 4096  # bytes ahead: processors fetch on their own only to the end of a page
_EIGHT, _HALVES = ir.VectorType(ir.FloatType(), 8), ir.VectorType(ir.HalfType(), 8)
_ZEROS = ir.Constant(_EIGHT, [0.0] * 8)


class _Emitter:
    """A few of LLVM's instructions, at raw addresses. What a loop in Python becomes depends on the compiler's mood, and
    in these loops all the time goes: they are written out."""

    word, integer, single, pointer = ir.IntType(64), ir.IntType(32), ir.FloatType(), ir.IntType(8).as_pointer()

    def __init__(self, builder: Any) -> None:
        self.b = builder

    def call(self, name: str, result: Any, *given: Any, flags: tuple[str, ...] = ()) -> Any:
        kind = ir.FunctionType(result, [value.type for value in given])
        function = self.b.module.globals.get(name) or ir.Function(self.b.module, kind, name)
        return self.b.call(function, given, fastmath=flags)

    def at(self, base: Any, index: Any, size: int) -> Any:
        return self.b.add(base, self.b.mul(index, ir.Constant(self.word, size)))

    def load(self, address: Any, kind: Any) -> Any:
        value = self.b.load(self.b.inttoptr(address, kind.as_pointer()))
        value.align = 1
        return value

    def load_halves(self, address: Any) -> Any:
        """Eight float16 numbers as float32."""
        return self.b.fpext(self.load(address, _HALVES), _EIGHT)

    def store(self, value: Any, address: Any) -> None:
        self.b.store(value, self.b.inttoptr(address, value.type.as_pointer())).align = 1

    def prefetch(self, address: Any) -> None:
        flags = (ir.Constant(self.integer, flag) for flag in (0, 3, 1))  # to read, keep it, it is data
        self.call("llvm.prefetch.p0", ir.VoidType(), self.b.inttoptr(address, self.pointer), *flags)

    def splat(self, value: Any, count: int) -> Any:
        kind = ir.VectorType(value.type, count)
        one = self.b.insert_element(ir.Constant(kind, ir.Undefined), value, ir.Constant(self.integer, 0))
        return self.b.shuffle_vector(one, one, ir.Constant(ir.VectorType(self.integer, count), [0] * count))

    def fma(self, one: Any, other: Any, total: Any) -> Any:
        name = f"llvm.fma.v{one.type.count}f32"
        return self.call(name, one.type, one, other, total)

    def loop(self, count: Any, step: int, start: list[Any], body: Callable[[Any, list[Any]], list[Any]]) -> list[Any]:
        """`for i in range(0, count, step): totals = body(i, totals)`, in registers."""
        b, before = self.b, self.b.block
        head, inside, after = (b.append_basic_block(name) for name in ("head", "inside", "after"))
        b.branch(head)
        b.position_at_end(head)
        index = b.phi(self.word)
        index.add_incoming(ir.Constant(self.word, 0), before)
        totals = [b.phi(value.type) for value in start]
        for total, value in zip(totals, start, strict=True):
            total.add_incoming(value, before)
        b.cbranch(b.icmp_signed("<", index, count), inside, after)
        b.position_at_end(inside)
        results = body(index, totals)
        for total, value in zip(totals, results, strict=True):
            total.add_incoming(value, b.block)
        index.add_incoming(b.add(index, ir.Constant(self.word, step)), b.block)
        b.branch(head)
        b.position_at_end(after)
        return totals


def _written(result: Any, emit: Callable[..., Any]) -> Any:
    """A function for compiled code: `emit(emitter, *arguments)`; its arguments are addresses and counts."""

    @intrinsic  # type: ignore[untyped-decorator]
    def written(_context: Any, *given: Any) -> Any:
        def generate(_context: Any, builder: Any, _signature: Any, values: Any) -> Any:
            return emit(_Emitter(builder), *(builder.extract_value(values[0], i) for i in range(len(given))))

        return result(types.StarArgTuple(given)), generate

    return written


def _tile(tokens: int, add: bool) -> Any:
    """A function that multiplies ROWS rows of a matrix with so many tokens, and stores (or adds) the scaled results.

    Given: addresses of the rows, the tokens, what a weight of each row and an activation of each token is worth, and
    the result; columns of the matrix, columns of the result.
    """
    wide = LANES // 2 if _X86 else LANES

    def emit(
        e: _Emitter, rows: Any, activations: Any, worth_R: Any, worth_N: Any, out: Any, columns: Any, width: Any
    ) -> Any:
        bytes_, halves = ir.VectorType(ir.IntType(8), LANES), ir.VectorType(ir.IntType(16), LANES)
        sums = ir.VectorType(e.integer, wide)

        def multiply_add(total: Any, one: Any, other: Any) -> Any:
            if not _X86:
                return e.b.add(total, e.b.mul(e.b.sext(one, sums), e.b.sext(other, sums)))
            # Neighbours multiplied and added in one instruction; with VNNI, the total as well.
            name = "llvm.x86.avx512.pmaddw.d.512" if _WIDE else "llvm.x86.avx2.pmadd.wd"
            return e.b.add(total, e.call(name, sums, one, other))

        def step(column: Any, totals: list[Any]) -> list[Any]:
            weights = []
            for row in range(ROWS):
                place = e.b.add(e.at(rows, column, ROWS), ir.Constant(e.word, row * LANES))
                weights.append(e.b.sext(e.load(place, bytes_), halves))
                if row * LANES % 64 == 0:
                    e.prefetch(e.b.add(place, ir.Constant(e.word, _PREFETCH)))
            results = []
            for token in range(tokens):
                place = e.at(activations, e.b.add(e.at(ir.Constant(e.word, 0), columns, token), column), 2)
                activation = e.load(place, halves)
                results += [multiply_add(totals[token * ROWS + row], weights[row], activation) for row in range(ROWS)]
            return results

        zero = ir.Constant(sums, [0] * wide)
        totals = e.loop(columns, LANES, [zero] * (tokens * ROWS), step)
        singles = ir.VectorType(e.single, ROWS)
        row_worth = e.load(worth_R, singles)
        for token in range(tokens):
            sums_R = ir.Constant(ir.VectorType(e.integer, ROWS), ir.Undefined)
            for row in range(ROWS):
                total = e.call(f"llvm.vector.reduce.add.v{wide}i32", e.integer, totals[token * ROWS + row])
                sums_R = e.b.insert_element(sums_R, total, ir.Constant(e.integer, row))
            token_worth = e.splat(e.load(e.b.add(worth_N, ir.Constant(e.word, 4 * token)), e.single), ROWS)
            result = e.b.fmul(e.b.fmul(e.b.sitofp(sums_R, singles), row_worth), token_worth)
            place = e.b.add(out, e.at(ir.Constant(e.word, 0), width, 4 * token))
            e.store(e.b.fadd(result, e.load(place, singles)) if add else result, place)
        return ir.Constant(e.pointer, None)

    return _written(types.void, emit)


tile_one, tile_one_add = _tile(1, False), _tile(1, True)
tile_some, tile_some_add = _tile(TOKENS, False), _tile(TOKENS, True)


def _emit_scores(e: _Emitter, query: Any, keys: Any, count: Any, width: Any, out: Any) -> Any:
    """`out[t] = query · keys[t]` four at a time, the last ones beyond `count`; `width` is a multiple of eight.

    Keys are float16, all else float32.
    """

    def shuffled(one: Any, other: Any, order: list[int]) -> Any:
        return e.b.shuffle_vector(one, other, ir.Constant(ir.VectorType(e.integer, len(order)), order))

    def added(one: Any, other: Any, left: list[int], right: list[int]) -> Any:
        return e.b.fadd(shuffled(one, other, left), shuffled(one, other, right))

    def four(t: Any, _: list[Any]) -> list[Any]:
        def step(index: Any, totals: list[Any]) -> list[Any]:
            part = e.load(e.at(query, index, 4), _EIGHT)
            places = (e.b.add(e.b.mul(e.b.add(t, ir.Constant(e.word, i)), width), index) for i in range(4))
            return [
                e.fma(part, e.load_halves(e.at(keys, place, 2)), total)
                for place, total in zip(places, totals, strict=True)
            ]

        totals = e.loop(width, 8, [_ZEROS] * 4, step)
        # Four vectors of eight to one vector of their four sums.
        evens, odds = [0, 8, 2, 10, 4, 12, 6, 14], [1, 9, 3, 11, 5, 13, 7, 15]
        left, right = (added(totals[i], totals[i + 1], evens, odds) for i in (0, 2))
        fours = added(left, right, [0, 1, 8, 9, 4, 5, 12, 13], [2, 3, 10, 11, 6, 7, 14, 15])
        e.store(added(fours, fours, [0, 1, 2, 3], [4, 5, 6, 7]), e.at(out, t, 4))
        return []

    e.loop(count, 4, [], four)
    return ir.Constant(e.pointer, None)


def _mix(vectors: int) -> Any:
    """A function for `out = Σ weight · row` over rows of so many times eight float16 numbers, `stride` apart."""

    def emit(e: _Emitter, weights: Any, rows: Any, count: Any, stride: Any, out: Any) -> Any:
        def step(index: Any, totals: list[Any]) -> list[Any]:
            weight = e.splat(e.load(e.at(weights, index, 4), e.single), 8)
            row = e.at(rows, e.b.mul(index, stride), 2)
            return [
                e.fma(weight, e.load_halves(e.b.add(row, ir.Constant(e.word, 16 * i))), total)
                for i, total in enumerate(totals)
            ]

        for i, total in enumerate(e.loop(count, 1, [_ZEROS] * vectors, step)):
            e.store(total, e.b.add(out, ir.Constant(e.word, 32 * i)))
        return ir.Constant(e.pointer, None)

    return _written(types.void, emit)


def _largest(absolute: bool) -> Any:
    """A function for the largest of `count` numbers, or of their absolute values; `count` is a multiple of eight."""

    def emit(e: _Emitter, numbers: Any, count: Any) -> Any:
        def step(index: Any, totals: list[Any]) -> list[Any]:
            part = e.load(e.at(numbers, index, 4), _EIGHT)
            part = e.call("llvm.fabs.v8f32", _EIGHT, part) if absolute else part
            return [e.b.select(e.b.fcmp_ordered(">", part, totals[0]), part, totals[0])]

        start = _ZEROS if absolute else ir.Constant(_EIGHT, [float("-inf")] * 8)
        (lanes,) = e.loop(count, 8, [start], step)
        return e.call("llvm.vector.reduce.fmax.v8f32", e.single, lanes)

    return _written(types.float32, emit)


def _emit_halve(e: _Emitter, numbers: Any, count: Any, out: Any) -> Any:
    """float32 to float16; `count` is a multiple of eight."""

    def step(index: Any, _: list[Any]) -> list[Any]:
        e.store(e.b.fptrunc(e.load(e.at(numbers, index, 4), _EIGHT), _HALVES), e.at(out, index, 2))
        return []

    e.loop(count, 8, [], step)
    return ir.Constant(e.pointer, None)


scores, halve = _written(types.void, _emit_scores), _written(types.void, _emit_halve)
largest, largest_absolute = _largest(False), _largest(True)
mix_eight, mix_sixty_four = _mix(1), _mix(8)


def _emit_take(e: _Emitter, address: Any) -> Any:
    """Add one to a number that other threads add to as well; what it was before."""
    return e.b.atomic_rmw("add", e.b.inttoptr(address, e.word.as_pointer()), ir.Constant(e.word, 1), "seq_cst")


def _emit_give(e: _Emitter, address: Any, amount: Any) -> Any:
    return e.b.atomic_rmw("add", e.b.inttoptr(address, e.word.as_pointer()), amount, "seq_cst")


def _emit_seen(e: _Emitter, address: Any) -> Any:
    """A number that other threads write; what they wrote before it is seen as well."""
    return e.b.load_atomic(e.b.inttoptr(address, e.word.as_pointer()), "seq_cst", 8)


def _emit_pause(e: _Emitter) -> Any:
    if _X86:
        e.call("llvm.x86.sse2.pause", ir.VoidType())
    return ir.Constant(e.pointer, None)


def _emit_call_c(e: _Emitter, function: Any) -> Any:
    """Call a C function without arguments at an address."""
    kind = ir.FunctionType(e.integer, [])
    e.b.call(e.b.inttoptr(function, kind.as_pointer()), [])
    return ir.Constant(e.pointer, None)


take, seen = _written(types.int64, _emit_take), _written(types.int64, _emit_seen)
give = _written(types.int64, _emit_give)
pause, call_c = _written(types.void, _emit_pause), _written(types.void, _emit_call_c)
