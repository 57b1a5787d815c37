"""Check what survives kill -9 and failing disks: kills at random moments, faults at every write.

First the script kills a real service with SIGKILL again and again, at work and while it starts,
over one data folder, while clients upload, replace, delete, relabel and import. After every restart
each acknowledged change must be there, each unacknowledged one completely or not at all, and the
search must equal NumPy's.

Then every write of every change of a gallery fails in each of seven ways: the process is killed
before it; the write is torn; a power cut undoes what was never synced; the write is short; an I/O
error; no space; read-only.

::

    python benchmarks/crash_run.py --kills 200

The last line is one JSON object. The exit status is 1 if anything was lost.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "end_to_end"))

from crash import faults
from crash.kills import run_kills


def main() -> int:
    arguments = parse()
    report: dict[str, Any] = {"seed": arguments.seed}
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        if arguments.kills:
            report |= kill(arguments, Path(folder))
        if not arguments.no_faults:
            report |= strike(arguments.stride, Path(folder))
    problems = report.pop("kill_problems", []) + report.pop("fault_problems", [])
    for problem in problems:
        print(f"wrong: {problem}")
    print(json.dumps({**report, "lost": len(problems)}))
    return 1 if problems else 0


def kill(arguments: argparse.Namespace, folder: Path) -> dict[str, Any]:
    start = time.monotonic()
    (folder / "kills").mkdir()
    report = asdict(
        run_kills(
            folder / "kills", arguments.kills, arguments.seed, model=arguments.model, tell=tell
        )
    )
    report["kill_problems"] = report.pop("problems")
    return {**report, "kill_seconds": round(time.monotonic() - start)}


def strike(stride: int, folder: Path) -> dict[str, Any]:
    if reason := faults.missing():
        return {"faults": reason}
    start = time.monotonic()
    (folder / "faults").mkdir()
    report = faults.strike(faults.build(folder), folder / "faults", stride=stride)
    for operation, count in report["boundaries"].items():
        tell(f"{operation}: {count} writes")
    return {
        "faults": sum(report["struck"].values()),
        "fault_writes": report["boundaries"],
        "fault_kinds": list(report["struck"]),
        "fault_acknowledged": report["acknowledged"],
        "fault_refused": report["refused"],
        "fault_problems": report["problems"],
        "fault_seconds": round(time.monotonic() - start),
    }


def tell(text: str) -> None:
    print(text, flush=True)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--kills", type=int, default=5, help="number of SIGKILLs; 0 skips them")
    parser.add_argument(
        "--seed",
        type=int,
        default=1,
        help="seed of the clients' actions and of the moments of the kills",
    )
    parser.add_argument("--model", type=Path, help="model folder; default: the embedder for tests")
    parser.add_argument("--stride", type=int, default=1, help="let only every n-th write fail")
    parser.add_argument("--no-faults", action="store_true", help="run only the kills")
    parser.add_argument("--folder", type=Path, help="working folder; default: the temporary folder")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
