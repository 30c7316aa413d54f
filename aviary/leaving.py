"""How a process that used Temporal's SDK ends."""

from __future__ import annotations

import os
import sys
from typing import NoReturn, TextIO


def leave(code: int) -> NoReturn:
    """End now, with everything flushed and without interpreter shutdown.

    A process that ends as usual right after its worker or client stopped can abort in the SDK's
    native threads (sdk-python#300).

    Args:
        code: the exit code; where 0 was meant and the output can't be written, it is 1.
    """
    flushed = [_flush(stream) for stream in (sys.stdout, sys.stderr)]
    os._exit(code or int(not all(flushed)))


def _flush(stream: TextIO) -> bool:
    try:
        stream.flush()
    except BrokenPipeError:
        return True  # its reader has gone, and misses nothing
    except OSError as error:
        os.write(2, f"aviary: {stream.name}: {error.strerror}\n".encode())
        return False
    return True
