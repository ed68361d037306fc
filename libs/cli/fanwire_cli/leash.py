"""Become another program, which then ends when its parent does: `leash.py PARENT PROGRAM [ARGUMENT]…`.

A program of its own, because the kernel's request has to be made between fork and exec, where Python code
of the parent is not safe to run. Only Linux knows the request (prctl, PR_SET_PDEATHSIG); elsewhere children
end with their parent as long as it is not killed with SIGKILL.
"""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def main(argv: list[str]) -> int:
    """Replace this process with argv[1:], which gets SIGTERM when the process argv[0] ends."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGTERM))
    if os.getppid() != int(argv[0]):
        return 1  # The parent ended before the request was made.
    os.execv(argv[1], argv[1:])
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
