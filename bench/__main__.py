"""`python -m bench [flows|estate|timers|queue|overload|operations|rebuild|listeners|analytics] [--json] [--flows N] [--only NAME]
[--seconds N]`: measure, and print what it ran on."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

from bench import analytics, estate, flows, listeners, operations, overload, queue, rebuild, timers


def main() -> int:
    """Run one measurement and print it; 0 when it came to an end."""
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measurements of the whole service.")
    parser.add_argument("name", nargs="?", default="flows", choices=list(SHOWN))
    parser.add_argument("--seconds", type=float, default=overload.SECONDS, help="how long the overload lasts")
    parser.add_argument("--json", action="store_true", help="one JSON document on standard output")
    parser.add_argument("--flows", type=int, help="how many flows to measure")
    parser.add_argument("--only", action="append", help="one of the estates; may be given more than once")
    given = parser.parse_args()
    measured = {
        "flows": lambda: flows.run(given.flows or flows.FLOWS),
        "operations": lambda: operations.run(given.flows or operations.FLOWS),
        "analytics": lambda: analytics.run(given.flows or analytics.FLOWS),
        "estate": lambda: estate.run(given.only),
        "timers": timers.run,
        "queue": queue.run,
        "overload": lambda: overload.run(given.seconds),
        "rebuild": lambda: rebuild.run(given.flows or rebuild.FLOWS),
        "listeners": listeners.run,
    }
    result = measured[given.name]()
    if given.json:
        json.dump(result, sys.stdout, indent=2)
        print()
        return 0
    SHOWN[given.name](result)
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


def _show_timers(result: dict[str, Any]) -> None:
    print(result["what"])
    for figures in result["runs"]:
        print(f"  {figures['pending']:,} pending, {figures['due_a_second']} due/s, {figures['fired']:,} fired")
        for name in ("written", "read"):
            spread = figures[name]
            print(f"  {name:8} p50 {spread['p50_ms']} ms, p99 {spread['p99_ms']} ms, max {spread['max_ms']} ms")
        print(
            f"  on {figures['cores']} cores (load {figures['load']:.1f}), Python {figures['python']},"
            f" PostgreSQL {figures['postgresql']}"
        )


def _show_queue(result: dict[str, Any]) -> None:
    print(result["what"])
    for name, figures in result["runs"].items():
        print(
            f"  {name:26} p50 {figures['p50_ms']:7.2f} ms, max {figures['max_ms']:7.2f} ms;"
            f" processor p50 {figures['processor_p50_ms']:6.2f} ms"
        )


def _show_overload(result: dict[str, Any]) -> None:
    print(result["what"])
    for figures in result["runs"]:
        print(f"  over {figures['over']}")
        for name, value in figures.items():
            if name == "memory_mb":
                for service, seen in value.items():
                    shown = ", ".join(f"{when} {mb} MB" for when, mb in seen.items())
                    print(f"    memory of {service:12} {shown}")
            elif name != "over":
                print(f"    {name.replace('_', ' '):34} {value}")
    print(
        f"  on {result['cores']} cores, Python {result['python']}, PostgreSQL {result['postgresql']}, Kafka: {result['kafka']}"
    )


def _show_estates(result: dict[str, Any]) -> None:
    print(result["what"])
    for figures in result["runs"]:
        limit = f", limit {figures['limit_megabytes']}" if figures["limit_megabytes"] else ""
        print(
            f"  {figures['estate']:12} {figures['rows']:>9,} rows, {figures['files_mb']:.1f} MB: {figures['wall_s']:.1f} s"
            f" (CPU {figures['cpu_s']:.1f}, limit {figures['limit_seconds']:g}), peak {figures['peak_mb']} MB{limit};"
            f" {figures['assets']:,} assets"
            + (f", {figures['dependencies']:,} dependencies" if "dependencies" in figures else "")
        )
        for phase, spent in figures["phases"].items():
            print(f"    {phase:22} {spent['wall_s']:6.2f} s  CPU {spent['cpu_s']:6.2f} s  peak {spent['peak_mb']:5} MB")


def _show_operations(result: dict[str, Any]) -> None:
    print(result["what"])
    for figures in result["runs"]:
        print(
            f"  {figures['verb']:8} {figures['flows']:,} flows: {figures['seconds']} s, {figures['flows_per_second']} flows/s,"
            f" {figures['accepted']:,} accepted, {figures['refused']:,} refused; answered in {figures['answered_ms']} ms"
        )
    first = result["runs"][0]
    print(
        f"  on {first['cores']} cores (load {first['load']}), Python {first['python']}, PostgreSQL {first['postgresql']}"
        f" (fsync {first['fsync']}), Kafka: {first['kafka']}"
    )


def _show_rebuild(result: dict[str, Any]) -> None:
    print(result["what"])
    for figures in result["runs"]:
        for name in ("first", "compared", "while written"):
            each = figures[name]
            print(
                f"  {name:14} {each['seconds']:7.1f} s, {each['events_per_second']:,} events/s in all,"
                f" {each['fill_events_per_second']:,} while filling; {each['rows_compared']:,} rows compared,"
                f" {each['different']} flows differ; the swap held readers up for {each['held_ms']} ms"
            )
        beside = figures["while written"]
        print(
            f"  meanwhile {beside['commands']:,} commands, {beside['commands_per_second']}/s; {beside['missing']} lost"
        )
        seen = figures["verify"]
        print(
            f"  verified       {seen['seconds']:7.1f} s, {seen['rows_per_second']:,} rows/s, {seen['events_per_second']:,} events/s"
        )
    print(
        f"  on {result['cores']} cores (load before {result['load_before']}), Python {result['python']},"
        f" PostgreSQL {result['postgresql']}"
    )


def _show_listeners(result: dict[str, Any]) -> None:
    print(result["what"])
    for figures in result["runs"]:
        for name, value in figures.items():
            print(f"  {name.replace('_', ' '):24} {value}")


def _show_analytics(result: dict[str, Any]) -> None:
    print(result["what"])
    for figures in result["runs"]:
        print(f"  loaded in {figures['load_seconds']} s: {figures['flows']:,} flows, {figures['sums']:,} sums")
        for name, spread in figures["latencies"].items():
            print(
                f"  {name:32} p50 {spread['p50_ms']:8.1f} ms, p99 {spread['p99_ms']:8.1f} ms, max {spread['max_ms']:8.1f} ms"
            )
        print(
            f"  {figures['requests']} of each, one after the other, on {figures['cores']} cores (load {figures['load']}),"
            f" Python {figures['python']}, PostgreSQL {figures['postgresql']}"
        )


SHOWN = {
    "flows": _show,
    "estate": _show_estates,
    "timers": _show_timers,
    "queue": _show_queue,
    "overload": _show_overload,
    "operations": _show_operations,
    "rebuild": _show_rebuild,
    "listeners": _show_listeners,
    "analytics": _show_analytics,
}


if __name__ == "__main__":
    sys.exit(main())
