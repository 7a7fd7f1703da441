"""How much memory the reading of one file may take, so that a hostile one is refused and its process lives on; and how much
a run took."""

from __future__ import annotations

import resource
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from estate.errors import EstateError

MIB = 1 << 20
PAGE = resource.getpagesize()
# the pool ends a process above its limit; a reader is to be stopped a little before
SHARE = 0.95


@contextmanager
def memory_limit(megabytes: int | None, filename: str) -> Iterator[None]:
    """Within the block this process may grow to `megabytes` MiB of resident memory; None is no limit.

    Raises EstateError `too_large` where the block would need more. Nothing else may run in the process meanwhile.
    """
    before = resource.getrlimit(resource.RLIMIT_DATA)
    if megabytes is not None:
        _, resident, _, _, _, data, _ = map(int, Path("/proc/self/statm").read_text().split())
        room = max(int(megabytes * SHARE * MIB) - resident * PAGE, 0)
        most = data * PAGE + room
        if before[1] != resource.RLIM_INFINITY:
            most = min(most, before[1])
        resource.setrlimit(resource.RLIMIT_DATA, (most, before[1]))
    try:
        yield
    except MemoryError as error:
        # all that was read by then hangs on the frames that the error went through
        traceback.clear_frames(error.__traceback__)
        raise EstateError(
            "too_large",
            f"{filename} takes more than {megabytes} MiB of memory to read; split it, or raise MFO_WORKER_MEMORY_MB.",
            file=filename,
        ) from None
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, before)


def forget_peak() -> None:
    """Have this process's peak of memory count anew from now on; where the system does not let it, it counts from its start."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def peak_mb() -> float:
    """The most resident memory that this process had since `forget_peak`, in MiB.

    What getrusage says would hold the peak of the process that began this one, too.
    """
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
