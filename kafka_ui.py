"""Serves the page: a run's progress, topics, dead letters, stocks and their ratios.

python kafka_ui.py                    http://localhost:8080, or the next free port
python kafka_ui.py --demo             the same for the running demo
python kafka_ui.py --port 9000

It listens on this machine only. It reads topics and tables; the only thing that it changes is to put dead letters back. It can start
before the broker and the database, and reconnects when they come back.
"""

from __future__ import annotations

if __name__ == "__main__":
    import sys

    sys.path.insert(0, __file__.rpartition("/")[0])  # PYTHONSAFEPATH leaves it out
    import pipeline.process.early  # noqa: F401  (first: Ctrl+C while the rest is imported ends it without a traceback)

# isort: split
import contextlib
import http.client
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
from pipeline.process.arguments import Parser, whole
from pipeline.process.ports import free_port
from pipeline.process.script import end_with_orchestrator, on_stop, run_script, set_up_logging

HOST = "127.0.0.1"
PORT = 8080
#: Connections that may wait to be accepted.
BACKLOG = 512
#: Seconds in which a program on the chosen port must answer, to be known as another page, by its icon.
ASK_SECONDS = 1.0
ICON = config.PROJECT / "ui" / "static" / "icon.svg"
ICON_BYTES = 100_000
#: How many times to try another port if a program takes the chosen one at the same moment.
ATTEMPTS = 10
#: Seconds after which a busy thread lets another one run. A view needs a hundred short turns. With Python's default of 5 ms,
#: each would have to wait while the followers read a long history.
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
    config.load(demo=arguments.demo)  # an invalid setting ends the script here, with exit code 2

    listening = listen(arguments.port)
    app = create_app(settings_finder(arguments.demo), arguments.demo)
    options = uvicorn.Config(
        app,
        http=WatchedProtocol,
        ws="none",
        log_config=None,
        log_level="error",  # warnings would be a line for each request that is not HTTP
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=2,
        backlog=BACKLOG,
    )

    class Server(uvicorn.Server):
        @contextlib.contextmanager
        def capture_signals(self) -> Iterator[None]:
            yield  # this script handles signals itself, as all others do

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
    """A socket that listens on `port` or the next free one; for 0 the system chooses. Says so if it is not `port`."""
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
            by = f" by another page of this pipeline (http://localhost:{wanted})" if is_page(wanted) else ""
            print(f"port {wanted} is taken{by}, so this page uses port {listening.getsockname()[1]}", file=sys.stderr)
        return listening
    raise ServiceError(f"found no free port from {wanted} on: choose another one with --port")


def is_page(port: int) -> bool:
    """Whether a page of this program answers there."""
    connection = http.client.HTTPConnection(HOST, port, timeout=ASK_SECONDS)
    try:
        connection.request("GET", "/static/icon.svg", headers={"Host": f"localhost:{port}"})
        return connection.getresponse().read(ICON_BYTES) == ICON.read_bytes()
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def parse_arguments() -> Any:
    parser = Parser(__doc__)
    parser.add_argument("--demo", action="store_true", help="use the running demo")
    parser.add_argument("--port", type=whole(0, 65535), default=PORT, help=f"the first port to try (default {PORT}; 0: any)")
    return parser.parse_args()


if __name__ == "__main__":
    run_script(main)
