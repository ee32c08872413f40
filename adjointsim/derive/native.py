"""From IR to machine code, without a detour: Numba's LLVM builder is given the statements as they are.

A function of a generated module is a stub for Numba (its way in from Python, its types, its disk cache) around an intrinsic
that builds the body here.  The IR is typed and structured already, so that bytecode, type inference and lowering of a text,
which is most of what compiling costs, are not needed; the text that :mod:`.emit` writes is for people, and its hash stands
in the module for what the function is.  Operations that are not a machine instruction or two are Numba's own, compiled from
the text that the rules' table has for them, so that values are those of the user's compiled function.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any
from weakref import WeakValueDictionary

import numpy as np
from llvmlite import ir as ll
from numba.core import cgutils
from numba.core import types as nb
from numba.core.typing import signature
from numba.extending import intrinsic
from numba.np import arrayobj

from .blas import add_products
from .build import zero
from .emit import HEADER, NEED, OK, decorated
from .freesums import free_sums
from .instructions import TYPES, Values
from .ir import (
    Alloc,
    Atom,
    Base,
    Block,
    Call,
    Const,
    Dim,
    Fn,
    For,
    Foreign,
    If,
    Let,
    Load,
    Need,
    Raise,
    Stmt,
    Store,
    Var,
    While,
    walk,
)  # fmt: skip
from .productnests import products
from .registry import registered
from .sharing import share

__all__ = ["STUBS", "Program", "native", "needs_text"]

#: the head of a module
STUBS = HEADER + "from adjointsim.derive.native import native\n"

_NO_MEMORY = -2
_FEW = 8  # iterations
_programs: WeakValueDictionary[str, Program] = WeakValueDictionary()


def needs_text(fn: Fn) -> bool:
    """Whether Numba compiles a function from its text: one that calls code of others with results to be looked at, or code that
    is known by its address, so that its module is not kept on the disk."""
    foreign = next((s for s in fn.body if isinstance(s, Foreign)), None)
    if foreign is None:
        return False
    simple = foreign.fills and not foreign.complexes and all(isinstance(a, (Var, Const, Base)) for a in foreign.args)
    return not (simple and registered(foreign.key).cacheable)


class Program:
    """An IR function to be built, with the memory that its caller brings, known to generated modules by its key."""

    def __init__(self, fn: Fn, params: Sequence[Var | Base], key: str, bare: bool) -> None:
        self.fn, self.params, self.key, self.bare = fn, tuple(params), key, bare
        first = _programs.setdefault(key, self)
        self._first = None if first is self else first  # the known one, which is to live as long as any that is the same

    def __reduce__(self) -> tuple[Any, ...]:
        return Program, (self.fn, self.params, self.key, self.bare)

    @classmethod
    def of(cls, fn: Fn, scratch: Sequence[Base], text: str, bare: bool) -> Program:
        """The program of a function.

        Its key is a hash of its text and of the types of its parameters and results: Numba finds types anew wherever it meets a
        text, this is made for one set of them.  (A number and an array of numbers that are only handed on have the same text.)
        """
        params = (*fn.params, *scratch)
        kinds = [f"{p.dt}[{p.rank}]" if isinstance(p, Base) else p.dt for p in params]
        known = "\0".join([text, *kinds, *(r.dt for r in fn.results)])
        return cls(fn, params, hashlib.sha256(known.encode()).hexdigest()[:32], bare)

    def stub(self, options: Mapping[str, object] | None) -> str:
        """The text of the function in its module, with a way in from Python."""
        args = ", ".join(f"a{k}" for k in range(len(self.params)))
        made = f"native_{self.key} = native({self.key!r}, {len(self.params)}, globals())\n\n\n"
        return f"{made}{decorated(options)}\ndef {self.fn.name}({args}):\n    return native_{self.key}({args})\n"

    def part(self) -> str:
        """The same without one: it becomes a part of what calls it in its module."""
        return f"{self.fn.name} = native({self.key!r}, {len(self.params)}, globals(), apart=True)\n"


def _loops(block: Block) -> bool:
    """Whether a function has loops: then it stays one of its own, for among many others they are not vectorised as well.

    (Nor is it said that its arrays do not overlap: LLVM then keeps what neighbours in a
    stencil have in common from one iteration to the next, and shuffles it about in vectors, which takes longer than loading.)
    """
    return any(isinstance(s, (For, While)) for s in walk(block))


def native(key: str, arity: int, module: Mapping[str, Any], apart: bool = False) -> Any:
    """The intrinsic of a program, for the module of these globals; ``apart``: as a function that it calls.

    Such a function is built once for each module of LLVM's, and optimised with what calls it.  (One of Numba's own would be
    typed, optimised and made machine code of by itself before that.)
    """
    program = _programs.get(key)  # none where the module's code is on the disk, unless that turns out to be damaged

    def typed(args: Sequence[Any]) -> Any:
        found = program or _programs[key]
        given = [a if isinstance(p, Base) else TYPES[p.dt] for p, a in zip(found.params, args, strict=True)]
        kinds = [*([] if found.bare else [nb.int64]), *(TYPES[r.dt] for r in found.fn.results)]
        result = kinds[0] if len(kinds) == 1 else nb.Tuple(tuple(kinds)) if kinds else nb.none

        def build(context: Any, builder: Any, sig: Any, values: Any) -> Any:
            if found.bare and not apart:  # a sum: its order is chosen where it is called, and nobody else's code is called for it
                builder.function.attributes.add("alwaysinline")
            made = _Builder(context, builder, found, module, sig.args, values).build()
            if not kinds:
                return context.get_dummy_value()
            return made[0] if len(kinds) == 1 else context.make_tuple(builder, sig.return_type, made)

        def call(context: Any, builder: Any, sig: Any, values: Any) -> Any:
            convention = context.call_conv
            name = f"{found.fn.name}.{key}.{hashlib.sha256(str(sig.args).encode()).hexdigest()[:16]}"
            function = builder.module.globals.get(name)
            if function is None:
                function = ll.Function(builder.module, convention.get_function_type(sig.return_type, sig.args), name)
                function.linkage = "internal"
                if _loops(found.fn.body):
                    function.attributes.add("noinline")
                convention.decorate_function(function, [f"a{k}" for k in range(arity)], sig.args)
                inner = ll.IRBuilder(function.append_basic_block("entry"))
                convention.init_call_helper(inner)
                made = build(context, inner, sig, convention.decode_arguments(inner, sig.args, function))
                convention.return_value(inner, context.get_return_value(inner, sig.return_type, made))
            status, value = convention.call_function(builder, function, sig.return_type, sig.args, values)
            with cgutils.if_unlikely(builder, status.is_error):
                convention.return_status_propagate(builder, status)
            return value

        return signature(result, *given), call if apart else build

    names = ["typingctx", *(f"a{k}" for k in range(arity))]
    scope: dict[str, Any] = {"typed": typed}
    exec(f"def native({', '.join(names)}): return typed([{', '.join(names[1:])}])", scope)
    return intrinsic(scope["native"])


class _Array:
    """Memory in the function that is built: a Numba array's value and what indexing needs of it."""

    def __init__(self, context: Any, builder: Any, kind: Any, value: Any) -> None:
        self.kind, self.value = kind, value
        ary = context.make_array(kind)(context, builder, value)
        self.data = ary.data
        self.shape = cgutils.unpack_tuple(builder, ary.shape, kind.ndim)
        self.strides = cgutils.unpack_tuple(builder, ary.strides, kind.ndim)


class _Builder(Values):
    """Builds the body of one function where the builder stands."""

    def __init__(self, context: Any, builder: Any, program: Program, module: Mapping[str, Any], kinds: Any, values: Any) -> None:
        super().__init__(context, builder)
        self.program, self.module = program, module
        self.arrays: dict[Base, _Array] = {}
        self.frames: dict[Base, tuple[Any, Any]] = {}  # of arrays that the function makes: they change
        self.owned: dict[Base, Any] = {}  # where the memory is that the function has to free
        self.few: set[Atom] = set()  # variables of loops that count to few
        for p, kind, value in zip(program.params, kinds, values, strict=True):
            if isinstance(p, Base):
                self.arrays[p] = _Array(context, builder, kind, value)
            else:
                self.values[p] = value
        self.given = frozenset(self.arrays)

    def build(self) -> list[Any]:
        """The status, unless the function is bare, and the results."""
        fn, builder = self.program.fn, self.builder
        self.status = self.cell(nb.int64)
        self.results = [self.cell(TYPES[r.dt]) for r in fn.results]
        builder.store(self.const(OK, "i8"), self.status)
        for cell, r in zip(self.results, fn.results, strict=True):
            builder.store(self.atom(zero(r.dt)), cell)
        self.exit = builder.append_basic_block("exit")
        self.block(fn.body)
        for cell, r in zip(self.results, fn.results, strict=True):
            builder.store(self.atom(r), cell)
        builder.branch(self.exit)
        builder.position_at_end(self.exit)
        for cell in self.owned.values():
            self._free(builder.load(cell))
        status = builder.load(self.status)
        if self.owned:
            with cgutils.if_unlikely(builder, builder.icmp_signed("==", status, self.const(_NO_MEMORY, "i8"))):
                self.context.call_conv.return_user_exc(builder, MemoryError, ("an array inside of a step does not fit",))
        return [*([] if self.program.bare else [status]), *(builder.load(cell) for cell in self.results)]

    def elsewhere(self, builder: Any, values: Mapping[Var, Any], arrays: Mapping[Base, tuple[Any, Any]]) -> _Builder:
        """The same for another function, in which these values and arrays are known, and which nothing leaves."""
        other = copy.copy(self)
        other.builder, other.values, other.cells, other.frames, other.owned = builder, dict(values), {}, {}, {}
        other.arrays = {base: _Array(self.context, builder, *given) for base, given in arrays.items()}
        other.given = frozenset(arrays)
        return other

    # ---------------------------------------------------------------------------------------------------- statements
    def block(self, block: Block) -> None:
        for s in block:
            _STATEMENTS[type(s)](self, s)

    def leave(self, status: Any) -> None:
        """Leave the function; what follows is never reached."""
        self.builder.store(status, self.status)
        self.builder.branch(self.exit)
        self.builder.position_at_end(self.builder.append_basic_block("unreached"))

    def _dim(self, s: Dim) -> None:
        self.values[s.var] = self.array(s.base).shape[s.axis]

    def _pointer(self, base: Base, index: Sequence[Atom], wrap: str) -> tuple[Any, Any]:
        """The type of the array, and where its cell is."""
        array = self.array(base)
        at = [self.cast(i, "i8") for i in index]
        signed = [wrap != "never" and not (isinstance(i, Const) and i.value >= 0) for i in index]  # type: ignore[operator]
        at = [_wrapped(self.builder, i, n) if on else i for i, n, on in zip(at, array.shape, signed, strict=True)]
        args = (array.data, array.shape, array.strides, array.kind.layout, at)
        return array.kind, cgutils.get_item_pointer2(self.context, self.builder, *args, wraparound=False)

    def _load(self, s: Load) -> None:
        kind, pointer = self._pointer(s.base, s.index, s.wrap)
        value = arrayobj.load_item(self.context, self.builder, kind, pointer)
        self.values[s.var] = self.context.cast(self.builder, value, kind.dtype, TYPES[s.var.dt])  # a captured array may change

    def _store(self, s: Store) -> None:
        kind, pointer = self._pointer(s.base, s.index, s.wrap)
        value = self.cast(s.value, s.base.dt)
        if s.mode == "add":
            before = arrayobj.load_item(self.context, self.builder, kind, pointer)
            value = self.arithmetic("add", before, value, s.base.dt)
        arrayobj.store_item(self.context, self.builder, kind, value, pointer)

    def _alloc(self, s: Alloc) -> None:
        if s.base not in self.given:
            self._allocated(s)
        elif s.fill == "none":
            return
        array = self.array(s.base)
        size = self.size(array)
        bytes_ = self.builder.mul(size, self.const(np.dtype(s.base.dt).itemsize, "i8"))
        if s.fill == "zero":
            cgutils.memset(self.builder, array.data, bytes_, 0)
        elif s.fill == "one":
            one = self.const(np.dtype(s.base.dt).type(1), s.base.dt)
            with cgutils.for_range(self.builder, size) as loop:
                pointer = self.builder.gep(array.data, [loop.index], inbounds=True)
                arrayobj.store_item(self.context, self.builder, array.kind, one, pointer)

    def _allocated(self, s: Alloc) -> None:
        """Memory of the function's own, which replaces what an earlier run of the statement has made."""
        context, builder = self.context, self.builder
        nothing = ll.Constant(cgutils.voidptr_t, None)
        if s.base not in self.owned:
            with builder.goto_entry_block():
                self.owned[s.base] = builder.alloca(cgutils.voidptr_t)
                builder.store(nothing, self.owned[s.base])
        place = self.owned[s.base]
        kind = nb.Array(TYPES[s.base.dt], s.base.rank, "C")
        least = self.const(0, "i8")
        dims = [self.cast(d, "i8") for d in s.dims]
        dims = [builder.select(builder.icmp_signed("<", d, least), least, d) for d in dims]
        strides = [self.const(np.dtype(s.base.dt).itemsize, "i8")]
        for d in reversed(dims[1:]):
            strides.insert(0, builder.mul(strides[0], d))
        bytes_ = builder.mul(strides[0], dims[0])
        self._free(builder.load(place))
        builder.store(nothing, place)
        data = self._libc("malloc", cgutils.voidptr_t, builder.add(bytes_, self.const(1, "i8")))
        with cgutils.if_unlikely(builder, cgutils.is_null(builder, data)):
            builder.store(self.const(_NO_MEMORY, "i8"), self.status)
            builder.branch(self.exit)
        builder.store(data, place)
        ary = arrayobj.make_array(kind)(context, builder)
        typed = builder.bitcast(data, context.get_data_type(kind.dtype).as_pointer())
        arrayobj.populate_array(ary, typed, dims, strides, np.dtype(s.base.dt).itemsize, None)
        value = ary._getvalue()
        if s.base not in self.frames:
            with builder.goto_entry_block():
                self.frames[s.base] = kind, builder.alloca(value.type)
        builder.store(value, self.frames[s.base][1])

    def _free(self, place: Any) -> None:
        self._libc("free", ll.VoidType(), place)

    def _libc(self, name: str, result: Any, given: Any) -> Any:
        """A call of the system's: nothing counts who holds this memory."""
        function = ll.FunctionType(result, [given.type])
        return self.builder.call(cgutils.get_or_insert_function(self.builder.module, function, name), [given])

    def array(self, base: Base) -> _Array:
        """The memory of a base; where the function makes it, what it made last."""
        if base in self.frames:
            kind, frame = self.frames[base]
            return _Array(self.context, self.builder, kind, self.builder.load(frame))
        return self.arrays[base]

    def size(self, array: _Array) -> Any:
        n = array.shape[0]
        for d in array.shape[1:]:
            n = self.builder.mul(n, d)
        return n

    def _raise(self, s: Raise) -> None:
        self.leave(self.const(1 + s.site, "i8"))

    def _need(self, s: Need) -> None:
        short = self.builder.icmp_signed("<", self.size(self.array(s.base)), self.cast(s.size, "i8"))
        with cgutils.if_unlikely(self.builder, short):
            self.builder.store(self.const(NEED, "i8"), self.status)
            self.builder.branch(self.exit)

    def _call(self, s: Call) -> None:
        builder = self.builder
        kind = self.context.typing_context.resolve_value_type(self.module[s.fn])
        arrays = [self.array(a) if isinstance(a, Base) else None for a in s.args]
        kinds = [TYPES[a.dt] if array is None else array.kind for a, array in zip(s.args, arrays, strict=True)]  # type: ignore[union-attr]
        values = [self.atom(a) if array is None else array.value for a, array in zip(s.args, arrays, strict=True)]  # type: ignore[arg-type]
        result, value = self.called(kind, kinds, values)
        if isinstance(result, nb.BaseTuple):
            parts = cgutils.unpack_tuple(builder, value, len(result))
        else:
            parts = [] if result == nb.none else [value]
        if s.leaves:
            status, *parts = parts
            with cgutils.if_unlikely(builder, builder.icmp_signed("!=", status, self.const(OK, "i8"))):
                builder.store(status, self.status)
                builder.branch(self.exit)
        elif len(parts) > len(s.results):  # it has a status for others' sake
            parts = parts[1:]
        for v, part in zip(s.results, parts, strict=True):
            self.values[v] = part

    def _foreign(self, s: Foreign) -> None:
        """A call of code that fills arrays, and may not write what it reads."""
        kinds, values = [], []
        for a in s.args:
            if isinstance(a, Base):
                array = self.array(a)
                kinds.append(array.kind.copy(readonly=True))
                values.append(array.value)
            else:
                kinds.append(TYPES[a.dt])  # type: ignore[attr-defined]
                values.append(self.atom(a))  # type: ignore[arg-type]
        for _, base in s.outs:
            kinds.append(self.array(base).kind)
            values.append(self.array(base).value)
        self.called(self.context.typing_context.resolve_value_type(registered(s.key).compiled), kinds, values)

    def called(self, fn: Any, kinds: Sequence[Any], values: Sequence[Any]) -> tuple[Any, Any]:
        """The type and the value of a call of what Numba knows by this type or as this function."""
        context, builder = self.context, self.builder
        sig = fn.get_call_type(context.typing_context, tuple(kinds), {})
        impl = context.get_function(fn, sig)
        context.add_linking_libs(getattr(impl, "libs", ()))
        cast = [context.cast(builder, v, k, want) for v, k, want in zip(values, kinds, sig.args, strict=True)]
        return sig.return_type, impl(builder, cast)

    @contextmanager
    def _into(self, block: Any, then: Any) -> Iterator[None]:
        """Build a block that goes on at ``then``."""
        self.builder.position_at_end(block)
        yield
        self.builder.branch(then)

    def _if(self, s: If) -> None:
        builder = self.builder
        test = self.cast(s.test, "b1")
        if not s.then and not s.orelse:
            for v, a, b in s.phis:
                self.values[v] = builder.select(test, self.cast(a, v.dt), self.cast(b, v.dt))
            return
        then, orelse, end = (builder.append_basic_block(name) for name in ("then", "else", "endif"))
        builder.cbranch(test, then, orelse)
        for which, start, block in ((1, then, s.then), (2, orelse, s.orelse)):
            with self._into(start, end):
                self.block(block)
                self.together([(phi[0], phi[which]) for phi in s.phis])
        builder.position_at_end(end)
        self._settle(v for v, _, _ in s.phis)

    def _settle(self, variables: Iterator[Var]) -> None:
        """Variables that are not defined again become plain values."""
        for v in variables:
            if v in self.cells:
                self.values[v] = self.builder.load(self.cells.pop(v))

    def _for(self, s: For) -> None:
        if s.team is not None:
            share(self, s)
            return
        nest = products(s)
        if nest is None:
            self._loop(s)
        else:
            add_products(self, nest, self._loop)

    def _loop(self, s: For | While) -> None:
        builder = self.builder
        for (v, init), _ in zip(s.carries, s.results, strict=True):
            self.cells.pop(v, None)
            self.define(v, self.cast(init, v.dt))
        if s.trips is not None:
            self.define(s.trips, self.const(0, "i8"))
        head, body, end = (builder.append_basic_block(name) for name in ("loop", "body", "endloop"))
        if isinstance(s, For):
            self._counted(s, head, body, end)
        else:
            builder.branch(head)
            builder.position_at_end(head)
            self.block(s.head)
            builder.cbranch(self.cast(s.test, "b1"), body, end)
            builder.position_at_end(body)
            self._body(s, end)
            builder.branch(head)
        builder.position_at_end(end)
        for (v, _), r in zip(s.carries, s.results, strict=True):
            self.values[r] = builder.load(self.cells[v])
        if s.trips is not None:
            self._settle(iter((s.trips,)))

    def _counted(self, s: For, head: Any, body: Any, end: Any) -> None:
        """Iterations by number where the step is not 1 or -1, else by the variable itself, which vectorises better."""
        builder = self.builder
        lo, count, step = self.cast(s.lo, "i8"), self.cast(s.count, "i8"), self.cast(s.step, "i8")
        place = self.cell(nb.int64)
        self.free.update(free_sums(s))
        unit = isinstance(s.step, Const) and s.step.value in (1, -1)
        up = not unit or s.step.value == 1  # type: ignore[union-attr]
        first = lo if unit else self.const(0, "i8")
        last = (builder.add(lo, count) if up else builder.sub(lo, count)) if unit else count
        builder.store(first, place)
        builder.branch(head)
        builder.position_at_end(head)
        k = builder.load(place)
        builder.cbranch(builder.icmp_signed("<" if up else ">", k, last), body, end)
        builder.position_at_end(body)
        self.values[s.var] = k if unit else builder.add(lo, builder.mul(k, step))
        hint = self._hint(s)
        self._body(s, end)
        builder.store(builder.add(k, self.const(1 if up else -1, "i8"), flags=("nsw",)), place)
        _hinted(builder.branch(head), builder.module, hint)

    def _hint(self, s: For) -> list[Any]:
        """What LLVM had better not try with a loop of few iterations, such as one over the stages of a method: it takes long."""
        few = isinstance(s.count, Const) and s.count.value <= _FEW
        if few and isinstance(s.lo, Const) and s.lo.value <= _FEW and s.step == Const(1, "i8"):
            self.few.add(s.var)  # the count of others
        if not few and s.count not in self.few:
            return []
        return ["llvm.loop.unroll.disable"] if _loops(s.body) else ["llvm.loop.vectorize.width", ll.Constant(ll.IntType(32), 1)]

    def _body(self, s: For | While, end: Any) -> None:
        builder = self.builder
        self.block(s.body)
        if s.trips is not None:
            self.define(s.trips, builder.add(self.atom(s.trips), self.const(1, "i8")))
        stop = None if s.stop is None else self.cast(s.stop, "b1")  # before the carries change
        self.together([(v, y) for (v, _), y in zip(s.carries, s.yields, strict=True)])
        if stop is not None:
            go_on = builder.append_basic_block("next")
            builder.cbranch(stop, end, go_on)
            builder.position_at_end(go_on)


def _hinted(branch: Any, module: Any, hint: list[Any]) -> None:
    """Say of the loop that ends in a branch what is not to be done with it, if anything."""
    if hint:
        said = module.add_metadata(hint)
        loop = ll.MDValue(module, [said], str(len(module.metadata)))
        loop.operands = (loop, *loop.operands)  # which makes it one of its own
        branch.set_metadata("llvm.loop", loop)


def _wrapped(builder: Any, index: Any, length: Any) -> Any:
    """An index that counts from the end where it is negative."""
    negative = builder.icmp_signed("<", index, ll.Constant(index.type, 0))
    return builder.select(negative, builder.add(index, length), index)


_STATEMENTS: dict[type[Stmt], Callable[[_Builder, Any], None]] = {
    Let: _Builder.let, Dim: _Builder._dim, Load: _Builder._load, Store: _Builder._store, Alloc: _Builder._alloc,
    If: _Builder._if, For: _Builder._for, While: _Builder._loop, Call: _Builder._call, Foreign: _Builder._foreign,
    Raise: _Builder._raise, Need: _Builder._need,
}  # fmt: skip
