"""What this process may use of the machine, which backend Keras is told to take, and what holds for a while."""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import logging
import os
import platform
import sys
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

BACKENDS = ("tensorflow", "jax", "torch")
NO_AVX = "TensorFlow needs a processor with AVX, and this one has none: use another machine"


@functools.cache
def cpu() -> dict[str, Any]:
    """Return the processor's name, those of its features that make bfloat16 fast, and whether TensorFlow runs on it."""
    import cpuinfo

    info = cpuinfo.get_cpu_info()
    flags = set(info.get("flags", ()))
    fast = {"AMX": "amx_bf16", "AVX512-BF16": "avx512_bf16"}
    return {
        "name": info.get("brand_raw", platform.processor()),
        "bfloat16": [n for n, f in fast.items() if f in flags],
        "avx": not flags or "avx" in flags or not str(info.get("arch", "")).startswith("X86"),
    }


def why_ended() -> str:
    """Return the usual reason for which the system ends a process that trains."""
    return "too little memory is the usual reason" if cpu()["avx"] else NO_AVX


def backend_fault() -> str:
    """Return what is wrong with the variable ``KERAS_BACKEND``, empty if it can be used.

    Examples
    --------
    >>> backend_fault()
    ''
    """
    name = os.environ.get("KERAS_BACKEND") or BACKENDS[0]
    if name not in BACKENDS:
        why = f"it must be one of {', '.join(BACKENDS)}"
    elif importlib.util.find_spec(name) is None:
        why = f"{name} is not installed here"
    else:
        return ""
    return f"KERAS_BACKEND={name}: {why}; unset the variable, or set KERAS_BACKEND=tensorflow"


def cores(system: Path = Path("/")) -> int:
    """Return how many cores this process may use: a container or a job may be given fewer than there are.

    Parameters
    ----------
    system : Path
        Below it the system tells the group (cgroup, version 1 or 2) of this process, and its limits.
    """
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    for folder in _groups(system, "cpu"):
        quota = _words(folder / "cpu.max") or _words(folder / "cpu.cfs_quota_us") + _words(folder / "cpu.cfs_period_us")
        if len(quota) == 2 and all(word.isdecimal() for word in quota) and int(quota[1]):
            count = min(count, max(1, int(quota[0]) // int(quota[1])))
    return count


def memory(system: Path = Path("/")) -> tuple[int, int]:
    """Return the bytes of memory that this process may use, and those of them that are free.

    Parameters
    ----------
    system : Path
        As for `cores`.
    """
    import psutil

    found = psutil.virtual_memory()
    total, free = found.total, found.available
    for folder in _groups(system, "memory"):
        most = _words(folder / "memory.max") or _words(folder / "memory.limit_in_bytes")
        now = _words(folder / "memory.current") or _words(folder / "memory.usage_in_bytes")
        stat = _words(folder / "memory.stat")
        if most and now and most[0].isdecimal() and int(most[0]) < found.total:
            cached = int(dict(zip(stat[::2], stat[1::2], strict=False)).get("inactive_file", 0))  # can go
            total, free = min(total, int(most[0])), min(free, max(0, int(most[0]) - int(now[0]) + cached))
    return total, free


def _groups(system: Path, kind: str) -> Iterator[Path]:
    """Yield the folders of this process's group and of those above it: each may limit it, as in a job of Slurm."""
    for line in _words(system / "proc/self/cgroup"):
        named, _, group = line.partition(":")[2].partition(":")
        if not named or kind in named.split(","):  # version 2 has no names
            top = system / "sys/fs/cgroup" / (kind if named else "")
            # In a container the names may be those of the host, which are not there: then the top is its own group.
            yield from (folder for folder in (top / group.strip("/"), *(top / group.strip("/")).parents)
                        if folder.is_relative_to(top))  # fmt: skip


@contextlib.contextmanager
def environment(wanted: Mapping[str, str]) -> Iterator[None]:
    """Set variables of the environment inside the block.

    Parameters
    ----------
    wanted : mapping of str to str
        Names and values.

    Examples
    --------
    >>> with environment({"CXR_MARK": "1"}):
    ...     os.environ["CXR_MARK"]
    '1'
    >>> "CXR_MARK" in os.environ
    False
    """
    before = {name: os.environ.get(name) for name in wanted}
    os.environ.update(wanted)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


@contextlib.contextmanager
def quiet(logger: str) -> Iterator[None]:
    """Keep warnings, and what a library logs, from being shown inside the block.

    Parameters
    ----------
    logger : str
        The library's own name in `logging`.

    Examples
    --------
    >>> with quiet("papermill"):
    ...     logging.getLogger("papermill").error("a line")
    """
    log = logging.getLogger(logger)
    before, log.disabled = log.disabled, True
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            yield
        finally:
            log.disabled = before


def bar(progress: bool) -> dict[str, Any]:
    """Say to tqdm whether and where a bar is shown.

    A notebook shows standard error in red, as if something had failed, and of a bar that is done an empty one.

    Parameters
    ----------
    progress : bool
        Wanted; even then the variable ``TQDM_DISABLE`` can say no.

    Examples
    --------
    >>> bar(False)["disable"], "disable" in bar(True)
    (True, False)
    """
    kernel = type(sys.stdout).__module__.startswith("ipykernel")
    return {"leave": not kernel, "file": sys.stdout if kernel else sys.stderr} | ({} if progress else {"disable": True})


def _words(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="ascii").split()
    except (OSError, ValueError):
        return []


def for_kernels() -> dict[str, str]:
    """Return the variables with which a kernel runs faster, less those that the user has set.

    glibc gives each large array back to the system at once, and asks for it again for the next batch: with these,
    lesson 04 took 60 s in place of 67 on two cores in float32. A process reads them when it starts; other systems don't
    know them.
    """
    wanted = {"MALLOC_MMAP_THRESHOLD_": str(2**25), "MALLOC_TRIM_THRESHOLD_": str(2**29)}
    return {name: value for name, value in wanted.items() if name not in os.environ}
