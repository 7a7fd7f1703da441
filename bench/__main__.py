"""`python -m bench [NAME] [--json] [--flows N]`: measure, and print what it ran on."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

from bench import flows


def main() -> int:
    """Run one measurement and print it; 0 when it came to an end."""
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measurements of the whole service.")
    parser.add_argument("name", nargs="?", default="flows", choices=["flows"])
    parser.add_argument("--json", action="store_true", help="one JSON document on standard output")
    parser.add_argument("--flows", type=int, default=flows.FLOWS, help="how many flows to measure")
    given = parser.parse_args()
    result = flows.run(given.flows)
    if given.json:
        json.dump(result, sys.stdout, indent=2)
        print()
        return 0
    _show(result)
    return 0


def _show(result: dict[str, Any]) -> None:
    print(result["what"])
    for figures in result["runs"]:
        kept = "with checkpoints" if figures["save_checkpoints"] else "without checkpoints"
        print(
            f"  {kept:20} {figures['flows_per_second']:8.1f} flows/s, {figures['in_flight']} in flight"
            f" (p50 {figures['in_flight_p50_ms']} ms); one alone p50 {figures['alone_p50_ms']} ms,"
            f" p99 {figures['alone_p99_ms']} ms"
        )
    first = result["runs"][0]
    print(
        f"  on {first['cores']} cores, Python {first['python']}, PostgreSQL {first['postgresql']} (fsync {first['fsync']},"
        f" synchronous_commit {first['synchronous_commit']}), Kafka: {first['kafka']}"
    )
    print(f"  ratios: {result['ratios']}")


if __name__ == "__main__":
    sys.exit(main())
