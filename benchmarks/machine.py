"""Describe the machine and the versions for the results, and run processes on one thread or one core."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path

LIBRARIES = (
    "chainrule", "numpy", "scipy", "numba", "torch", "jax", "jaxlib", "optax", "scikit-learn", "keras", "skorch",
    "onnxruntime",
)  # fmt: skip
_COUNTS = (
    "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS", "VECLIB_MAXIMUM_THREADS",
    "NUMBA_NUM_THREADS",
)  # fmt: skip


def environment(threads: str) -> dict[str, str]:
    """Return the environment of a measured process, with one thread for every library or with their defaults."""
    kept = {name: value for name, value in os.environ.items() if name not in (*_COUNTS, "XLA_FLAGS")}
    if threads == "1":
        kept |= dict.fromkeys(_COUNTS, "1")
        kept["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false"
    return kept | {"PYTHONWARNINGS": "ignore", "TF_CPP_MIN_LOG_LEVEL": "3", "JAX_PLATFORMS": "cpu"}


def hold_to_one_core() -> None:
    """Restrict this process to one core, if the system supports it; processes of one program use different cores.

    XLA cannot be restricted to one thread: without multi_thread_eigen it still used 1.6 to 1.9 cores. On one core,
    "one thread" means the same for all programs.
    """
    if hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0), reverse=True)
        os.sched_setaffinity(0, {cores[int(os.environ.get("LOCAL_RANK", "0")) % len(cores)]})


def peak_memory() -> int:
    """Return the peak of the resident memory of this process, in bytes.

    VmHWM is preferred, because ru_maxrss includes the memory of the process that this one was forked from.
    """
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) * 1024
    except (OSError, StopIteration):
        import resource

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if platform.system() == "Darwin" else peak * 1024


def versions() -> dict[str, str]:
    """Return the versions of all libraries that are installed."""
    return {"python": platform.python_version()} | versions_of(LIBRARIES)


def versions_of(libraries: Iterable[str]) -> dict[str, str]:
    """Return the versions of libraries, or "not installed"."""
    found = {}
    for name in libraries:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found


def describe() -> dict[str, object]:
    """Return a description of the machine, with the versions, the time and the current load."""
    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    fields = {k.strip(): v.strip() for k, _, v in (line.partition(":") for line in lines)}
    flags = fields.get("flags", "").split()
    simd = next((flag for flag in ("avx512f", "avx2", "avx") if flag in flags), "")
    return {
        "cpu": fields.get("model name", cpu),
        "cpu_model": fields.get("model", ""),
        "simd": simd,
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "system": platform.platform(),
        "load_before": os.getloadavg()[0],
        "time": time.strftime("%Y-%m-%d %H:%M", time.gmtime()),
        "versions": versions(),
    }
