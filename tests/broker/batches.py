"""Batches of records as other tools or a broken disk leave them in a topic: built byte by byte, and sent without a client's checks."""

from __future__ import annotations

import struct
import time

from kafka import KafkaProducer
from kafka.record._crc32c import crc as crc32c
from kafka.record.default_records import DefaultRecordBatchBuilder
from kafka.record.memory_records import MemoryRecordsBuilder

from config import Kafka
from pipeline.broker import clients

#: Where a batch's checksum begins, and the bytes that it covers.
CRC, ATTRIBUTES = 17, 21
LZ4, SNAPPY, ZSTD, GZIP = 3, 2, 4, 1


def batch(values, offset=0, headers=(), compression=0, timestamp=None):
    """The bytes of a batch of these values from this offset on; a run counts only what is not older than itself."""
    timestamp = int(time.time() * 1000) if timestamp is None else timestamp
    builder = DefaultRecordBatchBuilder(2, compression, False, -1, -1, -1, 100 * 1024 * 1024)
    for place, value in enumerate(values):
        builder.append(place, timestamp, b"key", value, list(headers))
    built = bytearray(builder.build())
    struct.pack_into(">q", built, 0, offset)
    return signed(built)


def signed(built):
    """With a checksum that fits."""
    struct.pack_into(">I", built, CRC, crc32c(bytes(built[ATTRIBUTES:])))
    return bytes(built)


def with_header_name(values, name, offset=0, records=-1):
    """A batch whose first `records` records (all by default) have a header with this name of 4 bytes, which need not be text."""
    return signed(bytearray(batch(values, offset, [("NAME", b"x")]).replace(b"\x08NAME", b"\x08" + name, records)))


def packed_with(built, codec, packed):
    """A batch whose records are replaced by `packed`, said to be of this codec."""
    head = bytearray(built[:61])
    struct.pack_into(">h", head, ATTRIBUTES, codec)
    struct.pack_into(">i", head, 8, len(head) + len(packed) - 12)
    return signed(head + packed)


def put(settings: Kafka, topic: str, partition: int, built: bytes) -> int:
    """Send a batch as it is; the offset of its first record. Raises what the broker says."""
    close = MemoryRecordsBuilder.close

    def close_with_it(self):
        close(self)
        self._buffer = bytearray(built)

    options = clients.common(settings)
    producer = KafkaProducer(**options, enable_idempotence=False, acks="all", retries=0, max_request_size=10**8)
    MemoryRecordsBuilder.close = close_with_it
    try:
        return producer.send(topic, b"any", partition=partition).get(timeout=60).offset
    finally:
        MemoryRecordsBuilder.close = close
        producer.close()
