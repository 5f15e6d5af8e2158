"""Compiling as for users, where XLA's optimizations change the numbers or bytes that are tested."""

import jax


def compiled(function, *arguments):
    """Give a function compiled for arguments, or their shapes, with what conftest.py leaves out."""
    jax.config.update("jax_disable_most_optimizations", False)
    try:
        lowered = jax.jit(function).lower(*arguments)
        return lowered.compile({"xla_cpu_use_fusion_emitters": True})
    finally:
        jax.config.update("jax_disable_most_optimizations", True)
