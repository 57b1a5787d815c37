"""Measure what a hostile client achieves, and what others notice.

The script starts the service as an operator does, with keys, 8,000 crops and import roots. It
attacks the service in eighteen ways, one after another, while a bystander with a separate key
searches. Memory is that of the service and its children.

::

    python benchmarks/attack_run.py
    python benchmarks/attack_run.py --project ../an-older-checkout --only search_heavily

It prints a Markdown table. The last line is one JSON object: figures of each attack, and the memory
before, at most, and after all of them. The exit status is 1 if an attack succeeded.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

import httpx
from attacks import rights, unlimited
from attacks.target import Target, under_attack, watched

ATTACKS: tuple[Callable[[Target], dict[str, object]], ...] = (
    rights.read_files,
    unlimited.fill_the_audit_log,
    unlimited.drip_without_a_key,
    unlimited.drip_with_a_search_key,
    unlimited.search_heavily,
    unlimited.search_as_heavily_as_allowed,
    unlimited.send_brackets,
    rights.block_all_imports,
    rights.read_a_foreign_root,
    rights.keep_names_after_erasure,
    rights.forge_addresses,
    rights.confuse_framing,
    rights.tell_jobs_apart,
    rights.keep_for_a_minute,
    unlimited.send_a_repeated_string,
    unlimited.send_one_long_line,
    unlimited.send_a_bomb_of_lines,
    unlimited.invent_methods,
)


def main() -> None:
    arguments = parse()
    chosen = [one for one in ATTACKS if not arguments.only or one.__name__ in arguments.only]
    with under_attack(arguments.project.resolve(), arguments.address_space) as target:
        before = target.resident()
        print(
            "| attack | figures | most memory, MiB | held |\n| --- | --- | --- | --- |", flush=True
        )
        results = {attack.__name__: run(attack, target) for attack in chosen}
        time.sleep(5)
        after = target.resident()
    report: dict[str, object] = {
        "attacks": results,
        "before_mib": round(before),
        "most_mib": max(int(str(result["most_mib"])) for result in results.values()),
        "after_mib": round(after),
    }
    print(json.dumps(report))
    sys.exit(0 if all(result["held"] for result in results.values()) else 1)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    here = Path(__file__).parents[1]
    parser.add_argument("--project", type=Path, default=here, help="checkout to attack")
    names = [attack.__name__ for attack in ATTACKS]
    parser.add_argument(
        "--only", action="append", choices=names, help="run only this attack; repeatable"
    )
    parser.add_argument(
        "--address-space", type=int, default=12_000, help="MiB that the service may map"
    )
    return parser.parse_args()


def run(attack: Callable[[Target], dict[str, object]], target: Target) -> dict[str, object]:
    """Run one attack and print its table row; a service that crashes has not held it."""
    with watched(target) as memory:
        try:
            figures = attack(target)
        except (httpx.HTTPError, OSError, ValueError, KeyError) as error:
            figures = {"broke_down": repr(error)[:200], "held": False}
    told = ", ".join(f"{name} {value}" for name, value in figures.items() if name != "held")
    held = "yes" if figures["held"] else "**no**"
    print(f"| {attack.__name__} | {told} | {memory.most:.0f} | {held} |", flush=True)
    return figures | {"most_mib": round(memory.most)}


if __name__ == "__main__":
    main()
