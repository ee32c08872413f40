"""Complex fields and FFTs: the pulse to launch into an optical fibre so that a given one comes out.

The nonlinear Schroedinger equation i psi_x = -(beta / 2) psi_tt - gamma |psi|^2 psi, by the split-step Fourier method: half a
step of dispersion, which is a factor for each frequency, a whole one of nonlinearity, half a one of dispersion.  The FFT is
compiled code that the library does not look into (rocket-fft, the extra ``fft``); ``adj.custom_vjp`` says what its adjoint is:
the inverse one, scaled.  L-BFGS finds the complex field at the entrance, 128 numbers, from the gradient through all steps.

    pip install '.[fft,plot]' && python examples/split_step.py [--steps 200] [--output split_step.png]
"""

from __future__ import annotations

import argparse
from typing import NamedTuple

import numpy as np
from scipy.optimize import minimize

import adjointsim as adj

try:
    import rocket_fft  # noqa: F401  teaches Numba np.fft
except ImportError:
    raise adj.errors.MissingExtraError("rocket-fft", "fft") from None

POINTS, WINDOW = 128, 20.0  # of time, in units of the pulse's width
BETA, GAMMA, LENGTH = 1.0, 1.5, 2.0


@adj.custom_vjp
def fft(z):
    """The discrete Fourier transform F z."""
    return np.fft.fft(z)


@adj.custom_vjp
def ifft(z):
    """Its inverse, F^H z / n."""
    return np.fft.ifft(z)


@fft.defvjp
def fft_vjp(out, out_bar, z):
    """z_bar = F^H out_bar = n * ifft(out_bar)."""
    return (np.fft.ifft(out_bar) * len(z),)


@ifft.defvjp
def ifft_vjp(out, out_bar, z):
    """z_bar = (F^H / n)^H out_bar = fft(out_bar) / n."""
    return (np.fft.fft(out_bar) / len(z),)


@fft.defjvp
def fft_jvp(out, args, args_dot):
    """It is linear."""
    return np.fft.fft(args_dot[0])


@ifft.defjvp
def ifft_jvp(out, args, args_dot):
    """It is linear."""
    return np.fft.ifft(args_dot[0])


class Fibre(NamedTuple):
    """The factor of half a step of dispersion for each frequency, and the strength of a step of nonlinearity."""

    dispersion: np.ndarray
    kick: float


def fibre(steps: int) -> Fibre:
    """The fibre in so many steps."""
    omega = 2.0 * np.pi * np.fft.fftfreq(POINTS, WINDOW / POINTS)
    dx = LENGTH / steps
    return Fibre(np.exp(-0.25j * BETA * omega**2 * dx), GAMMA * dx)


@adj.step
def propagate(n, psi, p):
    """One step."""
    psi = ifft(p.dispersion * fft(psi))
    psi = psi * np.exp(1j * p.kick * np.abs(psi) ** 2)
    return ifft(p.dispersion * fft(psi))


def target() -> np.ndarray:
    """Two pulses that shall come out."""
    t = np.linspace(-WINDOW / 2, WINDOW / 2, POINTS, endpoint=False)
    return np.exp(-((t + 2.0) ** 2)) + 0.7 * np.exp(-((t - 2.0) ** 2) + 1j * t)


def shape_pulse(steps: int = 200, iterations: int = 80) -> tuple[np.ndarray, np.ndarray, list[float]]:
    """The field to launch, what comes out, and the misfits on the way."""
    wanted, p = target(), fibre(steps)

    def terminal(psi, p):
        return np.sum(np.abs(psi - wanted) ** 2)

    sim = adj.Simulation(propagate, steps, terminal=terminal, checkpoints=20)
    misfits: list[float] = []

    def value(x):
        found, grad = sim.value_and_grad(x.view(complex), p, wrt="y0")
        misfits.append(found)
        return found, grad.y0.view(float)

    start = np.abs(wanted).astype(complex)
    found = minimize(value, start.view(float), jac=True, method="L-BFGS-B", options={"maxiter": iterations})
    launched = found.x.view(complex)
    return launched, sim.run(launched, p).y, misfits


def main(arguments: list[str] | None = None) -> None:
    """Shape the pulse, print, and draw it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--output", default="split_step.png")
    options = parser.parse_args(arguments)
    launched, out, misfits = shape_pulse(options.steps)
    print(f"misfit {misfits[0]:.3f} at first, {misfits[-1]:.2e} after {len(misfits)} gradients of {2 * POINTS} numbers")
    energy = [np.sum(np.abs(z) ** 2) for z in (launched, out)]
    print(f"energy in {energy[0]:.6f}, out {energy[1]:.6f}")
    import matplotlib.pyplot as plt

    t = np.linspace(-WINDOW / 2, WINDOW / 2, POINTS, endpoint=False)
    figure, axes = plt.subplots(1, 2, figsize=(9, 3.5), sharey=True)
    axes[0].plot(t, np.abs(launched) ** 2)
    axes[0].set(title="launched", xlabel="time", ylabel="power")
    axes[1].plot(t, np.abs(out) ** 2, label="comes out")
    axes[1].plot(t, np.abs(target()) ** 2, "--", label="wanted")
    axes[1].set(title="after the fibre", xlabel="time")
    axes[1].legend()
    figure.savefig(options.output, dpi=120, bbox_inches="tight")


if __name__ == "__main__":
    main()
