"""What a process may use of the machine, and what ends it."""

import io
import subprocess
import sys
from types import SimpleNamespace

import pytest

from cxr_utils import _machine

GIB = 2**30


@pytest.fixture
def system(tmp_path, monkeypatch):
    """Make a function that writes what a system of 16 cores and 16 GiB, all free, tells of groups, by file name."""
    monkeypatch.setattr(_machine.os, "sched_getaffinity", lambda _: set(range(16)), raising=False)
    monkeypatch.setattr("psutil.virtual_memory", lambda: SimpleNamespace(total=16 * GIB, available=16 * GIB))

    def write(group, **told):
        for name, text in {"/proc/self/cgroup": group, **told}.items():
            path = tmp_path / (name[1:] if name[0] == "/" else f"sys/fs/cgroup/{name}")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"{text}\n")
        return tmp_path

    return write


def test_a_system_that_tells_of_no_groups_has_no_limit(system, tmp_path):
    assert _machine.cores(tmp_path) == 16 and _machine.memory(tmp_path) == (16 * GIB, 16 * GIB)


def test_limits_of_a_container_count(system):
    here = system("0::/", **{"cpu.max": "max 100000", "memory.max": "max", "memory.current": "900"})
    assert _machine.cores(here) == 16 and _machine.memory(here) == (16 * GIB, 16 * GIB)
    system("0::/", **{"cpu.max": "250000 100000", "memory.max": "1000", "memory.stat": "anon 100\ninactive_file 300"})
    assert _machine.cores(here) == 2 and _machine.memory(here) == (1000, 400)
    system("0::/docker/5c0ffee")  # the host's name, without a name space of its own
    assert _machine.cores(here) == 2 and _machine.memory(here) == (1000, 400)


def test_limits_of_a_job_and_of_what_holds_it_count(system):
    here = system("0::/slurm/job_7/step_0", **{
        "slurm/cpu.max": "800000 100000", "slurm/memory.max": 9 * GIB, "slurm/memory.current": 8 * GIB,
        "slurm/job_7/cpu.max": "300000 100000", "slurm/job_7/memory.max": 4 * GIB, "slurm/job_7/memory.current": GIB,
        "slurm/job_7/step_0/cpu.max": "max 100000", "slurm/job_8/cpu.max": "100000 100000",
    })  # fmt: skip
    assert _machine.cores(here) == 3 and _machine.memory(here) == (4 * GIB, GIB)


def test_limits_of_cgroup_1(system):
    here = system("5:cpu,cpuacct:/a\n4:memory:/a\n3:cpuset:/b\n0::/", **{
        "cpu/a/cpu.cfs_quota_us": "50000", "cpu/a/cpu.cfs_period_us": "100000",
        "memory/a/memory.limit_in_bytes": "4096", "memory/a/memory.usage_in_bytes": "96",
        "memory/memory.limit_in_bytes": 2**63 - 4096, "memory/memory.usage_in_bytes": GIB,
    })  # fmt: skip
    assert _machine.cores(here) == 1 and _machine.memory(here) == (4096, 4000)
    system("5:cpu,cpuacct:/a", **{"cpu/a/cpu.cfs_quota_us": "-1"})
    assert _machine.cores(here) == 16


@pytest.mark.parametrize(
    ("arch", "flags", "avx"),
    [("X86_64", ["sse4_2"], False), ("X86_64", ["avx"], True), ("ARM_8", ["neon"], True), ("X86_64", [], True)],
)
def test_a_processor_without_avx(monkeypatch, arch, flags, avx):
    import cpuinfo

    monkeypatch.setattr(cpuinfo, "get_cpu_info", lambda: {"arch": arch, "flags": flags, "brand_raw": "Some"})
    _machine.cpu.cache_clear()
    try:
        assert _machine.cpu()["avx"] is avx
        assert ("AVX" in _machine.why_ended()) is not avx and ("memory" in _machine.why_ended()) is avx
    finally:
        _machine.cpu.cache_clear()


class _Kernel(io.StringIO):
    pass


_Kernel.__module__ = "ipykernel.iostream"  # as a kernel's own streams


@pytest.mark.parametrize("kernel", [False, True])
def test_bars_are_no_error_in_a_notebook(kernel, monkeypatch):
    from tqdm import tqdm

    out, err = _Kernel() if kernel else io.StringIO(), io.StringIO()
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "stderr", err)
    for progress in (False, True):
        list(tqdm(range(3), **_machine.bar(progress)))
        assert bool(out.getvalue()) == (progress and kernel) and bool(err.getvalue()) == (progress and not kernel)
    out.truncate(0)
    monkeypatch.setenv("TQDM_DISABLE", "1")  # as in a notebook that is executed in batch
    code = "from tqdm import tqdm; from cxr_utils import _machine; list(tqdm([1], **_machine.bar(True)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout + done.stderr == ""
