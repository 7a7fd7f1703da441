"""An interpreter that has CrewAI, and an endpoint for its agents."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from eventstore.service import CrewConfig
from tests.crews.server import Endpoint, endpoint

ROOT = Path(__file__).resolve().parents[2]
OF_MAKE = ROOT / ".venv" / "crew" / "bin" / "python"


@pytest.fixture(scope="session")
def crew_python() -> str:
    """The interpreter of MFO_TEST_CREW_PYTHON, else the one that `make test` makes, else this one if it has CrewAI."""
    named = os.environ.get("MFO_TEST_CREW_PYTHON")
    if named:
        return named
    if OF_MAKE.exists():
        return str(OF_MAKE)
    if find_spec("crewai") is None:
        pytest.skip("CrewAI is not installed; `make test` installs it, or name an interpreter: MFO_TEST_CREW_PYTHON")
    return sys.executable


@pytest.fixture(autouse=True, scope="session")
def no_proxy() -> Iterator[None]:
    """The loopback is asked directly, whatever the reader's shell says."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NO_PROXY", "127.0.0.1")
        patch.setenv("no_proxy", "127.0.0.1")
        yield


@pytest.fixture(scope="module")
def model() -> Iterator[Endpoint]:
    with endpoint() as serving:
        yield serving


@pytest.fixture(scope="module")
def crew_config(model: Endpoint, crew_python: str) -> CrewConfig:
    return CrewConfig(model="scripted", base_url=model.url, api_key="sk-secret-of-the-house", python=crew_python)


WATCHED = """#!{python}
# this interpreter, with every connection, process and opened file written down
import os, runpy, sys
log = open({log!r}, "a", buffering=1)
def hook(event, given):
    if event in ("socket.connect", "socket.sendto", "socket.getaddrinfo", "subprocess.Popen", "os.posix_spawn", "os.exec"):
        log.write(f"{{event}} {{given[-1] if event == 'socket.connect' else given[:2]!r}}\\n")
    elif event == "open" and isinstance(given[0], str) and (given[2] or 0) & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
        log.write(f"write {{given[0]}}\\n")
    elif event in ("os.mkdir", "sqlite3.connect"):
        log.write(f"write {{given[0]}}\\n")
sys.addaudithook(hook)
arguments = [one for one in sys.argv[1:] if one != "-P"]
sys.argv = arguments
runpy.run_path(arguments[0], run_name="__main__")
"""


@pytest.fixture
def watched_python(tmp_path: Path, crew_python: str) -> tuple[str, Path]:
    """The interpreter under watch, and where what it does is written down."""
    log, script = tmp_path / "watched.log", tmp_path / "python"
    script.write_text(WATCHED.format(python=crew_python, log=str(log)))
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    assert subprocess.run([crew_python, "-c", ""], check=False).returncode == 0
    return str(script), log
