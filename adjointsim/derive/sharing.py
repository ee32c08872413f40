"""A loop that threads share, as a function of its own: what it needs is laid out in memory, where all of them find it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from llvmlite import ir as ll
from numba.core import cgutils
from numba.core import types as nb

from .ir import Base, For, Var, bases_of, free_vars, walk
from .team import body_type, run

if TYPE_CHECKING:
    from .native import _Builder

__all__ = ["share"]

_BEGIN, _COUNT = Var("iterations.begin", "i8"), Var("iterations.count", "i8")


def share(outer: _Builder, s: For) -> None:
    """Have the iterations of a loop run by the team whose memory the function has."""
    assert s.team is not None
    context, builder = outer.context, outer.builder
    team, work = s.team
    alone = replace(s, team=None)
    variables = list(free_vars((alone,)))
    bases = list(dict.fromkeys(b for x in walk((alone,)) for b in bases_of(x)))
    arrays = [outer.array(b) for b in bases]
    values = [*(outer.atom(v) for v in variables), *(array.value for array in arrays)]
    kind = ll.LiteralStructType([v.type for v in values])
    with builder.goto_entry_block():
        place = builder.alloca(kind)
    for k, value in enumerate(values):
        builder.store(value, cgutils.gep_inbounds(builder, place, 0, k))

    function = _function(outer, alone, kind, variables, [(b, a.kind) for b, a in zip(bases, arrays, strict=True)])
    word = ll.IntType(64)
    given = outer.array(team)
    numbers = [builder.ptrtoint(function, word), builder.ptrtoint(place, word), outer.cast(s.count, "i8"), outer.cast(work, "i8")]
    outer.called(context.typing_context.resolve_value_type(run), [given.kind, *[nb.int64] * 4], [given.value, *numbers])


def _function(outer: _Builder, s: For, kind: Any, variables: list[Var], bases: list[tuple[Base, Any]]) -> Any:
    """The function of a loop: some of its iterations, with what is laid out for all of them."""
    module, convention = outer.builder.module, outer.context.call_conv
    name = module.get_unique_name(f"{outer.program.fn.name}.shared")
    arguments = [nb.int64] * 3
    inner = ll.Function(module, convention.get_function_type(nb.none, arguments), name)
    inner.linkage = "internal"
    inner.attributes.add("noinline")
    convention.decorate_function(inner, ["needs", "begin", "end"], arguments)
    builder = ll.IRBuilder(inner.append_basic_block("entry"))
    convention.init_call_helper(builder)
    needs, begin, end = convention.decode_arguments(builder, arguments, inner)
    place = builder.inttoptr(needs, kind.as_pointer())
    found = [builder.load(cgutils.gep_inbounds(builder, place, 0, k)) for k in range(len(kind.elements))]
    values = dict(zip(variables, found, strict=False))
    arrays = {b: (k, value) for (b, k), value in zip(bases, found[len(variables) :], strict=True)}
    part = outer.elsewhere(builder, values, arrays)
    step = part.cast(s.step, "i8")
    part.values[_BEGIN] = builder.add(part.cast(s.lo, "i8"), builder.mul(step, begin))
    part.values[_COUNT] = builder.sub(end, begin)
    part.block((replace(s, lo=_BEGIN, count=_COUNT),))
    convention.return_value(builder, outer.context.get_dummy_value())

    plain = ll.Function(module, body_type(), module.get_unique_name(f"{name}.plain"))
    plain.linkage = "internal"
    builder = ll.IRBuilder(plain.append_basic_block("entry"))
    convention.call_function(builder, inner, nb.none, arguments, list(plain.args))
    builder.ret_void()
    return plain
