"""All internals of kafka-python that this program reads or replaces, in one place: `tests/broker/test_internals.py` fails if an
upgrade has moved one of them.

What is replaced: how fetched bytes become records. If the client can't read a record (its codec is not installed, its checksum is
wrong, a header's name is not UTF-8), its `poll` raises the same error for ever, for all partitions of the consumer. It also unpacks
a batch to any size. Here such a record is passed over and reported, and the unpacked size is bounded. The client can also forget
records that it fetched before a partition was paused; here they are returned.
"""

from __future__ import annotations

import itertools
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.consumer.fetcher import ConsumerRecord, Fetcher
from kafka.errors import CorruptRecordError, KafkaError, UnsupportedCodecError
from kafka.net.connection import KafkaConnection
from kafka.record import default_records, legacy_records
from kafka.record.util import decode_varint

#: The largest size in bytes that one batch of records may unpack to; a larger one is passed over.
LARGEST_BATCH_BYTES = 32 * 1024 * 1024
#: Seconds in which a producer must end once its unsent messages were dropped.
CLOSE_SECONDS = 1.0
#: Bytes of keys and values after which a poll returns. The next poll returns the rest.
POLL_BYTES = 16 * 1024 * 1024
_SNAPPY_STREAM = b"\x82SNAPPY\x00"
_PACKAGES = {"gzip": "", "snappy": "python-snappy", "lz4": "lz4", "zstd": "zstandard"}


@dataclass(frozen=True)
class Unreadable:
    """Records that could not be read, from `offset` up to, but not including, `next_offset`; nearly always one record."""

    partition: TopicPartition
    offset: int
    next_offset: int
    reason: str
    #: Time of their batch in ms; -1 if that can't be read either.
    timestamp_ms: int = -1

    def __str__(self) -> str:
        to = f" to {self.next_offset - 1}" if self.next_offset > self.offset + 1 else ""
        return f"{self.partition.topic}[{self.partition.partition}]@{self.offset}{to}"


class TooMuch(CorruptRecordError):
    """A batch that unpacks to more than LARGEST_BATCH_BYTES."""

    def __init__(self) -> None:
        super().__init__(f"unpacks to more than {LARGEST_BATCH_BYTES // 1024 // 1024} MiB")


# -- unpacking, with a bound ------------------------------------------------------------------------------------------------


def _gunzip(payload: Any) -> bytes:
    """All members of a gzip stream."""
    found, rest = bytearray(), bytes(payload)
    while rest:
        unpacker = zlib.decompressobj(wbits=31)
        found += unpacker.decompress(rest, LARGEST_BATCH_BYTES + 1 - len(found))
        if len(found) > LARGEST_BATCH_BYTES:
            raise TooMuch
        if not unpacker.eof:
            raise CorruptRecordError("the gzip stream ends too early")
        rest = unpacker.unused_data
    return bytes(found)


def _unsnappy(payload: bytes) -> bytes:
    import snappy

    def block(packed: bytes) -> bytes:
        size, _ = _plain_varint(packed)
        if size + len(found) > LARGEST_BATCH_BYTES:
            raise TooMuch
        return bytes(snappy.decompress(packed))

    found = bytearray()
    if payload[:8] != _SNAPPY_STREAM:
        return block(payload)
    place = 16
    while place < len(payload):
        (size,) = struct.unpack_from("!i", payload, place)
        if size < 0 or place + 4 + size > len(payload):
            raise CorruptRecordError("a snappy block ends too early")
        found += block(payload[place + 4 : place + 4 + size])
        place += 4 + size
    return bytes(found)


def _plain_varint(data: bytes) -> tuple[int, int]:
    """The unpacked size that a snappy block begins with, and the number of bytes that encode it."""
    number = shift = 0
    for place, byte in enumerate(data[:5]):
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number, place + 1
        shift += 7
    raise CorruptRecordError("a snappy block without a size")


def _unlz4(payload: bytes) -> bytes:
    import lz4.frame

    found = bytearray()
    rest = bytes(payload)
    while rest:
        unpacker = lz4.frame.LZ4FrameDecompressor()
        found += unpacker.decompress(rest, LARGEST_BATCH_BYTES + 1 - len(found))
        if len(found) > LARGEST_BATCH_BYTES:
            raise TooMuch
        if not unpacker.eof:
            raise CorruptRecordError("the lz4 frame ends too early")
        rest = unpacker.unused_data or b""
    return bytes(found)


def _unzstd(payload: bytes) -> bytes:
    import zstandard

    # A frame names the window that it needs, and that much is set aside: Kafka's own clients use 8 MiB at most.
    unpacker = zstandard.ZstdDecompressor(max_window_size=LARGEST_BATCH_BYTES)
    with unpacker.stream_reader(bytes(payload), read_across_frames=True) as reader:
        found: bytes = reader.read(LARGEST_BATCH_BYTES + 1)
    if len(found) > LARGEST_BATCH_BYTES:
        raise TooMuch
    return found


_UNPACKERS: dict[str, Callable[[Any], bytes]] = {
    "gzip_decode": _gunzip,
    "snappy_decode": _unsnappy,
    "lz4_decode": _unlz4,
    "zstd_decode": _unzstd,
}


def bound_unpacking() -> None:
    """From now on every client of this process unpacks batches up to LARGEST_BATCH_BYTES only."""
    for module in (default_records, legacy_records):
        for name, unpack in _UNPACKERS.items():
            if hasattr(module, name):
                setattr(module, name, unpack)


# -- records that can't be read ---------------------------------------------------------------------------------------------


class _Enough(Exception):
    """A poll has returned as many bytes as it may."""


class _Records(Fetcher.PartitionRecords):
    """The records of one partition in a fetch's answer, like the client's own class, but records that can't be read are passed over."""

    #: Called for each record that is passed over.
    passed_over: Callable[[Unreadable], None]
    #: Bytes that this poll may still return: a list of one number, which all partitions share.
    bytes_left: list[int]
    next_fetch_offset: int

    def take(self, n: int | None = None) -> list[Any]:
        if self.bytes_left[0] <= 0:
            raise _Enough
        found = []
        for record in itertools.islice(self.record_iterator, n):
            found.append(record)
            self.bytes_left[0] -= len(record.value or b"") + len(record.key or b"")
            if self.bytes_left[0] <= 0:
                break
        return found

    def _unpack_records(self, tp: Any, records: Any, key_deserializer: Any, value_deserializer: Any) -> Iterator[Any]:
        """The readable records, with key and value as bytes: this program uses no deserializers."""
        while True:
            try:
                batch = records.next_batch()
            except (CorruptRecordError, struct.error) as error:
                # Without a batch's length nothing behind it can be found: the next fetch goes on.
                self._pass_over(self.next_fetch_offset, self.next_fetch_offset + 1, error)
                break
            if batch is None:
                break
            whole = not self.check_crcs or batch.validate_crc()
            end = self._end_of(batch, whole)
            if not whole:
                self._pass_over_all(batch, end, CorruptRecordError("wrong checksum"))
            elif batch.magic != 2 or not batch.is_control_batch:
                self.leader_epoch = batch.leader_epoch if batch.magic == 2 else -1
                for record in self._records_of(batch, end):
                    self.records_read += 1
                    self.bytes_read += record.size_in_bytes
                    self.next_fetch_offset = max(self.next_fetch_offset, record.offset + 1)
                    yield self._consumer_record(record)
            # Offsets without a record, left by a compaction or a transaction's marker, count as read.
            self.next_fetch_offset = max(self.next_fetch_offset, end)
        self.drain()

    def _records_of(self, batch: Any, end: int) -> Iterator[Any]:
        try:
            reading = iter(batch)
        except Exception as error:  # each codec's library has errors of its own
            self._pass_over_all(batch, end, error)
            return
        while True:
            try:
                record = next(reading)
            except StopIteration:
                return
            except Exception as error:
                offset = _skip_record(batch)
                if offset is None:
                    self._pass_over_all(batch, end, error)
                    return
                self._pass_over(offset, offset + 1, error, batch)
                continue
            if self.check_crcs and not record.validate_crc():
                self._pass_over(record.offset, record.offset + 1, CorruptRecordError("wrong checksum"), batch)
                continue
            yield record

    def _end_of(self, batch: Any, whole: bool) -> int:
        """The offset after a batch. Older formats do not give it; that of a broken batch is believed if it fits the number of records."""
        begin = max(batch.base_offset, self.next_fetch_offset)
        if batch.magic != 2:
            return int(begin)
        delta = batch.last_offset_delta
        believable = 0 <= delta < 2**24 if whole else delta == batch.records_count - 1 >= 0
        return max(int(batch.base_offset) + delta + 1, begin) if believable else begin + 1

    def _pass_over_all(self, batch: Any, end: int, error: Exception) -> None:
        """Pass over the rest of a batch. In an older format it is one record, so that reading makes progress."""
        self._pass_over(batch.base_offset, end if batch.magic == 2 else self.next_fetch_offset + 1, error, batch)

    def _pass_over(self, offset: int, next_offset: int, error: Exception, batch: Any = None) -> None:
        """Report the records, except those that an earlier fetch of the same batch has read or reported."""
        if next_offset <= self.next_fetch_offset:
            return
        offset = max(offset, self.next_fetch_offset)
        timestamp = batch.max_timestamp if batch is not None and batch.magic == 2 else -1
        type(self).passed_over(Unreadable(self.topic_partition, offset, next_offset, _why(error), timestamp))
        self.next_fetch_offset = next_offset

    def _consumer_record(self, record: Any) -> Any:
        tp = self.topic_partition
        sizes = (len(record.key) if record.key is not None else -1, len(record.value) if record.value is not None else -1, -1)
        return ConsumerRecord(
            tp.topic,
            tp.partition,
            self.leader_epoch,
            record.offset,
            record.timestamp,
            record.timestamp_type,
            record.key,
            record.value,
            record.headers,
            record.checksum,
            *sizes,
        )


def _skip_record(batch: Any) -> int | None:
    """Step over a record whose frame is intact, though its content is not. Its offset; None if that is not possible."""
    if batch.magic != 2:
        return None
    try:
        length, begin = decode_varint(batch._buffer, batch._pos)
        _, place = decode_varint(batch._buffer, begin)  # attributes
        _, place = decode_varint(batch._buffer, place)  # time
        delta, _ = decode_varint(batch._buffer, place)
    except (IndexError, ValueError, CorruptRecordError):
        return None
    if length <= 0 or begin + length > len(batch._buffer) or not 0 <= delta <= batch.last_offset_delta:
        return None
    batch._pos = begin + length
    batch._next_record_index += 1
    return int(batch.base_offset + delta)


def _why(error: Exception) -> str:
    if isinstance(error, UnsupportedCodecError):
        for codec, package in _PACKAGES.items():
            if codec in str(error):
                return f"it is compressed with {codec}: pip install {package}"
        return str(error.args[0] if error.args else error)
    if isinstance(error, CorruptRecordError):
        return " ".join(str(one) for one in error.args) or type(error).__name__
    return f"{type(error).__name__}: {error}"


def pass_over_unreadable(consumer: KafkaConsumer, noted: Callable[[Unreadable], None]) -> None:
    """From now on the consumer passes over records that it can't read and calls `noted` for each. A poll returns POLL_BYTES at most."""
    fetcher = consumer._fetcher
    fetcher.PartitionRecords = type("Records", (_Records,), {"passed_over": staticmethod(noted)})
    fetcher.PartitionRecords.bytes_left = bytes_left = [POLL_BYTES]
    all_at_once = fetcher.fetched_records

    def fetched_records(max_records: int | None = None, update_offsets: bool = True) -> tuple[dict[Any, list[Any]], bool]:
        bytes_left[0] = POLL_BYTES
        if not fetcher._next_partition_records:
            # The client takes up what it has set aside of a paused partition only if this is None, but leaves here the partition
            # that it has read to its end: of two that were set aside, the second one would stay there for ever.
            fetcher._next_partition_records = None
        found: tuple[dict[Any, list[Any]], bool] = all_at_once(max_records, update_offsets)
        kept = fetcher._next_in_line_exception_metadata  # it would be raised by the next call
        if kept is not None and isinstance(kept.exception, _Enough):
            fetcher._next_in_line_exception_metadata = None
        return found

    fetcher.fetched_records = fetched_records


# -- what is only read, or prevented ----------------------------------------------------------------------------------------


def client_of(connection: Any) -> str:
    """The client_id of the client that owns the connection, as the client's log names it; empty for anything else."""
    return str(connection.config["client_id"]) if isinstance(connection, KafkaConnection) else ""


def is_connected(client: Any) -> bool:
    """Whether a consumer or producer is connected to any broker. The public count includes connections that are still being opened."""
    return bool(client._manager.least_used_connections())


def cluster_id(client: Any) -> str | None:
    """The id of the cluster that a consumer or producer is connected to, by its latest metadata."""
    found: str | None = client._manager.cluster.cluster_id
    return found


def topic_id(client: Any, topic: str) -> Any:
    """The id of the topic, which a topic that is made anew under the same name does not share. None if it is not known."""
    return client._manager.cluster.topic_id(topic)


def read_position(consumer: KafkaConsumer, partition: TopicPartition) -> int:
    """The offset that it reads next, 0 if that is not known. The public method asks the broker and waits for the answer."""
    state = consumer._subscription.assignment.get(partition)
    return int(state.position.offset) if state is not None and state.position is not None else 0


def is_joining(consumer: KafkaConsumer) -> bool:
    """Whether the consumer is about to join its group, for the first time or again."""
    return consumer._coordinator is not None and bool(consumer._coordinator.need_rejoin())


def finish_joining(consumer: KafkaConsumer) -> None:
    """Let a member complete a join that it has begun.

    If a topic vanishes from the metadata and comes back while the member waits for the answer, the client sees no more reason to join,
    and never looks at the answer: without heartbeats it is expelled, does not notice, and its commits are refused for ever.
    """
    coordinator = consumer._coordinator
    if coordinator is not None and coordinator.rejoining and not coordinator.need_rejoin():
        coordinator.request_rejoin()


def leave_silently(consumer: KafkaConsumer) -> None:
    """From now on the consumer sends no LeaveGroup request when it is closed."""
    consumer._coordinator.maybe_leave_group = lambda *_, **__: None


def advertised(client: Any) -> list[tuple[str, int]]:
    """Host and port of each broker, as the first one that answered sends them to its clients."""
    return [(str(broker.host), int(broker.port)) for broker in client._manager.cluster.brokers()]


class Admin(KafkaAdminClient):
    def _process_acl_operations(self, description: Any) -> Any:
        """Leave out the rights that come with groups and topics. The embedded broker sends meaningless bits, at which the client would
        raise; this program uses none of them.
        """
        return description


class Producer(KafkaProducer):
    """Its `close` always closes. The client's own raises if the broker does not acknowledge in time, stays open, and raises
    again when it is collected, as a traceback on the terminal.
    """

    def close(self, timeout: float | None = None, null_logger: bool = False) -> None:
        try:
            super().close(timeout, null_logger)
        except KafkaError:
            self._sender.force_close()  # drops what is not acknowledged: its sender sends it again
            self._sender.join(CLOSE_SECONDS)
            super().close(CLOSE_SECONDS, null_logger)
