"""The readable reference: every kernel in NumPy (and SciPy's special functions), one module a family."""
