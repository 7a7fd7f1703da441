"""Ports for servers of this machine."""

from __future__ import annotations

import socket

from mfo.embedded.processes import PORTS, free_port


def test_no_two_servers_are_given_one_port() -> None:
    ports = [free_port() for _ in range(200)]
    assert len(set(ports)) == 200
    assert set(ports) <= set(PORTS)


def test_a_port_is_kept_while_nobody_else_has_it() -> None:
    wanted = free_port()
    assert free_port(wanted) == wanted
    with socket.socket() as other:
        other.bind(("127.0.0.1", wanted))
        other.listen()
        assert free_port(wanted) != wanted
