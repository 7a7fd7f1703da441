"""Whether the service in this container is well: `healthy.py PORT live|ready`, exit 0 for yes."""

from __future__ import annotations

import sys
from http.client import HTTPConnection, HTTPException


def healthy(port: int, question: str) -> bool:
    """Whether `/health/<question>` answers 200 within 2 s."""
    connection = HTTPConnection("127.0.0.1", port, timeout=2)
    try:
        connection.request("GET", f"/health/{question}")
        return connection.getresponse().status == 200
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()


if __name__ == "__main__":
    sys.exit(0 if healthy(int(sys.argv[1]), sys.argv[2]) else 1)
