"""One MLIR context for all programs of a process.

JAX makes a context for each program that it lowers and loads all dialects into it. That takes a
fifth of the time of a small program, and the tests compile thousands.
"""

from functools import cache

from jax._src.interpreters import mlir


def share_mlir_context() -> None:
    """Lets JAX make its context once; a JAX that makes them elsewhere is as slow as before."""
    if make := getattr(mlir, "make_ir_context", None):
        mlir.make_ir_context = cache(make)
