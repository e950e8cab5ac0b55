"""The page in the browser: the run as it goes on, topics and dead letters, the stocks and their ratios.

python kafka_ui.py                    http://localhost:8080, or the next free port
python kafka_ui.py --demo             the same for the demo that is up
python kafka_ui.py --port 9000

It listens on this machine only, reads topics and tables, and changes nothing but what its buttons say. It may be started
before broker and database are there, and finds them again where they were away.
"""

from __future__ import annotations

if __name__ == "__main__":
    import pipeline.process.early  # noqa: F401  (first: Ctrl+C while the rest is imported ends it without a traceback)

# isort: split
import argparse
import contextlib
import logging
import socket
import sys
from collections.abc import Iterator
from typing import Any

from pipeline.process import packages

if __name__ == "__main__":
    packages.need("dotenv", "kafka", "psycopg2")

import config
from pipeline.errors import ServiceError
from pipeline.process.ports import free_port
from pipeline.process.script import end_with_orchestrator, on_stop, run_script, set_up_logging

HOST = "127.0.0.1"
PORT = 8080
#: Connections that may wait to be accepted.
BACKLOG = 512
#: Ports that are tried one after the other where others take them at the same moment.
ATTEMPTS = 10
#: Seconds after which a busy thread lets another one go on. A view needs a hundred short turns, and must not wait Python's
#: usual 5 ms for each while the followers read a long history.
SWITCH_SECONDS = 0.0005


def main() -> int:
    arguments = parse_arguments()
    set_up_logging(logging.WARNING)
    try:
        import uvicorn

        from ui.app import create_app, settings_finder
        from ui.connections import WatchedProtocol
    except ImportError as error:
        raise ServiceError(f"the page needs {error.name}: pip install -r requirements-local.txt") from error
    config.load(demo=arguments.demo)  # a bad setting ends it here, with exit code 2

    listening = listen(arguments.port)
    app = create_app(settings_finder(arguments.demo), arguments.demo)
    options = uvicorn.Config(
        app,
        http=WatchedProtocol,
        ws="none",
        log_config=None,
        log_level="error",  # each request that is no HTTP would be a line
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=2,
        backlog=BACKLOG,
    )

    class Server(uvicorn.Server):
        @contextlib.contextmanager
        def capture_signals(self) -> Iterator[None]:
            yield  # signals are this script's own business, as in all others

    server = Server(options)
    sys.setswitchinterval(SWITCH_SECONDS)

    def stop() -> None:
        app.state.page.stopping.set()  # the live views end first, or the server would wait for them
        server.should_exit = True

    on_stop(stop)
    end_with_orchestrator()
    print(f"page: http://localhost:{listening.getsockname()[1]}", flush=True)
    server.run(sockets=[listening])
    return config.EXIT_DONE


def listen(port: int) -> socket.socket:
    """A socket that listens on `port` or the next free one; 0 has the system choose. Said aloud where it is another one."""
    wanted = port
    for _ in range(ATTEMPTS):
        listening = socket.socket()
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            port = free_port(port)
            listening.bind((HOST, port))
            listening.listen(BACKLOG)
        except OSError:
            listening.close()
            port += 1
            continue
        if wanted and port != wanted:
            print(f"port {wanted} is taken, so the page is at another one", file=sys.stderr)
        return listening
    raise ServiceError(f"no free port from {wanted} on: choose another one with --port")


def parse_arguments() -> Any:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--demo", action="store_true", help="the demo that is up")
    parser.add_argument("--port", type=_port, default=PORT, help=f"the first port to try (default {PORT}; 0: any)")
    return parser.parse_args()


def _port(text: str) -> int:
    if not (text.isdecimal() and int(text) < 65536):
        raise argparse.ArgumentTypeError(f"{text!r}: expected a port from 0 to 65535")
    return int(text)


if __name__ == "__main__":
    run_script(main)
