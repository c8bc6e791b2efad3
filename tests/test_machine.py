"""What a process may use of the machine, and what ends it."""

import io
import subprocess
import sys

import pytest

from cxr_utils import _machine


def test_limits_of_a_container_count(tmp_path, monkeypatch):
    monkeypatch.setattr(_machine.os, "sched_getaffinity", lambda _: set(range(16)), raising=False)
    total, free = _machine.memory(tmp_path)
    assert _machine.cores(tmp_path) == 16 and 0 < free <= total
    (tmp_path / "cpu.max").write_text("max 100000\n")
    assert _machine.cores(tmp_path) == 16
    (tmp_path / "cpu.max").write_text("250000 100000\n")
    assert _machine.cores(tmp_path) == 2
    (tmp_path / "memory.max").write_text("max\n")
    (tmp_path / "memory.current").write_text("900\n")
    assert _machine.memory(tmp_path)[0] == total
    (tmp_path / "memory.max").write_text("1000\n")
    (tmp_path / "memory.stat").write_text("anon 100\ninactive_file 300\n")
    assert _machine.memory(tmp_path) == (1000, 400)


def test_limits_of_cgroup_1(tmp_path, monkeypatch):
    monkeypatch.setattr(_machine.os, "sched_getaffinity", lambda _: set(range(16)), raising=False)
    for name, text in {
        "cpu/cpu.cfs_quota_us": "50000", "cpu/cpu.cfs_period_us": "100000",
        "memory/memory.limit_in_bytes": "4096", "memory/memory.usage_in_bytes": "96",
    }.items():  # fmt: skip
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert _machine.cores(tmp_path) == 1 and _machine.memory(tmp_path) == (4096, 4000)
    (tmp_path / "cpu/cpu.cfs_quota_us").write_text("-1")
    assert _machine.cores(tmp_path) == 16


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
