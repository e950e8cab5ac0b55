"""Passes TCP connections on: `python -m tests.faults.forward LISTEN_HOST TARGET_HOST PORT…`, each port to the same one there.

All services listen on 127.0.0.1, and Kafka's tells its clients so. One of these within a network namespace and one
outside make them what they are to its processes: services on another host, at the same addresses.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while block := await reader.read(65536):
            writer.write(block)
            await writer.drain()
    writer.close()


async def _serve(listen_host: str, target_host: str, port: int) -> None:
    async def passed_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            target_reader, target_writer = await asyncio.open_connection(target_host, port)
        except OSError:
            writer.close()
            return
        await asyncio.gather(_copy(reader, target_writer), _copy(target_reader, writer))

    server = await asyncio.start_server(passed_on, listen_host, port)
    async with server:
        await server.serve_forever()


async def _main(listen_host: str, target_host: str, *ports: str) -> None:
    await asyncio.gather(*(_serve(listen_host, target_host, int(port)) for port in ports))


if __name__ == "__main__":
    asyncio.run(_main(*sys.argv[1:]))
