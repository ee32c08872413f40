"""``python -m benchmarks.run [names]``: check, then time, the named benchmarks; all of them without names."""

from __future__ import annotations

import argparse
import importlib

NAMES = ("tiny", "stencil", "wave", "kernels", "schedules", "first_gradient", "long_step", "memory", "odes")


def main(argv: list[str] | None = None) -> None:
    """Run the benchmarks one after the other."""
    parser = argparse.ArgumentParser(description="Time gradients beside hand-written adjoints of the same steps.")
    parser.add_argument("names", nargs="*", help=f"any of {', '.join(NAMES)}")
    names = parser.parse_args(argv).names or NAMES
    unknown = sorted(set(names) - set(NAMES))
    if unknown:
        parser.error(f"no benchmark {', '.join(unknown)}; there are {', '.join(NAMES)}")
    for name in names:
        module = importlib.import_module(f"benchmarks.{name}")
        module.check()
        module.main()


if __name__ == "__main__":
    main()
