"""What is said of a Kafka that can't be reached: the setting to look at, never the password."""

from __future__ import annotations

import gc
import logging
import socket
import threading

import kafka.errors
import pytest
from kafka.net.connection import KafkaConnection

from config import Kafka, SettingsError
from pipeline.broker import diagnosis

PLAIN = Kafka("127.0.0.1:1")
SECURED = Kafka("127.0.0.1:1", "SASL_SSL", "PLAIN", "someone", "telling", ssl_cafile="/ca.crt")
TIME_OUT = kafka.errors.KafkaTimeoutError("Unable to bootstrap")
UNTRUSTED = kafka.errors.KafkaConnectionError(
    "Handshake failed: [SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: unable to get local issuer certificate (_ssl.c:1006)"
)


@pytest.mark.parametrize(
    ("settings", "raised", "logged", "words"),
    [
        (PLAIN, TIME_OUT, None, "can't be reached (KafkaTimeoutError). Check KAFKA_BOOTSTRAP_SERVERS"),
        (PLAIN, TIME_OUT, ConnectionRefusedError(111, "Connection refused"), "Connection refused"),
        (PLAIN, ConnectionRefusedError(111, "Connection refused"), None, "--demo"),
        (SECURED, TIME_OUT, kafka.errors.SaslAuthenticationFailedError("no"), "refuses the user 'someone' or the password"),
        (SECURED, kafka.errors.SaslAuthenticationFailedError("no"), TIME_OUT, "KAFKA_SASL_PASSWORD"),
        (SECURED, TIME_OUT, kafka.errors.UnsupportedSaslMechanismError("no"), "does not know SASL mechanism PLAIN"),
        (SECURED, TIME_OUT, UNTRUSTED, "not trusted: unable to get local issuer certificate. Check KAFKA_SSL_CAFILE (it is '/ca.crt')"),
        (SECURED, TIME_OUT, kafka.errors.KafkaConnectionError("socket disconnected"), "at the login of user 'someone'"),
        (PLAIN, TIME_OUT, kafka.errors.InvalidReceiveError("Invalid frame length: 352518912"), "can't be reached (KafkaTimeoutError: Inv"),
        (SECURED, kafka.errors.TopicAuthorizationFailedError("no"), None, "does not allow the user 'someone'"),
    ],
)
def test_each_reason_names_what_to_look_at(settings, raised, logged, words):
    text = diagnosis.explain(settings, raised, logged)
    assert text.startswith("Kafka at 127.0.0.1:1 ")
    assert words in text
    assert "\n" not in text
    assert "telling" not in text


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"sasl_password": None}, "KAFKA_SASL_PASSWORD is missing"),
        ({"ssl_cafile": "/nowhere"}, "KAFKA_SSL_CAFILE is '/nowhere': expected a file in PEM format"),
        ({"ssl_cafile": __file__}, "expected certificates in PEM format"),
        ({"ssl_cafile": None, "ssl_certfile": __file__}, "expected a certificate and its key"),
    ],
)
def test_settings_that_cannot_work_are_named_before_anything_is_tried(changed, words):
    fields = {"security_protocol": "SASL_SSL", "sasl_mechanism": "PLAIN", "sasl_username": "someone", "sasl_password": "telling"}
    with pytest.raises(SettingsError) as caught:
        diagnosis.check_files(Kafka("127.0.0.1:1", **{**fields, **changed}))
    assert words in str(caught.value)
    assert "telling" not in str(caught.value)


def test_the_most_telling_failure_is_kept():
    failure = diagnosis.Failures()
    refused = kafka.errors.SaslAuthenticationFailedError("no")
    for error in (kafka.errors.RequestTimedOutError(), kafka.errors.KafkaConnectionError("socket disconnected"), refused):
        failure.filter(record(error))
    for error in (kafka.errors.RequestTimedOutError(), kafka.errors.KafkaConnectionError("socket disconnected")):
        failure.filter(record(error))
    assert failure.of("") is refused
    assert failure.since(0) is refused
    assert failure.since(failure.count) is None
    failure.forget("")
    assert failure.of("") is None


def test_failures_of_different_clients_are_kept_apart():
    failures = diagnosis.Failures()
    refused, away = kafka.errors.SaslAuthenticationFailedError("no"), ConnectionRefusedError()
    for client_id, error in (("one", refused), ("other", away)):
        connection = KafkaConnection(None, client_id=client_id)
        failures.filter(logging.LogRecord("kafka.net.connection", logging.ERROR, "", 0, "%s: %s", (connection, error), None))
    assert (failures.of("one"), failures.of("other")) == (refused, away)
    assert failures.since(1) is away


def test_the_listener_is_attached_once_and_drops_records_while_silent():
    failure = diagnosis.attach()
    assert diagnosis.attach() is failure
    listener = diagnosis.Failures()
    assert listener.filter(record(TIME_OUT))
    listener.silent = True
    assert not listener.filter(record(TIME_OUT))


def test_garbage_is_collected_once_in_so_many_failures_since_the_client_leaves_sockets_behind(monkeypatch):
    collected = []
    monkeypatch.setattr(gc, "collect", lambda: collected.append(True))
    failure = diagnosis.Failures()
    for _ in range(2 * diagnosis.COLLECT_EVERY):
        failure.filter(record(ConnectionRefusedError()))
    assert len(collected) == 2


def test_a_port_that_closes_the_connection_is_reported_as_not_speaking_tls():
    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=lambda: server.accept()[0].close())
        thread.start()
        assert not diagnosis.speaks_tls(f"127.0.0.1:{server.getsockname()[1]}")
        thread.join()
    assert not diagnosis.speaks_tls("127.0.0.1:1")


def record(error: BaseException) -> logging.LogRecord:
    return logging.LogRecord("kafka.net.connection", logging.ERROR, "", 0, "%s: Connection lost: %s", ("a connection", error), None)
