"""What a loss is: operators, formulas, programs, and the functions they compile to. Needs JAX alone."""
