"""main: runs a command, and turns an error into one line and an exit code.

0 done, 1 could not be done, 2 wrong arguments, 3 check found something, 130 Ctrl-C.
"""

from __future__ import annotations

import contextlib
import errno
import faulthandler
import io
import os
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NoReturn

_INTERRUPTED = 130
_OUTPUT_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)
"""What a write to stdout may fail with, beside a pipe that nobody reads."""
_GRACE = 10.0
"""Seconds that threads have to finish their current file after the command is done."""


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line with `arguments` (those of sys.argv when None) and exit with its code."""
    if isinstance(sys.stdout, io.TextIOWrapper):  # a caller of main may have replaced it
        sys.stdout.reconfigure(errors="backslashreplace")  # like Python's stderr, so that a character that the encoding lacks is no error
    code = 1
    try:
        with _quiet_decoders():
            code = _run(list(sys.argv[1:] if arguments is None else arguments))
    except KeyboardInterrupt:  # before the command began, or when it was over
        print("Stopped.", file=sys.stderr)
        code = _INTERRUPTED
    finally:
        if arguments is None:  # this process is the command
            threading.Thread(target=_leave, args=(code,), daemon=True).start()
    sys.exit(code)


def _leave(code: int) -> None:
    """End the process even if a thread hangs in a decoder or on a disk, which Python would wait for. Other threads, such as one that writes
    a checkpoint, are waited for.
    """
    time.sleep(_GRACE)
    for thread in threading.enumerate():
        if not thread.daemon and thread is not threading.main_thread() and not thread.name.startswith("imgstream"):
            thread.join()
    os._exit(code)


def _run(arguments: list[str]) -> int:
    import typer

    from imgstream.cli.app import command
    from imgstream.errors import ImgstreamError, OptionError
    from imgstream.progress import error_console
    from imgstream.terminal.tables import printable

    shown = warnings.showwarning
    warnings.showwarning = _one_line(shown)
    try:
        result = command().main(arguments, prog_name="imgstream", standalone_mode=False, obj=arguments)  # for train --on
        if result == _INTERRUPTED:  # typer turns Ctrl-C into a result
            raise KeyboardInterrupt
        if sys.stdout is not None:  # it is None where the shell has closed it
            sys.stdout.flush()
        return result if isinstance(result, int) else 0
    except ImgstreamError as error:
        text, code = (error.for_command_line(), 2) if isinstance(error, OptionError) else (str(error), 1)
        error_console().print(f"imgstream: {printable(text)}", style="red", markup=False, soft_wrap=True)
        return code
    except (KeyboardInterrupt, typer.Abort):
        error_console().print("Stopped.", markup=False)
        return _INTERRUPTED
    except BrokenPipeError:  # the reader of our output has closed the pipe
        _drop_output()
        return 1
    except OSError as error:
        if error.filename is not None or error.errno not in _OUTPUT_ERRORS:
            raise  # a bug: show the traceback
        _drop_output()
        error_console().print(f"imgstream: the output cannot be written: {error.strerror}", style="red", markup=False, soft_wrap=True)
        return 1
    except Exception as error:
        if not hasattr(error, "exit_code"):
            raise  # a bug: show the traceback
        if hasattr(error, "show"):
            error.show()
        return int(error.exit_code)
    finally:
        warnings.showwarning = shown


def _drop_output() -> None:
    """Send what is left for stdout nowhere: Python would fail again when it ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _one_line(others: Callable[..., None]) -> Callable[..., None]:
    """A function for warnings.showwarning that prints ours as one line, and passes `others` on."""
    from imgstream.errors import CacheWarning, DatasetWarning, StallWarning
    from imgstream.progress import error_console
    from imgstream.terminal.tables import printable

    def show(message: Warning | str, category: type[Warning], *where: Any, **more: Any) -> None:
        if issubclass(category, (CacheWarning, DatasetWarning, StallWarning)):
            error_console().print(f"imgstream: {printable(str(message))}", style="yellow", markup=False, soft_wrap=True)
        else:
            others(message, category, *where, **more)

    return show


@contextlib.contextmanager
def _quiet_decoders() -> Iterator[None]:
    """Discard what is written to file descriptor 2 during the block, and send sys.stderr to where it led: libjpeg, libpng, libtiff, OpenCV
    and TensorFlow write to the descriptor, Python to sys.stderr. faulthandler still reports a crash in native code.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("OPENCV_LOG_LEVEL", "OFF")
    try:
        descriptor = sys.stderr.fileno()
    except (AttributeError, OSError, ValueError):  # no real stderr, as under a test's capture
        yield
        return
    if descriptor != 2:
        yield
        return
    python_stderr = sys.stderr
    kept = os.dup(2)
    devnull = os.open(os.devnull, os.O_WRONLY)
    os.dup2(devnull, 2)
    os.close(devnull)
    sys.stderr = open(kept, "w", buffering=1, encoding=python_stderr.encoding, errors="backslashreplace", closefd=False)  # noqa: SIM115
    faulthandler.enable(sys.stderr)
    try:
        yield
    finally:
        sys.stderr.flush()
        faulthandler.disable()
        os.dup2(kept, 2)
        sys.stderr = python_stderr
