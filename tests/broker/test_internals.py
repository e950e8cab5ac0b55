"""Internals of the client that are read or replaced: an upgrade that moves one of them fails here. And what replaces them."""

from __future__ import annotations

import gzip
import inspect
import struct

import kafka
import lz4.frame
import pytest
import snappy
import zstandard
from hypothesis import given
from hypothesis import strategies as st
from kafka import KafkaConsumer, TopicPartition
from kafka.codec import snappy_encode
from kafka.consumer import fetcher
from kafka.consumer.fetcher import ConsumerRecord, Fetcher
from kafka.net.manager import KafkaConnectionManager
from kafka.record import default_records, legacy_records
from kafka.record.memory_records import MemoryRecords

from pipeline.broker import clients, internals
from pipeline.broker.internals import LARGEST_BATCH_BYTES
from tests.broker.batches import GZIP, LZ4, SNAPPY, ZSTD, batch, packed_with, signed, with_header_name
from tests.conftest import until

PARTITION = TopicPartition("topic", 3)


@pytest.fixture(autouse=True, scope="module")
def _bounded():
    internals.bound_unpacking()


def read(data, fetch_offset=0, most=None):
    """What a consumer reads from these bytes: (offset, value) of the records, what it passed over, and the offset that comes next."""
    noted = []
    kind = type("Records", (internals._Records,), {"passed_over": staticmethod(noted.append), "bytes_left": [internals.POLL_BYTES]})
    records = kind(fetch_offset, PARTITION, MemoryRecords(data))
    found = records.take(most)
    return [(record.offset, record.value) for record in found], noted, records.next_fetch_offset


def test_the_installed_client_is_the_version_that_these_parts_were_written_for():
    assert kafka.__version__.startswith("3.0."), "read pipeline/broker/internals.py against the new version, then change this line"


@pytest.mark.parametrize("module", [default_records, legacy_records])
def test_the_client_decompresses_with_the_functions_that_are_replaced(module):
    source = inspect.getsource(module)
    for name in internals._UNPACKERS:
        if module is default_records or name != "zstd_decode":
            assert f"{name}(" in source
            assert getattr(module, name) is internals._UNPACKERS[name]


def test_the_client_reads_records_with_the_class_that_is_replaced():
    source = inspect.getsource(Fetcher)
    assert "self.PartitionRecords(" in source
    assert "self._next_in_line_exception_metadata = ExceptionMetadata(" in source
    assert "if self._next_partition_records is None:" in source
    assert "records, partial = self.fetched_records(" in source
    assert list(inspect.signature(Fetcher.PartitionRecords._unpack_records).parameters)[1:3] == ["tp", "records"]
    assert "self.drain()" in inspect.getsource(Fetcher.PartitionRecords._unpack_records)
    assert ConsumerRecord._fields[:6] == ("topic", "partition", "leader_epoch", "offset", "timestamp", "timestamp_type")
    assert len(ConsumerRecord._fields) == 13
    assert {"_buffer", "_pos", "_next_record_index"} <= set(default_records.DefaultRecordBatch.__slots__)
    assert "check_crcs" in inspect.getsource(fetcher)


def test_the_private_attributes_that_are_read_exist(broker):
    consumer = clients.reader(broker)
    try:
        assert isinstance(consumer._manager, KafkaConnectionManager)
        assert until(lambda: internals.is_connected(consumer))
        assert until(lambda: internals.cluster_id(consumer))
        assert not internals.is_joining(consumer)
        internals.finish_joining(consumer)
        assert internals.topic_id(consumer, "nowhere") is None
        consumer.assign([PARTITION])
        consumer.seek(PARTITION, 7)
        assert internals.read_position(consumer, PARTITION) == 7
        assert internals.read_position(consumer, TopicPartition("another", 0)) == 0
    finally:
        consumer.close()
    source = inspect.getsource(kafka.coordinator.base.BaseCoordinator) + inspect.getsource(KafkaConsumer)
    assert "def need_rejoin" in source
    assert "maybe_leave_group(" in source
    assert "self.rejoining = True" in source
    assert "def request_rejoin" in source


def test_batches_are_read_exactly_as_the_client_reads_them():
    assert read(batch([b"a", b"b"], 7)) == ([(7, b"a"), (8, b"b")], [], 9)
    assert read(batch([b"a", b"b", b"c"], 7), 8) == ([(8, b"b"), (9, b"c")], [], 10)
    assert read(batch([b"a", b"b", b"c"], 7), 7, 2) == ([(7, b"a"), (8, b"b")], [], 9)
    assert read(batch([None], 7)) == ([(7, None)], [], 8)


@pytest.mark.parametrize(
    ("codec", "pack"),
    [
        (GZIP, gzip.compress),
        (SNAPPY, snappy.compress),
        (SNAPPY, snappy_encode),
        (LZ4, lz4.frame.compress),
        (ZSTD, zstandard.compress),
        (ZSTD, lambda data: zstandard.compress(data[:10]) + zstandard.compress(data[10:])),
    ],
)
def test_every_codec_is_read_and_decompression_is_bounded(codec, pack):
    plain = batch([b"value " * 1000, b"b"], 7)
    found, noted, after = read(packed_with(plain, codec, pack(plain[61:])))
    assert ([offset for offset, _ in found], noted, after) == ([7, 8], [], 9)
    bomb = pack(bytes(LARGEST_BATCH_BYTES + 1))
    found, (one,), after = read(packed_with(batch([b""], 7), codec, bomb) + batch([b"c"], 8))
    assert (found, one.offset, one.next_offset, after) == ([(8, b"c")], 7, 8, 9)
    assert one.reason == "unpacks to more than 32 MiB"


@pytest.mark.parametrize("codec", [GZIP, SNAPPY, LZ4, ZSTD])
@pytest.mark.parametrize("packed", [b"", b"rubbish", b"\x1f\x8b\x08", b"\x28\xb5\x2f\xfd", b"\xff" * 40, b"\x82SNAPPY\x00" + b"\xff" * 20])
def test_garbage_in_any_codec_is_skipped(codec, packed):
    found, noted, after = read(packed_with(batch([b"a", b"b"], 7), codec, packed) + batch([b"c"], 9))
    assert (found, after) == ([(9, b"c")], 10)
    assert noted[0].offset == 7
    assert noted[-1].next_offset == 9


def test_a_codec_that_is_not_installed_is_named_with_its_package(monkeypatch):
    for has, package in (("has_zstd", "zstandard"), ("has_lz4", "lz4"), ("has_snappy", "python-snappy")):
        monkeypatch.setattr(default_records.codecs, has, lambda: False)
        codec = {"has_zstd": ZSTD, "has_lz4": LZ4, "has_snappy": SNAPPY}[has]
        found, (one,), after = read(packed_with(batch([b"a"], 7), codec, b"any") + batch([b"b"], 8))
        assert (found, after) == ([(8, b"b")], 9)
        assert one.reason.endswith(f"pip install {package}")


def test_a_header_name_that_is_not_text_costs_only_its_own_record():
    one_broken = with_header_name([b"a", b"b"], b"\xff\xfe\xfd\xfc", 7, records=1)
    found, (one,), after = read(one_broken + batch([b"c"], 9))
    assert (found, one.offset, one.next_offset, after) == ([(8, b"b"), (9, b"c")], 7, 8, 10)
    broken = with_header_name([b"a", b"b"], b"\xff\xfe\xfd\xfc", 7)
    found, noted, after = read(broken + batch([b"c"], 9))
    assert (found, after) == ([(9, b"c")], 10)
    assert [(one.offset, one.next_offset) for one in noted] == [(7, 8), (8, 9)]
    assert "invalid start byte" in noted[0].reason
    # Read from the middle of the batch, the part before it is not noted again.
    found, noted, after = read(broken, 8)
    assert ([(one.offset, one.next_offset) for one in noted], found, after) == ([(8, 9)], [], 9)


def test_a_wrong_checksum_costs_only_its_own_batch():
    broken = bytearray(batch([b"a", b"b"], 7, timestamp=1_700_000_000_000))
    broken[-3] ^= 1
    found, (one,), after = read(batch([b"0"], 6) + broken + batch([b"c"], 9), 6)
    assert (found, after) == ([(6, b"0"), (9, b"c")], 10)
    assert (one.offset, one.next_offset, one.reason, one.timestamp_ms) == (7, 9, "wrong checksum", 1_700_000_000_000)


def test_a_broken_batch_with_a_huge_length_is_not_believed():
    broken = bytearray(batch([b"a"], 7))
    struct.pack_into(">i", broken, 23, 2**31 - 1)  # last_offset_delta
    found, (one,), after = read(bytes(broken))
    assert (found, one.offset, one.next_offset, after) == ([], 7, 8, 8)


def test_a_batch_that_overstates_its_record_count_is_read_to_its_end():
    claims = bytearray(batch([b"a", b"b"], 7))
    struct.pack_into(">i", claims, 57, 5)
    struct.pack_into(">i", claims, 23, 4)
    found, noted, after = read(signed(claims) + batch([b"c"], 12))
    assert (found, after) == ([(7, b"a"), (8, b"b"), (12, b"c")], 13)
    assert [(one.offset, one.next_offset) for one in noted] == [(9, 12)]


def test_a_poll_returns_a_bounded_amount_and_the_next_one_returns_the_rest(monkeypatch):
    kind = type("Records", (internals._Records,), {"passed_over": staticmethod(print), "bytes_left": [100]})
    records = kind(0, PARTITION, MemoryRecords(batch([b"x" * 60] * 4)))
    assert [record.offset for record in records.take(10)] == [0, 1]
    with pytest.raises(internals._Enough):
        records.take(10)
    kind.bytes_left[0] = 100
    assert [record.offset for record in records.take(10)] == [2, 3]


@given(st.data())
def test_reading_continues_and_ends_whichever_bytes_are_changed(data):
    codec = data.draw(st.sampled_from([0, GZIP, LZ4, ZSTD, SNAPPY]))
    pack = {0: bytes, GZIP: gzip.compress, LZ4: lz4.frame.compress, ZSTD: zstandard.compress, SNAPPY: snappy.compress}[codec]
    plain = batch([b"a", b"b" * 50, None], 7, [("name", b"value")])
    broken = bytearray(packed_with(plain, codec, pack(plain[61:])))
    for _ in range(data.draw(st.integers(1, 4))):
        broken[data.draw(st.integers(16, len(broken) - 1))] = data.draw(st.integers(0, 255))
    broken[16] = 2  # an older format has other lengths
    if data.draw(st.booleans()):
        broken = bytearray(signed(broken))
    found, noted, after = read(bytes(broken) + batch([b"c"], 10), 7)
    assert found[-1:] == [(10, b"c")] or after > 10
    assert after >= 8
    assert all(one.next_offset > one.offset >= 7 for one in noted)
