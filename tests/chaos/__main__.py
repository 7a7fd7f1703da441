"""`python -m tests.chaos`: a run of chaos, and its report; exit 1 where something was found."""

from __future__ import annotations

import argparse
import pickle
import shutil
import signal
import sys
import tempfile
from pathlib import Path

from tests.chaos.run import ChaosError, EmbeddedError, Options, run


def main() -> int:
    """Run it, print the report, and keep the folder where something was found."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--flows", type=int, default=500)
    parser.add_argument("--seconds", type=float, help="how long faults strike; a third of a second a flow, 40 at least")
    parser.add_argument("--every", type=float, default=3.0, help="seconds between faults")
    parser.add_argument("--kills", type=int, default=8, help="kills with nothing else wrong, at the end")
    parser.add_argument("--consumers", type=int, default=2, help="processes that run phases")
    parser.add_argument("--report", type=Path, help="also write the report there, as JSON")
    parser.add_argument("--keep", type=Path, help="keep logs, stores and the record in this new folder")
    given = parser.parse_args()
    folder = given.keep or Path(tempfile.mkdtemp(prefix="mfo-chaos-"))
    if folder.exists() and any(folder.iterdir()):
        parser.error(f"{folder} is not empty")
    # the stack is ended with this process, so whoever ends it must let it
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    seconds = given.seconds or max(40.0, given.flows / 3)
    options = Options(
        given.seed, given.flows, seconds, given.every, consumers=given.consumers, kills=given.kills, say=_say
    )
    try:
        report, record = run(options, folder)
    except (ChaosError, EmbeddedError) as error:
        print(error, file=sys.stderr)
        return 2
    bad = bool(report.findings) or not report.calm
    if bad or given.keep:
        (folder / "record.pickle").write_bytes(pickle.dumps(record))
    else:
        shutil.rmtree(folder)
    print(report)
    if given.report:
        given.report.write_text(report.as_json() + "\n")
    if bad:
        print(f"logs, stores and the record are in {folder}", file=sys.stderr)
    return int(bad)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
