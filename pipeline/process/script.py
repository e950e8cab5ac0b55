"""Common parts of every script: logging, signals, the pipe to the orchestrator, exit codes."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import select
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from typing import TextIO

import config
from config import SettingsError
from pipeline.errors import ServiceError
from pipeline.process import early, log_lines
from pipeline.wire.text import printable

log = logging.getLogger(__name__)

#: Set by the orchestrator for its children: standard input is a pipe from it, and the child ends when the pipe closes.
PARENT_PIPE = "PIPELINE_PARENT_PIPE"
#: Exit code for a bug in this program.
EXIT_FAULT = 70


def set_up_logging(level: int = logging.INFO) -> None:
    """Log to standard error, one line per record, times in UTC."""
    from pipeline.broker import clients  # imported here, so that scripts without Kafka do not load its client

    log_lines.log_to_stderr(level)
    clients.quiet()


def stop_signals() -> tuple[signal.Signals, ...]:
    """The signals that ask this process to stop. SIGHUP is not among them if it is ignored, as under nohup."""
    ignored = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    return (signal.SIGTERM, signal.SIGINT) if ignored else (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def on_stop(stop: Callable[[], None]) -> None:
    """Call `stop` on the first stop signal. The second one ends the process at once.

    Raises KeyboardInterrupt if Ctrl+C came earlier and was lost.
    """
    numbers = stop_signals()

    def handle(number: int, frame: object) -> None:
        for other in numbers:
            signal.signal(other, signal.SIG_DFL)
        log.info("stopping (%s); send the signal again to stop at once", signal.Signals(number).name)
        stop()

    for number in numbers:
        signal.signal(number, handle)
    if early.interrupted:
        raise KeyboardInterrupt


def end_with_orchestrator(last: Callable[[], None] = lambda: None) -> None:
    """End this process when its orchestrator has ended, for whatever reason. `last` is called first, and must be quick.

    There is no draining: the embedded broker and database end at the same moment.
    """
    if not os.environ.get(PARENT_PIPE):
        return

    def watch() -> None:
        while os.read(0, 1024):
            pass
        try:
            last()
        finally:
            os._exit(1)

    threading.Thread(target=watch, name="orchestrator-watch", daemon=True).start()


def run_script(main: Callable[[], int]) -> None:
    """Run a script's `main` and exit with its code. An expected error is one line on standard error, not a traceback.

    If the reader of standard output has gone (`… | head -1`), the script ends quietly.
    """
    early.over()
    _open_closed_streams()
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # names contain letters that some terminals' encodings lack
    try:
        code = _code_of(main)
    except KeyboardInterrupt:
        code = config.EXIT_INTERRUPTED
    # Threads that hang in a dead browser or socket must not keep the process.
    os._exit(_flushed(code))


def _code_of(main: Callable[[], int]) -> int:
    try:
        return main()
    except SystemExit as ended:  # of argparse
        return ended.code if isinstance(ended.code, int) else 0 if ended.code is None else _say(str(ended.code), 1)
    except SettingsError as error:
        return _say(str(error), config.EXIT_SETTINGS)
    except ServiceError as error:
        return _say(str(error), config.EXIT_SERVICE)
    except BrokenPipeError as error:
        return config.EXIT_DONE if reader_is_gone() else _say(reason(error), config.EXIT_SERVICE)
    except OSError as error:  # a full disk, a folder without write permission
        return _say(reason(error), config.EXIT_SERVICE)
    except Exception as error:
        if isinstance(error, UnicodeEncodeError) and error.encoding != "utf-8":
            hint = "set LC_ALL=C.UTF-8, and not PYTHONUTF8=0"
            return _say(f"{error.object!r} has letters that this system's encoding {error.encoding} lacks: {hint}", config.EXIT_SETTINGS)
        return _say("".join(traceback.format_exception(error)).rstrip(), EXIT_FAULT)


def _open_closed_streams() -> None:
    """A stream that was closed before the start (`>&-`) leads nowhere. Else the next socket would take its number, and what is
    printed would go to a broker.
    """
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115


def reader_is_gone(stream: int = 1) -> bool:
    """Whether this file descriptor (1 is standard output) is a pipe whose reader has gone."""
    poll = select.poll()
    poll.register(stream, 0)
    return any(event & (select.POLLERR | select.POLLNVAL) for _, event in poll.poll(0))


def write_to_nowhere(stream: int = 1) -> None:
    """Discard all further output to this file descriptor, because its reader has gone."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream)
    os.close(nowhere)


def tell(text: str, stream: TextIO) -> None:
    """Print a line, and ignore errors: the work must go on even if the reader has gone or the disk is full."""
    try:
        print(text, file=stream, flush=True)
    except BrokenPipeError:
        write_to_nowhere(stream.fileno())
    except OSError:
        pass


def print_result(text: str) -> None:
    """Print what the user has asked for. Raises ServiceError if standard output can't be written."""
    with writing_to_stdout():
        print(text, flush=True)


@contextlib.contextmanager
def writing_to_stdout() -> Iterator[None]:
    """Raises ServiceError, and what is wrong with it, if standard output can't be written in the block."""
    try:
        yield
    except BrokenPipeError:
        raise  # its reader does not want more
    except OSError as error:
        raise ServiceError(f"standard output can't be written: {error.strerror}") from None


def reason(error: OSError) -> str:
    """One line, never empty: what the system refused, and where in this program."""
    told = error.strerror or str(error) or type(error).__name__
    path = f": {error.filename}" if error.filename else ""
    place = traceback.extract_tb(error.__traceback__)[-1:]
    return f"{told}{path}" + "".join(f" ({os.path.basename(frame.filename)}, line {frame.lineno})" for frame in place)


def _flushed(code: int) -> int:
    """Flush both streams and return the exit code, or another one if standard output can't be written."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        pass
    except (OSError, ValueError) as error:
        if code == config.EXIT_DONE:
            code = _say(f"standard output can't be written: {getattr(error, 'strerror', error)}", config.EXIT_SERVICE)
    with contextlib.suppress(OSError, ValueError):
        sys.stderr.flush()
    return code


def _say(text: str, code: int) -> int:
    # The text may have several lines. Each is made printable.
    shown = "\n".join(printable(line.replace("\t", " ")) for line in text.split("\n"))
    with contextlib.suppress(OSError, ValueError):
        print(f"{os.path.basename(sys.argv[0])}: {shown}", file=sys.stderr, flush=True)
    return code
