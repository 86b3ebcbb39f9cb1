"""The guards of conftest.py: without these, a broken guard would go unnoticed."""

from __future__ import annotations

import random
import socket

import numpy as np
import pytest
import torch


@pytest.mark.parametrize("address", [("192.0.2.1", 80), ("2001:db8::1", 80, 0, 0)])
def test_other_machines_are_out_of_reach(address):
    family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
    with socket.socket(family) as sock, pytest.raises(OSError, match="no network"):
        sock.connect(address)


def test_names_of_other_machines_are_not_looked_up():
    with pytest.raises(socket.gaierror, match="no network"):
        socket.create_connection(("example.org", 80))


def test_this_machine_is_in_reach():
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection(("localhost", server.getsockname()[1])) as client,
    ):
        client.sendall(b"hello")
        peer, _ = server.accept()
        with peer:
            assert peer.recv(5) == b"hello"


@pytest.mark.parametrize("repetition", [1, 2])
def test_every_test_starts_from_the_same_seed(repetition):
    drawn = random.random(), np.random.rand(), torch.rand(()).item()
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)
    assert drawn == (random.random(), np.random.rand(), torch.rand(()).item())
