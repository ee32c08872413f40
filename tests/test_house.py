"""The rooms of the package and who may know whom: no upward import, no cycles, files that can be read at a sitting."""

from __future__ import annotations

import ast
import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest
from heavy import HEAVY, THIRDS

import adjointsim as adj

PACKAGE = Path(adj.__file__).parent
DOCS = Path(__file__).parent.parent / "docs"

#: from the ground up; a room may import from rooms below it, and from itself
FLOORS = [
    ["errors", "heap"],
    ["schedules"],
    ["rows"],
    ["derive"],
    ["leaves", "random"],
    ["forms"],
    ["kernels", "custom"],
    ["step", "ledger", "selection", "progress", "jacobians"],
    ["results", "storage"],
    ["executor"],
    ["costs", "kit", "lanes", "nonfinite", "replay"],
    ["python_engine", "engine", "tangent"],
    ["sweep"],
    ["calibration"],
    ["call"],
    ["resume"],
    ["at_once"],
    ["observed", "second", "gaussnewton"],
    ["simulation", "functions"],
    ["implicit"],
    ["ode"],
    ["fitting", "interop"],
    ["differences"],
    ["testing", "plot", "cli"],
    ["__main__"],
    [""],  # the package's own __init__
]
FLOOR = {room: k for k, rooms in enumerate(FLOORS) for room in rooms}

#: rooms that are entered late, inside a function, because they bring Numba or the whole deriver: (who, what)
LATE = {
    ("", "*"),
    ("kernels", "derive.api"),
    ("sweep", "engine"),
    ("sweep", "python_engine"),
    ("testing", "functions"),
    ("at_once", "engine"),
}


def room(module: str) -> str:
    return module.partition(".")[0]


def modules():
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        yield path, ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(path: Path, module: str):
    """(imported module without the package's name, line, whether inside a function) for imports that run."""
    is_package = path.name == "__init__.py"

    def visit(node, late):
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
                continue
            inside = late or isinstance(child, (ast.FunctionDef, ast.Lambda))
            if isinstance(child, ast.Import):
                yield from ((a.name, child.lineno, late) for a in child.names)
            elif isinstance(child, ast.ImportFrom):
                base = child.module or ""
                if child.level:
                    parts = ["adjointsim", *filter(None, module.split("."))]
                    parts = parts[: len(parts) - child.level + is_package]
                    base = ".".join([*parts, *([child.module] if child.module else [])])
                for alias in child.names:
                    inner = PACKAGE.parent.joinpath(*base.split("."), alias.name)
                    found = inner.with_suffix(".py").exists() or (inner / "__init__.py").exists()
                    yield (f"{base}.{alias.name}" if found and base.startswith("adjointsim") else base), child.lineno, late
            yield from visit(child, inside)

    for name, line, late in visit(ast.parse(path.read_text(encoding="utf-8")), False):
        if name.split(".")[0] == "adjointsim":
            yield name.removeprefix("adjointsim").removeprefix("."), line, late


def test_every_room_has_a_floor():
    missing = {room(module) for _, module in modules()} - FLOOR.keys()
    assert not missing, f"give these rooms a floor in {Path(__file__).name}: {missing}"


def test_no_import_goes_up():
    wrong = []
    for path, module in modules():
        for name, line, late in imports(path, module):
            here, there = room(module), room(name)
            if here == there or (here == "" and not late and there == "step"):
                continue
            if FLOOR[there] >= FLOOR[here]:
                wrong.append(f"{path.relative_to(PACKAGE)}:{line}: {here} imports {there}")
            elif late and (here, name) not in LATE and (here, there) not in LATE and (here, "*") not in LATE:
                wrong.append(f"{path.relative_to(PACKAGE)}:{line}: {here} imports {name} inside a function")
    assert not wrong, "\n".join(wrong)


def test_schedules_know_neither_models_nor_arrays_of_states():
    for path, module in modules():
        if room(module) == "schedules":
            assert {room(name) for name, _, _ in imports(path, module)} <= {"errors", "schedules"}


@pytest.mark.parametrize("path", [p for p, _ in modules()], ids=lambda p: str(p.relative_to(PACKAGE)))
def test_files_stay_readable(path):
    text = path.read_text(encoding="utf-8")
    lines = text.splitlines()
    assert len(lines) <= 600, "split it: about 400 lines are enough"
    assert not lines or ast.get_docstring(ast.parse(text)), "say in a docstring what this file is"


def test_the_rules_page_is_what_the_table_says():
    spec = importlib.util.spec_from_file_location("make_rules", DOCS / "make_rules.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    page = (DOCS / "rules.md").read_text(encoding="utf-8")
    assert page == module.text(), "run python docs/make_rules.py"


def test_importing_the_package_does_not_wait_for_numba():
    code = "import sys, adjointsim; assert callable(adjointsim.step); sys.exit('numba' in sys.modules or 'scipy' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=PACKAGE.parent)


def test_exports_are_what_they_say():
    for name in adj.__all__:
        assert getattr(adj, name) is not None
        assert name in dir(adj)
    assert callable(adj.step) and not isinstance(adj.step, type(sys))
    assert adj.step is sys.modules["adjointsim.step"].step
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        adj.nothing


def test_the_heavy_tests_are_tests():
    """A name that no test has would leave a heavy test in the sample."""
    tests = Path(__file__).parent
    for file, names in HEAVY.items():
        text = (tests / file).read_text()
        assert [name for name in names if f"def {name.split('[')[0]}(" not in text] == [], file
    everything = "".join(path.read_text() for path in tests.rglob("test_*.py"))
    assert [name for name in THIRDS if f"def {name}(" not in everything] == []
