"""The same kernels as compiled loops: one pass over the data each, no temporaries, cached on disk."""
