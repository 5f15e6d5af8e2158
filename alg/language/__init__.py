"""What a loss is: operators, formulas, programs, the functions they compile to. Needs jax alone."""
