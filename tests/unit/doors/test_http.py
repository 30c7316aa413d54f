"""The server side that all processes share."""

from __future__ import annotations

import socket

from aviary.http import listen


def test_an_answer_of_two_writes_does_not_wait_for_the_callers_acknowledgement() -> None:
    with listen("127.0.0.1", 0) as taken:
        caller = socket.create_connection(taken.getsockname())
        answering, _ = taken.accept()
        with caller, answering:
            assert answering.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0
