"""Generated code is kept on disk and never stale: two processes in every test of the disk, edits and rebinding in one.

A program is a folder with ``model.py``, which defines ``f`` and its sample arguments ``ARGS``, and ``helpers.py``.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from adjointsim.derive import api, module, sealed
from adjointsim.errors import SourceUnavailableError, StructureError
from adjointsim.leaves import spec_of

ROOT = Path(__file__).parents[2]

HELPERS = """\
def gain(x):
    return 3.0 * x * x
"""
MODEL = """\
import math

import helpers

ARGS = (0.5,)


def f(x):
    return math.sin(x) + helpers.gain(x)
"""
#: what a process does: the gradient of f, and how often Numba found compiled code on the disk
RUN = """\
import json, sys
sys.path.insert(0, sys.argv[1])
import numpy as np
import model
from adjointsim.derive import api
from adjointsim.leaves import flatten, spec_of

specs = [spec_of(a, "x") for a in model.ARGS]
leaves = [leaf for a, s in zip(model.ARGS, specs) for leaf in flatten(a, s, "x")]
kernel = api.function_kernel(model.f, specs)
value = kernel.value(leaves)[0][0]
slope = kernel.vjp(leaves, [np.ones(1)])[0][0]
stats = [c.function.stats for c in (kernel._primal, kernel._vjp)]
print(json.dumps({
    "value": value, "slope": slope,
    "hits": sum(sum(s.cache_hits.values()) for s in stats), "misses": sum(sum(s.cache_misses.values()) for s in stats),
}))
"""


@pytest.fixture(scope="module")
def warm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a program that has been run once."""
    folder = tmp_path_factory.mktemp("warm")
    (folder / "model.py").write_text(MODEL)
    (folder / "helpers.py").write_text(HELPERS)
    first = start(folder)
    assert first["slope"] == pytest.approx(slope(0.5), rel=1e-15)
    assert (first["hits"], first["misses"]) == (0, 2)
    return folder


@pytest.fixture
def program(warm: Path, tmp_path: Path) -> Path:
    """A copy of it, cache included."""
    return shutil.copytree(warm, tmp_path / "program")


def start(program: Path, cache: str | Path = "cache", run: str = RUN) -> dict[str, Any]:
    """Run the program in a process of its own, in the cache folder ``cache`` of it."""
    env = {**os.environ, "ADJOINTSIM_CACHE_DIR": str(program / cache), "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run([sys.executable, "-c", run, str(program)], env=env, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def files(program: Path) -> dict[str, int]:
    """The files of the cache and their times of writing."""
    return {str(p.relative_to(program)): p.stat().st_mtime_ns for p in (program / "cache").rglob("*") if p.is_file()}


def slope(x: float, factor: float = 3.0) -> float:
    return float(np.cos(x) + 2.0 * factor * x)


# ---------------------------------------------------------------------------------------------------------- two processes
def test_the_second_process_compiles_nothing(program):
    before = files(program)
    second = start(program)
    assert second["slope"] == pytest.approx(slope(0.5), rel=1e-15)
    assert (second["hits"], second["misses"]) == (2, 0)
    assert files(program) == before


def test_an_edited_helper_in_another_module(program):
    (program / "helpers.py").write_text(HELPERS.replace("3.0", "4.0"))
    edited = start(program)
    assert edited["slope"] == pytest.approx(slope(0.5, 4.0), rel=1e-15)
    assert edited["misses"] == 2
    (program / "helpers.py").write_text(HELPERS)
    again = start(program)
    assert again["slope"] == pytest.approx(slope(0.5), rel=1e-15)
    assert again["misses"] == 0


#: a helper that is a function of its own: it is long, and called three times
LONG = "def gain(x):\n    y = x\n" + 40 * "    y = y * 1.25 + x\n" + "    return 3.0 * x * x + y - y\n"


def test_a_helper_that_is_a_function_of_its_own(program):
    """Kept on the disk with what calls it, and made again when it is edited."""
    (program / "model.py").write_text(MODEL.replace("helpers.gain(x)", "helpers.gain(x) + helpers.gain(x) - helpers.gain(x)"))
    (program / "helpers.py").write_text(LONG)
    assert start(program)["slope"] == pytest.approx(slope(0.5), rel=1e-14)
    assert any("f_gain_rev = native(" in p.read_text() for p in (program / "cache").glob("*.py"))
    second = start(program)
    assert second["slope"] == pytest.approx(slope(0.5), rel=1e-14)
    assert (second["hits"], second["misses"]) == (2, 0)
    (program / "helpers.py").write_text(LONG.replace("3.0", "4.0"))
    edited = start(program)
    assert edited["slope"] == pytest.approx(slope(0.5, 4.0), rel=1e-14)
    assert edited["misses"] == 2


def shorten(content: bytes) -> bytes:
    return content[: len(content) // 2]


def empty(content: bytes) -> bytes:
    return b""


def flip(content: bytes) -> bytes:
    """One bit, far inside: in a file of code, in the machine's instructions."""
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 4]) + content[middle + 1 :]


def damage(program: Path, suffix: str, how: Callable[[bytes], bytes], name: str = "") -> None:
    """Damage the files of a kind; with ``name``, those of one function."""
    damaged = [p for p in (program / "cache").rglob("*") if p.suffix == suffix and (not name or f".{name}" in p.name)]
    assert damaged
    for path in damaged:
        path.write_bytes(how(path.read_bytes()))


@pytest.mark.parametrize("how", [shorten, empty, flip])
@pytest.mark.parametrize("what", ["text", "code"])
def test_damaged_files(program, what, how):
    """A damaged file costs a compilation, no more, and only once: the text, or the index of f's code and f_vjp's code."""
    if what == "text":
        damage(program, ".py", how)
    else:
        damage(program, ".nbi", how, "f-")
        damage(program, ".nbc", how, "f_vjp-")
    repaired = start(program)
    assert repaired["slope"] == pytest.approx(slope(0.5), rel=1e-15)
    assert what == "text" or repaired["misses"] == 2
    assert start(program)["misses"] == 0


def test_processes_that_meet_a_damaged_cache_at_once(program):
    for suffix in (".nbi", ".nbc"):
        damage(program, suffix, shorten)
    with ThreadPoolExecutor(3) as pool:
        for found in pool.map(start, [program] * 3):
            assert found["slope"] == pytest.approx(slope(0.5), rel=1e-15)
    assert start(program)["misses"] == 0


def test_code_is_loaded_for_its_own_signature_only(tmp_path):
    """Two processes that save at once may both choose one file's name: the later code is under both keys then."""
    files = sealed._SealedFiles(str(tmp_path), "f", "stamp")
    files.save("float", "code for a float")
    assert files.load("float") == "code for a float"
    files._save_index({"float": "f.1.nbc", "array": "f.1.nbc"})
    assert files.load("array") is None
    files.save("array", "code for an array")
    assert (files.load("array"), files.load("float")) == ("code for an array", None)
    files.save("float", "code for a float")
    assert sealed._SealedFiles(str(tmp_path), "f", "another stamp").load("float") is None


def test_a_full_disk(model, monkeypatch):
    """Code that cannot be kept is used all the same."""

    def full(self, path, content):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(sealed._SealedFiles, "_write", full)
    assert gradient(model.g) == pytest.approx(3.0)


def test_a_folder_that_cannot_be_written(program):
    (program / "file").write_text("")
    assert start(program, "file/cache")["slope"] == pytest.approx(slope(0.5), rel=1e-15)


# ------------------------------------------------------------------------------------------------------------ one process
CAPTURES = """\
import numpy as np

GAIN = 2.0
WEIGHTS = np.array([1.0, 2.0])
PAIR = (1.0, 2)


def helper(x):
    return x * x


def cube(x):
    return x * x * x


def f(x):
    return GAIN * x * x + WEIGHTS[1] * x + PAIR[0] * PAIR[1] + 0.0 * helper(x)


def g(x):
    return helper(x) * 3.0


def make(rate):
    def inner(x):
        return rate * x * x

    def change(new):
        nonlocal rate
        rate = new

    return inner, change
"""


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A module made of CAPTURES, and a cache folder of its own."""
    monkeypatch.setenv("ADJOINTSIM_CACHE_DIR", str(tmp_path / "cache"))
    path = tmp_path / "captures.py"
    path.write_text(CAPTURES)
    spec = importlib.util.spec_from_file_location("captures", path)
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


def gradient(fn, x: float = 0.5) -> float:
    """What a run does: ask for the kernel of the function as it is now, and call it."""
    kernel = api.function_kernel(fn, [spec_of(x, "x")])
    return kernel.vjp([np.array([x])], [np.ones(1)])[0][0]


def generated() -> set[str]:
    return {name for name in sys.modules if name.startswith("adjointsim_")}


def test_changed_captures_are_inputs(model):
    assert gradient(model.f) == pytest.approx(2 * 2.0 * 0.5 + 2.0)
    kernel, before = api.function_kernel(model.f, [spec_of(0.5, "x")]), generated()
    model.GAIN = 5.0
    assert gradient(model.f) == pytest.approx(2 * 5.0 * 0.5 + 2.0)
    model.WEIGHTS[1] = 7.0  # changed in place
    assert gradient(model.f) == pytest.approx(2 * 5.0 * 0.5 + 7.0)
    model.WEIGHTS = np.array([0.0, -1.0, 4.0])  # another array, of another length
    assert gradient(model.f) == pytest.approx(2 * 5.0 * 0.5 - 1.0)
    assert generated() == before
    assert api.function_kernel(model.f, [spec_of(0.5, "x")]) is kernel
    assert len(kernel._vjp.function.signatures) == 1


def test_a_captured_value_changes(model):
    """The value, not only the gradient, is that of the numbers now."""
    kernel = api.function_kernel(model.f, [spec_of(0.5, "x")])
    assert kernel.value([np.array([0.5])])[0][0] == pytest.approx(model.f(0.5))
    model.PAIR = (3.0, 4)
    assert kernel.value([np.array([0.5])])[0][0] == pytest.approx(model.f(0.5))


def test_a_closure_changes(model):
    inner, change = model.make(2.0)
    assert gradient(inner) == pytest.approx(2.0)
    before = generated()
    change(3.0)
    assert gradient(inner) == pytest.approx(3.0)
    other, _ = model.make(4.0)
    assert (gradient(other), gradient(inner)) == pytest.approx((4.0, 3.0))
    assert generated() == before, "two closures of one code share it"


@pytest.mark.parametrize("gain", [3, np.float32(3.0), True])
def test_a_capture_changes_its_type(model, gain):
    assert gradient(model.f) == pytest.approx(4.0)
    kernel = api.function_kernel(model.f, [spec_of(0.5, "x")])
    model.GAIN = gain
    assert gradient(model.f) == pytest.approx(2 * float(gain) * 0.5 + 2.0)
    assert api.function_kernel(model.f, [spec_of(0.5, "x")]) is not kernel


@pytest.mark.parametrize("weights", [np.array([1, 2]), np.array([1.0, 2.0], np.float32), np.ones((2, 2))])
def test_a_kernel_in_hand_does_not_guess(model, weights):
    """function_kernel would derive again; a kernel that is kept and called refuses."""
    kernel = api.function_kernel(model.f, [spec_of(0.5, "x")])
    model.WEIGHTS = weights
    with pytest.raises(StructureError, match="'WEIGHTS', captured by f .* has become"):
        kernel.vjp([np.array([0.5])], [np.ones(1)])


def test_a_capture_disappears(model):
    gradient(model.f)
    del model.GAIN
    with pytest.raises((NameError, SourceUnavailableError, SyntaxError), match="GAIN"):
        gradient(model.f)


def test_a_helper_is_another_function(model):
    assert gradient(model.g) == pytest.approx(3.0)
    model.helper = model.cube
    assert gradient(model.g) == pytest.approx(3.0 * 3.0 * 0.25)


def test_a_file_edited_after_it_was_imported(model):
    path = Path(model.__file__)
    assert gradient(model.f) == pytest.approx(4.0)
    path.write_text(CAPTURES.replace("GAIN * x * x", "GAIN * x * x * x"))
    with pytest.raises(SourceUnavailableError, match="edited after it was imported") as caught:
        api.function_kernel(model.f, [spec_of(np.float32(0.5), "x")])
    assert caught.value.filename == str(path)
    path.write_text("# a comment\n" + CAPTURES)
    with pytest.raises(SourceUnavailableError):
        api.function_kernel(model.f, [spec_of(np.float32(0.5), "x")])


def test_equal_text_is_one_module(model):
    text = api.function_kernel(model.g, [spec_of(0.5, "x")]).source("vjp")
    assert module.module_name(text) == module.module_name(text)
    assert module.module_name(text) != module.module_name(text + "# another\n")


# ------------------------------------------------------------------------------------------------------ long programs
#: a function that is long enough to be kept in the IR, with a captured number and a helper in it
LONG_MODEL = (
    "import math, os\n\nimport helpers\n\nARGS = (0.5,)\n"
    "RATE = float(os.environ.get('RATE', '2.0'))\n"
    "if 'KIND' in os.environ:\n    RATE = int(RATE)\n\n\n"
    "def f(x):\n    y = x\n"
    + 150 * "    y = math.sin(y) + RATE * x\n"
    + "    return y - y + RATE * (math.sin(x) + helpers.gain(x)) / 2.0\n"
)
#: as RUN, and what passes over the IR ran
DERIVING = """\
from adjointsim.derive import api
ran = []
for name in ("primal_kernel", "vjp_kernel"):
    def passes(*args, made=getattr(api, name), name=name, **options):
        ran.append(name)
        return made(*args, **options)
    setattr(api, name, passes)
""" + RUN.replace('"misses":', '"ran": len(ran), "text": kernel.source(), "misses":')


@pytest.fixture(scope="module")
def long_and_warm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("long")
    (folder / "model.py").write_text(LONG_MODEL)
    (folder / "helpers.py").write_text(HELPERS)
    first = start(folder, run=DERIVING)
    assert first["slope"] == pytest.approx(slope(0.5), rel=1e-13)
    assert (first["ran"], first["misses"]) == (2, 2)
    return folder


@pytest.fixture
def long(long_and_warm: Path, tmp_path: Path) -> Path:
    return shutil.copytree(long_and_warm, tmp_path / "program")


def test_a_long_program_is_not_derived_again(long):
    first = start(long, "another", run=DERIVING)
    before = files(long)
    second = start(long, run=DERIVING)
    assert (second["ran"], second["misses"]) == (0, 0)
    assert (second["slope"], second["value"], second["text"]) == (first["slope"], first["value"], first["text"])
    assert files(long) == before


@pytest.mark.parametrize(
    ("file", "old", "new", "factor"),
    [
        ("helpers.py", "3.0", "4.0", 4.0),
        ("model.py", "y - y", "y - 1.0 * y", 3.0),
        ("model.py", " / 2.0", " / 2.0  # the same", 3.0),
    ],
)
def test_another_program_is_derived(long, file, old, new, factor):
    path = long / file
    text = path.read_text()
    path.write_text(text.replace(old, new))
    edited = start(long, run=DERIVING)
    assert edited["slope"] == pytest.approx(slope(0.5, factor), rel=1e-13)
    assert edited["ran"] == 2
    assert file == "helpers.py" or new in edited["text"]
    path.write_text(text)
    assert start(long, run=DERIVING)["ran"] == 0


def test_a_captured_number_of_another_value(long, monkeypatch):
    """It is an input of the program, which is the same."""
    monkeypatch.setenv("RATE", "5.0")
    found = start(long, run=DERIVING)
    assert found["slope"] == pytest.approx(2.5 * slope(0.5), rel=1e-13)
    assert found["ran"] == 0
    monkeypatch.setenv("KIND", "int")
    found = start(long, run=DERIVING)
    assert found["slope"] == pytest.approx(2.5 * slope(0.5), rel=1e-13)
    assert found["ran"] == 2


@pytest.mark.parametrize("how", [shorten, empty, flip])
def test_damaged_programs(long, how):
    damage(long, ".ir", how)
    repaired = start(long, run=DERIVING)
    assert repaired["slope"] == pytest.approx(slope(0.5), rel=1e-13)
    assert (repaired["ran"], repaired["misses"]) == (2, 0)
    assert start(long, run=DERIVING)["ran"] == 0


def test_compiled_code_of_a_program_from_the_disk_is_damaged(long):
    """The program is built again from what was read."""
    damage(long, ".nbc", flip)
    repaired = start(long, run=DERIVING)
    assert repaired["slope"] == pytest.approx(slope(0.5), rel=1e-13)
    assert (repaired["ran"], repaired["misses"]) == (0, 2)


LONG_STEP = (
    "import math\n\nimport adjointsim as adj\n\n\n@adj.step\ndef step(n, y, p):\n    x = y\n"
    + 150 * "    x = math.sin(x) + p * y\n"
    + "    if n == 3:\n        raise ValueError('no such step')\n"
    + "    return 0.5 * y + x - x\n"
)
SWEEPING = """\
import json, sys, traceback
sys.path.insert(0, sys.argv[1])
import adjointsim as adj
from adjointsim.derive import model as kernels
from model import step
ran = []
for name in ("primal_kernel", "vjp_kernel"):
    def passes(*args, made=getattr(kernels, name), name=name, **options):
        ran.append(name)
        return made(*args, **options)
    setattr(kernels, name, passes)
value, grad = adj.Simulation(step, 3, terminal=lambda y, p: y * p).value_and_grad(2.0, 3.0)
try:
    adj.Simulation(step, 4, terminal=lambda y, p: y * p).value_and_grad(2.0, 3.0)
except ValueError as e:
    error = str(e), e.__notes__
print(json.dumps({"value": value, "grad": [grad.y0, grad.p], "ran": len(ran), "error": error}))
"""


def test_a_long_step(tmp_path):
    (tmp_path / "model.py").write_text(LONG_STEP)
    (tmp_path / "run.py").write_text(SWEEPING)
    run = "import runpy, sys; runpy.run_path(sys.argv[1] + '/run.py')"
    first, second = start(tmp_path, run=run), start(tmp_path, run=run)
    assert first["ran"] and not second["ran"]
    assert {**first, "ran": 0} == second
    assert second["value"] == pytest.approx(0.75)
    assert second["grad"] == pytest.approx([0.375, 0.25])
    assert second["error"][0] == "no such step" and "line 160" in second["error"][1][0]


SUMS = """
import numpy as np, sys
import adjointsim as adj

@adj.step
def heat(n, u, kappa):
    out = u.copy()
    for i in range(1, len(u) - 1):
        out[i] = u[i] + kappa * (u[i - 1] - 2.0 * u[i] + u[i + 1])
    return out

sim = adj.Simulation(heat, 200, terminal=lambda u, kappa: u[50])
_, grad = sim.value_and_grad(np.sin(np.linspace(0.0, np.pi, 101)), 0.25)
print(float(grad.p).hex())
"""


def test_sums_have_the_same_bits_in_the_process_that_compiles_and_in_those_that_load(tmp_path):
    """Their order is LLVM's: the code that runs must be the code that is kept."""
    program = tmp_path / "sums.py"
    program.write_text(SUMS)
    env = {**os.environ, "ADJOINTSIM_CACHE_DIR": str(tmp_path / "cache"), "NUMBA_CACHE_DIR": str(tmp_path / "numba")}
    runs = [subprocess.run([sys.executable, program], env=env, capture_output=True, text=True, check=True) for _ in range(3)]
    assert len({run.stdout for run in runs}) == 1 and runs[0].stdout
