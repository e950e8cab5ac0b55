"""A stand-in for a pooler or firewall between a program and its database: it forwards bytes, cuts connections, or swallows bytes."""

from __future__ import annotations

import contextlib
import selectors
import socket
import threading


class Proxy:
    """Listens on `port`. While `swallows` is set, what either side sends is read and dropped."""

    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        self.swallows = threading.Event()
        self.accepted = 0
        self._ended = threading.Event()
        self._other: dict[socket.socket, socket.socket] = {}
        self._cutting = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def cut(self) -> None:
        """End all connections, as if they had been idle for too long."""
        self._cutting.set()

    def close(self) -> None:
        self._ended.set()
        self._thread.join(60)

    def _run(self) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(self._listening, selectors.EVENT_READ)
            while not self._ended.is_set():
                for key, _ in selector.select(0.05):
                    if key.fileobj is self._listening:
                        self._accept(selector)
                    else:
                        self._pass_on(selector, key.fileobj)
                if self._cutting.is_set():
                    self._end_all(selector)
                    self._cutting.clear()
            self._end_all(selector)
            self._listening.close()

    def _accept(self, selector: selectors.BaseSelector) -> None:
        near = self._listening.accept()[0]
        far = socket.create_connection(self._target)
        self.accepted += 1
        self._other |= {near: far, far: near}
        selector.register(near, selectors.EVENT_READ)
        selector.register(far, selectors.EVENT_READ)

    def _pass_on(self, selector: selectors.BaseSelector, one: socket.socket) -> None:
        if one not in self._other:
            return
        data = b""
        with contextlib.suppress(OSError):
            data = one.recv(65536)
        if data and not self.swallows.is_set():
            with contextlib.suppress(OSError):
                self._other[one].sendall(data)
        if not data:
            self._end(selector, one)

    def _end(self, selector: selectors.BaseSelector, one: socket.socket) -> None:
        for end in (one, self._other[one]):
            selector.unregister(end)
            del self._other[end]
            end.close()

    def _end_all(self, selector: selectors.BaseSelector) -> None:
        while self._other:
            self._end(selector, next(iter(self._other)))
