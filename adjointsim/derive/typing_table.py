"""The result types of the scalar operations, as Numba infers them.

Data, written by ``python tests/derive/test_typing.py`` and compared with the installed Numba by that test.  An entry is the
operations that share it and their result for every dtype of the argument, or of two arguments row by row, in the order of
:data:`DTYPES`; ``--`` is a refusal.  A literal integer and the condition of ``select`` are not counted as arguments.
"""

from __future__ import annotations

DTYPES = ("b1", "i4", "i8", "u8", "f4", "f8")

# fmt: off
_TABLE = (
    (
        "add sub mul floordiv mod",
        "i8 i8 i8 i8 f4 f8  i8 i8 i8 i8 f8 f8  i8 i8 i8 i8 f8 f8 "
        "i8 i8 i8 u8 f8 f8  f4 f8 f8 f8 f4 f8  f8 f8 f8 f8 f8 f8",
    ),
    (
        "div fpow hypot atan2",
        "f8 f8 f8 f8 f4 f8  f8 f8 f8 f8 f8 f8  f8 f8 f8 f8 f8 f8 "
        "f8 f8 f8 f8 f8 f8  f4 f8 f8 f8 f4 f8  f8 f8 f8 f8 f8 f8",
    ),
    (
        "neg pos",
        "i8 i8 i8 u8 f4 f8",
    ),
    (
        "fmod",
        "-- i4 i8 u8 f4 f8  i4 i4 i8 f8 f4 f8  i8 i8 i8 f8 f4 f8 "
        "u8 f8 f8 u8 f4 f8  f4 f4 f4 f4 f4 f8  f8 f8 f8 f8 f8 f8",
    ),
    (
        "pow",
        "i8 f4 i8 i8 f4 f8  i8 i8 i8 i8 f8 f8  i8 i8 i8 i8 f8 f8 "
        "i8 i8 i8 u8 f8 f8  f4 f4 f4 f4 f4 f8  f8 f8 f8 f8 f8 f8",
    ),
    (
        "powi",
        "i8 i8 i8 i8 f4 f8",
    ),
    (
        "square reciprocal sign abs",
        "-- i4 i8 u8 f4 f8",
    ),
    (
        "select min2 max2",
        "b1 i4 i8 u8 f4 f8  i4 i4 i8 f8 f8 f8  i8 i8 i8 f8 f8 f8 "
        "u8 f8 f8 u8 f8 f8  f4 f8 f8 f8 f4 f8  f8 f8 f8 f8 f8 f8",
    ),
    (
        "mulz",
        "i8 i8 i8 i8 f4 f8  i8 i8 i8 i8 f8 f8  i8 i8 i8 i8 f8 f8 "
        "f8 f8 f8 u8 f8 f8  f4 f8 f8 f8 f4 f8  f8 f8 f8 f8 f8 f8",
    ),
    (
        "lt le gt ge eq ne",
        "b1 b1 b1 b1 b1 b1  b1 b1 b1 b1 b1 b1  b1 b1 b1 b1 b1 b1 "
        "b1 b1 b1 b1 b1 b1  b1 b1 b1 b1 b1 b1  b1 b1 b1 b1 b1 b1",
    ),
    (
        "land lor lxor band bor bxor",
        "b1 i8 i8 i8 -- --  i8 i8 i8 i8 -- --  i8 i8 i8 i8 -- -- "
        "i8 i8 i8 u8 -- --  -- -- -- -- -- --  -- -- -- -- -- --",
    ),
    (
        "lnot isnan isinf isfinite",
        "b1 b1 b1 b1 b1 b1",
    ),
    (
        "invert",
        "b1 i8 i8 u8 -- --",
    ),
    (
        "lshift rshift",
        "i8 i8 i8 i8 -- --  i8 i8 i8 i8 -- --  i8 i8 i8 i8 -- -- "
        "u8 u8 u8 u8 -- --  -- -- -- -- -- --  -- -- -- -- -- --",
    ),
    (
        "floor ceil trunc",
        "b1 i4 i8 u8 f4 f8",
    ),
    (
        "rint roundn cbrt exp2",
        "f4 f8 f8 f8 f4 f8",
    ),
    (
        "around",
        "-- i8 i8 f8 f8 f8",
    ),
    (
        "ifloor iceil itrunc",
        "i8 i8 i8 u8 i8 i8",
    ),
    (
        "round_",
        "i8 i8 i8 i8 i8 i8",
    ),
    (
        "fabs sqrt exp expm1 log log1p log2 log10 sin cos tan asin acos atan sinh cosh tanh asinh acosh atanh degrees "
        "radians erf erfc gamma lgamma",
        "f8 f8 f8 f8 f4 f8",
    ),
    (
        "copysign",
        "f4 f8 f8 f8 f4 f8  f8 f8 f8 f8 f8 f8  f8 f8 f8 f8 f8 f8 "
        "f8 f8 f8 f8 f8 f8  f4 f8 f8 f8 f4 f8  f8 f8 f8 f8 f8 f8",
    ),
    (
        "minimum maximum fmin fmax",
        "b1 i4 i8 u8 f4 f8  i4 i4 i8 f8 f4 f8  i8 i8 i8 f8 f4 f8 "
        "u8 f8 f8 u8 f4 f8  f4 f4 f4 f4 f4 f8  f8 f8 f8 f8 f8 f8",
    ),
    (
        "logaddexp logaddexp2",
        "f4 f8 f8 f8 f4 f8  f8 f8 f8 f8 f4 f8  f8 f8 f8 f8 f4 f8 "
        "f8 f8 f8 f8 f4 f8  f4 f4 f4 f4 f4 f8  f8 f8 f8 f8 f8 f8",
    ),
    (
        "polygamma",
        "f8 f8 f8 f8 f8 f8",
    ),
)
# fmt: on

#: operation -> the dtypes of its results, "" for a refusal
RESULTS: dict[str, tuple[str, ...]] = {
    name: tuple("" if dt == "--" else dt for dt in results.split()) for names, results in _TABLE for name in names.split()
}
