"""Why Kafka can't be reached, in one line that names the setting to look at.

The client only logs why a connection failed (a wrong password, an unknown authority), and raises a time-out that says nothing.
So this module listens to its log. If that does not say whether the port speaks TLS, the port is asked.
"""

from __future__ import annotations

import gc
import logging
import re
import socket
import ssl
import threading
from collections.abc import Sequence

import kafka.errors

from config import Kafka, SettingsError
from pipeline.broker import internals, probe
from pipeline.wire.text import one_line

#: Seconds in which a port must answer the question whether it speaks TLS.
PROBE_SECONDS = 3.0
#: Failed connections after which the garbage is collected.
COLLECT_EVERY = 100
#: How many clients' failures are remembered.
CLIENTS_KEPT = 200

_START = "Check KAFKA_BOOTSTRAP_SERVERS, start it (docker compose up -d), or try the pipeline without it: python run_pipeline.py --demo"


class Failures(logging.Filter):
    """Listens to the client's log, and keeps, per client of this process, the most telling reason why its connections failed.

    Attached to the logger "kafka.net.connection", whose records never reach the log itself while `silent`.
    """

    def __init__(self) -> None:
        super().__init__()
        self.silent = False
        #: How many failures there were, of all clients.
        self.count = 0
        self._kept: dict[str, tuple[int, BaseException]] = {}  # client_id → number of its last failure, its most telling one
        self._lock = threading.Lock()

    def filter(self, record: logging.LogRecord) -> bool:
        found = list(record.args) if isinstance(record.args, tuple) else []
        errors = [value for value in found if isinstance(value, BaseException)]
        if errors:
            client_id = internals.client_of(found[0])
            with self._lock:
                self.count += 1
                _, known = self._kept.pop(client_id, (0, None))
                self._kept[client_id] = (self.count, errors[-1] if known is None or _telling(errors[-1]) >= _telling(known) else known)
                if len(self._kept) > CLIENTS_KEPT:
                    del self._kept[next(iter(self._kept))]
            self._collect()
        return not self.silent

    def of(self, client_id: str) -> BaseException | None:
        """Why this client's connections fail."""
        with self._lock:
            return self._kept.get(client_id, (0, None))[1]

    def since(self, count: int) -> BaseException | None:
        """The most telling reason of any client that has failed since `count` failures were counted."""
        with self._lock:
            return max((error for number, error in self._kept.values() if number > count), key=_telling, default=None)

    def forget(self, client_id: str) -> None:
        with self._lock:
            self._kept.pop(client_id, None)

    def _collect(self) -> None:
        """The client leaves the socket of each refused connection to the garbage collector, which hardly runs in a process
        that only waits: after an hour without a broker the process could open no more files.
        """
        if self.count % COLLECT_EVERY == 0:
            gc.collect()


def _telling(error: BaseException | None) -> int:
    """The last attempt is cut short by the time-out, and a refused login sometimes looks like a lost connection."""
    if error is None:
        return 0
    if isinstance(error, kafka.errors.RequestTimedOutError | kafka.errors.KafkaTimeoutError):
        return 1
    return 3 if is_refusal(error) else 2


def is_refusal(error: BaseException) -> bool:
    """Whether a broker has answered, and will give the same answer until a setting or a right is changed."""
    return isinstance(error, kafka.errors.BrokerResponseError) or "certificate" in str(error)


def attach() -> Failures:
    """Listen from now on."""
    logger = logging.getLogger("kafka.net.connection")
    for known in logger.filters:
        if isinstance(known, Failures):
            return known
    failures = Failures()
    logger.addFilter(failures)
    return failures


def check_files(settings: Kafka) -> None:
    """Raises SettingsError for security settings that cannot work with any broker; no password is ever named."""
    protocol = settings.security_protocol
    if protocol.startswith("SASL"):
        for name in ("sasl_username", "sasl_password"):
            if not getattr(settings, name):
                raise SettingsError(f"KAFKA_{name.upper()} is missing: KAFKA_SECURITY_PROTOCOL {protocol} needs a user and a password")
    if not protocol.endswith("SSL"):
        return
    for name in ("ssl_cafile", "ssl_certfile", "ssl_keyfile"):
        path = getattr(settings, name)
        try:
            if path:
                open(path, "rb").close()
        except OSError as error:
            raise SettingsError(f"KAFKA_{name.upper()} is {path!r}: expected a file in PEM format ({error.strerror})") from error
    context = ssl.create_default_context()
    try:
        if settings.ssl_cafile:
            context.load_verify_locations(settings.ssl_cafile)
    except ssl.SSLError as error:
        raise SettingsError(f"KAFKA_SSL_CAFILE is {settings.ssl_cafile!r}: expected certificates in PEM format") from error
    try:
        if settings.ssl_certfile:
            context.load_cert_chain(settings.ssl_certfile, settings.ssl_keyfile)
    except ssl.SSLError as error:
        raise SettingsError(
            f"KAFKA_SSL_CERTFILE is {settings.ssl_certfile!r}, KAFKA_SSL_KEYFILE {settings.ssl_keyfile!r}: "
            "expected a certificate and its key in PEM format"
        ) from error


def explain(settings: Kafka, raised: BaseException, logged: BaseException | None, advertised: Sequence[tuple[str, int]] = ()) -> str:
    """One line: what is wrong, and what to look at. `logged` is why the last connection failed, if that is known.

    advertised: the addresses that the brokers advertise, if one of them answered: clients go there after the first question.
    """
    for host, port in advertised:
        failed = _connect_failure(host, port)
        if failed:
            return (
                f"Kafka at {settings.bootstrap_servers} answers, and sends its clients on to {one_line(host, 100)}:{port}, which can't be "
                f"reached from here ({failed}). Set advertised.listeners of that broker to an address that this machine knows "
                "(KAFKA_ADVERTISED_LISTENERS of a container)"
            )
    reason = raised if isinstance(raised, kafka.errors.BrokerResponseError) or logged is None else logged
    return f"Kafka at {settings.bootstrap_servers} {_what(settings, reason, type(raised).__name__)}"


def _connect_failure(host: str, port: int) -> str:
    """Why nothing can be reached at this address; empty if something can."""
    try:
        socket.create_connection((host, port), timeout=PROBE_SECONDS).close()
    except (OSError, UnicodeError, OverflowError) as error:
        return one_line(getattr(error, "strerror", None) or str(error) or type(error).__name__, 200)
    return ""


def refusal(settings: Kafka, error: BaseException, topic: str) -> str:
    """What a reachable broker does not allow, and what would help; empty if the error says something else."""
    if isinstance(error, kafka.errors.TopicAuthorizationFailedError):
        who = settings.sasl_username or "ANONYMOUS"
        return (
            f"Kafka at {settings.bootstrap_servers} does not allow the user {who!r} to write to topic {topic} (TopicAuthorizationFailed):"
            " grant it WRITE and DESCRIBE there"
        )
    if isinstance(error, kafka.errors.AuthorizationError | kafka.errors.SaslAuthenticationFailedError):
        return explain(settings, error, error)
    if isinstance(error, kafka.errors.InvalidTimestampError):
        return (
            f"Kafka at {settings.bootstrap_servers} refuses the time of messages to topic {topic}: the clock of this machine, or of the"
            " broker's, is wrong"
        )
    return ""


def _what(settings: Kafka, reason: BaseException, raised_name: str) -> str:
    protocol, text = settings.security_protocol, str(reason)
    login = "Check KAFKA_SASL_USERNAME, KAFKA_SASL_PASSWORD and KAFKA_SASL_MECHANISM"
    if isinstance(reason, kafka.errors.SaslAuthenticationFailedError):
        return f"refuses the user {settings.sasl_username!r} or the password. {login}"
    if isinstance(reason, kafka.errors.UnsupportedSaslMechanismError):
        return f"does not know SASL mechanism {settings.sasl_mechanism}. Check KAFKA_SASL_MECHANISM"
    if isinstance(reason, kafka.errors.IllegalSaslStateError):
        return f"asks for no user there. Check KAFKA_SECURITY_PROTOCOL (it is {protocol})"
    if isinstance(reason, kafka.errors.AuthorizationError):
        return f"does not allow the user {settings.sasl_username!r} to do this ({type(reason).__name__}). Check its rights on the broker"
    if "CERTIFICATE_VERIFY_FAILED" in text:
        found = re.search(r"certificate verify failed: (.*?)(?: \(_ssl|$)", text)
        where = repr(settings.ssl_cafile) if settings.ssl_cafile else "not set, so the system's authorities count"
        return f"has a certificate that is not trusted: {found.group(1) if found else text}. Check KAFKA_SSL_CAFILE (it is {where})"
    if "Handshake failed" in text or isinstance(reason, ssl.SSLError):
        return f"does not speak TLS there, or not this one. Check the port, and KAFKA_SECURITY_PROTOCOL (it is {protocol})"
    # A port with another protocol ends the connection, or its first bytes look like a message of an absurd length.
    if "disconnected" in text or "Invalid frame length" in text:
        if not protocol.endswith("SSL"):
            if speaks_tls(settings.bootstrap_servers):
                return f"speaks TLS. Check KAFKA_SECURITY_PROTOCOL (it is {protocol})"
        elif settings.sasl_mechanism:
            return f"ends the connection at the login of user {settings.sasl_username!r}. {login}"
        else:
            return f"ends the connection: it may want a user. Check KAFKA_SECURITY_PROTOCOL (it is {protocol})"
    detail = raised_name if isinstance(reason, kafka.errors.KafkaTimeoutError) or not text else f"{raised_name}: {text}"
    return f"can't be reached ({detail}). {_START}"


def speaks_tls(servers: str) -> bool:
    """Whether the first of the brokers that accepts a connection answers a TLS greeting."""
    context = ssl.create_default_context()
    # Nothing is sent over it: this only finds out which protocol the port speaks.
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    connection = probe.connect(servers, PROBE_SECONDS)
    if connection is None:
        return False
    with connection:
        try:
            context.wrap_socket(connection).close()
        except ssl.SSLError as error:
            # A server that asks for a client's certificate speaks TLS as well.
            return "ALERT" in (error.reason or "")
        except OSError:
            return False
        return True
