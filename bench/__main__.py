"""`python -m bench NAME [options] [--json]`: measure, print the figures and what they ran on, and keep them in bench/results.

NAME is a measurement or a set of them (`short`, `long`); `check` measures what bench/baseline.json knows and says what has
fallen, `baseline` writes that file from the newest results, and no name at all lists the measurements.
"""

from __future__ import annotations

import argparse
import inspect
import json
import signal
import sys
from types import ModuleType
from typing import Any

import structlog

from bench.baseline import compare, write
from bench.registry import BENCHES, CHECKED, SETS, Set
from bench.report import WrongUse, machine, save, show


def main(words: list[str] | None = None) -> int:
    """Run what is asked for; 0 when it came to an end, 1 when `check` found a fall, 2 for wrong usage."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__, add_help=False)
    parser.add_argument("name", nargs="?", choices=[*BENCHES, *SETS, "check", "baseline"])
    parser.add_argument("--json", action="store_true", help="one JSON document on standard output")
    given, rest = parser.parse_known_args(words)
    if given.name is None:
        if rest:
            parser.error(f"name the measurement that {' '.join(rest)} is for")
        parser.print_help()
        print("\n".join(f"  {name:12} {_summary(module)}" for name, module in BENCHES.items()))
        return 0
    if given.name in BENCHES:
        options = _options(given.name, BENCHES[given.name], rest)
        try:
            _tell(measured(given.name, options), as_json=given.json)
        except WrongUse as error:
            parser.error(str(error))
        return 0
    if rest:
        parser.error(f"{given.name} takes no options: {' '.join(rest)}")
    if given.name == "baseline":
        print(f"written to {write(name for name, _ in CHECKED)}")
        return 0
    if given.name == "check":
        ended = _all(CHECKED, as_json=given.json)
        return max(ended, compare(out=sys.stderr if given.json else None))
    return _all(SETS[given.name], as_json=given.json)


def measured(name: str, options: dict[str, Any]) -> dict[str, Any]:
    """Run one bench and keep its report."""
    on = machine()
    found = BENCHES[name].run(**options).as_dict(name, on)
    save(found)
    return dict(found)


def _all(wanted: Set, *, as_json: bool) -> int:
    """Run a set; 1 where a measurement did not come to an end."""
    found: dict[str, Any] = {}
    for name, options in wanted:
        print(f"--- {name}", file=sys.stderr)
        try:
            found[name] = measured(name, options)
        except Exception as error:
            # the others of the set are worth having
            print(f"{name} did not come to an end: {error!r}", file=sys.stderr)
        else:
            if not as_json:
                show(found[name])
    if as_json:
        _tell(found, as_json=True)
    return int(len(found) < len(wanted))


def _tell(found: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        json.dump(found, sys.stdout, indent=2)
        print()
    else:
        show(found)


def _summary(module: ModuleType) -> str:
    return (module.__doc__ or "").partition("\n")[0]


def _options(name: str, module: ModuleType, words: list[str]) -> dict[str, Any]:
    """The options of a bench, as its `run` declares them."""
    parser = argparse.ArgumentParser(prog=f"python -m bench {name}", description=module.__doc__)
    for option, parameter in inspect.signature(module.run).parameters.items():
        flag, usual = f"--{option.replace('_', '-')}", parameter.default
        if isinstance(usual, tuple):
            parser.add_argument(flag, action="append", help="may be given more than once")
        else:
            parser.add_argument(flag, type=type(usual), default=usual, help=f"{usual:,} unless given")
    found = vars(parser.parse_args(words))
    return {option: tuple(value or ()) if isinstance(value, list | None) else value for option, value in found.items()}


if __name__ == "__main__":
    # told to end, it ends the servers that it has started
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    # standard output is for the figures
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    sys.exit(main())
