"""The processors a process may use, as container engines limit them, and thread priorities."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from service.machine.processors import available, lower_priority


@pytest.fixture(autouse=True)
def sixteen_processors(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: set(range(16)), raising=False)


def machine(root: Path, cgroup: str, **files: str) -> Path:
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/self/cgroup").write_text(cgroup)
    for name, text in files.items():
        file = root / "sys/fs/cgroup" / name.replace("__", "/").replace("_dot_", ".")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return root


def test_without_cgroups_the_mask_counts(tmp_path):
    assert available(tmp_path) == 16


@pytest.mark.parametrize(
    ("limit", "expected"),
    [
        ("max 100000\n", 16),
        ("200000 100000\n", 2),
        ("150000 100000\n", 2),
        ("50000 100000\n", 1),
        ("6400000 100000\n", 16),
        ("nonsense\n", 16),
        ("0 0\n", 16),
        ("", 16),
    ],
)
def test_a_quota_of_version_2(tmp_path, limit, expected):
    assert available(machine(tmp_path, "0::/\n", cpu_dot_max=limit)) == expected


def test_the_smallest_quota_of_nested_groups_counts(tmp_path):
    root = machine(
        tmp_path,
        "0::/pods/one\n",
        pods__cpu_dot_max="300000 100000",
        pods__one__cpu_dot_max="max 100000",
    )
    assert available(root) == 3


def test_a_quota_of_version_1(tmp_path):
    root = machine(
        tmp_path,
        "5:memory:/a\n4:cpu,cpuacct:/a\n",
        cpu__a__cpu_dot_cfs_quota_us="400000\n",
        cpu__a__cpu_dot_cfs_period_us="100000\n",
    )
    assert available(root) == 4


def test_version_1_without_a_quota(tmp_path):
    root = machine(
        tmp_path,
        "4:cpu,cpuacct:/\n",
        cpu__cpu_dot_cfs_quota_us="-1\n",
        cpu__cpu_dot_cfs_period_us="100000\n",
    )
    assert available(root) == 16


def test_the_mask_of_this_process_counts():
    code = "import os; from service.machine.processors import available; "
    code += "os.sched_setaffinity(0, {min(os.sched_getaffinity(0))}); print(available())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "1\n"


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has a priority for each thread")
def test_a_thread_and_the_threads_it_starts_get_a_lower_priority():
    def priority() -> int:
        return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())

    def start_another() -> int:
        with ThreadPoolExecutor(1) as inner:
            return inner.submit(priority).result()

    mine = priority()
    with ThreadPoolExecutor(1, initializer=lower_priority) as pool:
        assert pool.submit(priority).result() == min(mine + 10, 19)
        assert pool.submit(start_another).result() == min(mine + 10, 19)
    assert priority() == mine


def test_arenas_can_be_limited_here():
    code = "from service.machine.malloc import share_arenas; share_arenas()"
    subprocess.run([sys.executable, "-c", code], check=True)
