"""Compilation as users get it, for tests of numbers or bytes that XLA's optimizations change."""

import jax


def compile_optimized(function, *arguments):
    """Compiles a function for arguments, or their shapes, with the optimizations that conftest.py
    turns off.
    """
    jax.config.update("jax_disable_most_optimizations", False)
    try:
        lowered = jax.jit(function).lower(*arguments)
        return lowered.compile({"xla_cpu_use_fusion_emitters": True})
    finally:
        jax.config.update("jax_disable_most_optimizations", True)
