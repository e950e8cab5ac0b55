"""Chooses and starts the services of a run: the user's own, the compose file's, or the embedded ones."""

from __future__ import annotations

import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import config
from config import Settings
from launch.compose import start_compose
from launch.docker import compose_command
from launch.market_process import MarketProcess
from launch.revival import Revival
from local.apache_kafka import ApacheKafka
from local.postgres import Postgres
from local.state import State
from local.tansu import Broker
from pipeline.broker import clients, probe
from pipeline.errors import ServiceError
from pipeline.process.discovery import DEFAULT_SERVERS, ensure_topics, is_embedded
from pipeline.process.ports import is_free
from pipeline.screener.page import LIVE_SITE
from pipeline.storage import database
from pipeline.wire import topics
from pipeline.wire.text import one_line
from pipeline.yahoo.learned import forget

#: Seconds in which a broker at the default address must accept a connection.
DEFAULT_BROKER_SECONDS = 2.0
#: Seconds in which the site must answer.
SITE_SECONDS = 8.0
#: Seconds in which a port that another program has taken from a dead PostgreSQL must be free again.
PORT_SECONDS = 120.0

Say = Callable[[str], None]


@dataclass(eq=False)
class Step:
    """One thing that a run needs. `do` returns what was found or started, and raises PipelineError if it does not work."""

    name: str
    do: Callable[[], str]
    #: Steps without which this one can't be tried.
    needs: tuple[Step, ...] = ()
    works: bool = False


@dataclass
class Services:
    """The services of one orchestrator. `settings` holds their addresses. `stop()` ends those that were started here."""

    settings: Settings
    log_dir: Path
    #: Told what takes a while.
    say: Say
    market_options: list[str] = field(default_factory=list)
    state: State | None = None
    broker: Broker | ApacheKafka | None = None
    revival: Revival | None = None
    postgres: Postgres | None = None
    #: Since when another program has had the dead PostgreSQL's port (seconds of `time.monotonic`).
    port_lost_at: float | None = None
    market: MarketProcess | None = None
    published: dict[str, str] = field(default_factory=dict)

    @classmethod
    def start(cls, settings: Settings, log_dir: Path, market_options: list[str], say: Say, site_needed: bool = True) -> Services:
        """Start or find all services, and say what was found. Raises ServiceError, and leaves nothing running in that case.

        site_needed: whether a site that does not answer is an error. Otherwise it is only said.
        """
        services = cls(settings, log_dir, say, market_options)
        try:
            for step in services.steps(site_needed):
                say(f"{step.name}: {step.do()}")
            services._publish()
        except BaseException:
            services.stop()
            raise
        return services

    def steps(self, site_needed: bool = True, join_running: bool = False) -> tuple[Step, Step, Step]:
        """The steps for the site, Kafka and PostgreSQL, in this order.

        join_running: use the services that another orchestrator runs in this folder, if there are any, in place of starting some.
        """
        if join_running and config.embedded_services(self.settings.state_dir):
            return Step("site", self._reach_site), Step("Kafka", self._running_kafka), Step("PostgreSQL", self._running_database)
        if self.settings.demo:
            return Step("site", self._local_market), Step("Kafka", self._embedded_broker), Step("PostgreSQL", self._embedded_postgres)
        site = self._reach_site if site_needed else self._try_site
        return Step("site", site), Step("Kafka", self._find_kafka), Step("PostgreSQL", self._find_database)

    def revive(self, stopping: Callable[[], bool] = lambda: False) -> None:
        """Restart the embedded PostgreSQL or KAFKA_HOME's broker if it has died. Both keep their data on disk: whatever was
        committed or acknowledged is still there, and the workers wait for the service.

        Raises ServiceError if one does not come up at the address that the workers know. `stopping` returning true ends the wait.
        """
        if self.revival is not None:
            self.revival.attend(self.say, stopping)
        if self.postgres is not None and not self.postgres.is_alive():
            self._revive_postgres(self.postgres)

    def _revive_postgres(self, dead: Postgres) -> None:
        """Start it again at its old address, the one that the workers know; if another program has taken that, once it is free."""
        port = int(dead.settings["DB_PORT"])
        if self.port_lost_at is None:
            self.say(f"the embedded PostgreSQL died; starting it again (see {self.log_dir / 'postgres.log'})")
        elif not is_free(port):
            if time.monotonic() - self.port_lost_at >= PORT_SECONDS:
                raise ServiceError(
                    f"the embedded PostgreSQL can't be restarted: another program has taken port {port}. Start the run again"
                )
            return
        dead.stop()
        assert self.state is not None
        again = Postgres.start(self.state.data_dir, self.log_dir / "postgres.log", port)
        if again.settings["DB_PORT"] == str(port):
            self.postgres, self.port_lost_at = again, None
            return
        again.stop()
        if self.port_lost_at is None:
            self.port_lost_at = time.monotonic()
            self.say(f"another program has taken port {port}: PostgreSQL is started again when it is free, within {PORT_SECONDS:.0f} s")

    def all_alive(self) -> bool:
        """Whether every service of this orchestrator is up, including those that `revive` can restart."""
        return all(service is None or service.is_alive() for service in (self.market, self.broker, self.postgres))

    def dead(self) -> str | None:
        """Name of the dead service that can't be restarted, if there is one."""
        if self.has_lost_its_messages():
            return "the embedded broker"
        if self.market is not None and not self.market.is_alive():
            return "the local market"
        return None

    def has_lost_its_messages(self) -> bool:
        """Whether the embedded broker is dead, and with it every message: there is nothing left that a consumer could finish."""
        return isinstance(self.broker, Broker) and not self.broker.is_alive()

    def stop(self) -> None:
        if self.state is not None:
            self.state.withdraw()
        for service in (self.market, self.broker, self.postgres):
            if service is not None:
                service.stop()
        if self.state is not None:
            self.state.release()

    def _take_state(self) -> State:
        if self.state is None:
            self.state = State.acquire(self.settings.state_dir)
        return self.state

    def _local_market(self) -> str:
        self._take_state()
        if "--allowance" not in self.market_options:
            # An earlier demo's market may have had an allowance. This one has none, so forget it.
            forget(self.settings.state_dir)
        self.market = MarketProcess.start(self.log_dir / "market.log", self.market_options)
        self.published |= {"YAHOO_BASE_URL": self.market.base_url, "PIPELINE_TODAY": self.market.day.isoformat()}
        self.settings = replace(self.settings, yahoo_base_url=self.market.base_url, fixed_day=self.market.day)
        return f"local market with made-up companies at {self.market.base_url}"

    def _reach_site(self) -> str:
        reach_site(self.settings.yahoo_base_url)
        return f"{self.settings.yahoo_base_url or LIVE_SITE} answers"

    def _try_site(self) -> str:
        try:
            return self._reach_site()
        except ServiceError as error:
            return f"{error}. The services start without it; producer and consumers will need it"

    def _find_kafka(self) -> str:
        kafka = self.settings.kafka
        if kafka.bootstrap_servers and not kafka.started_here:
            clients.admin(kafka).close()
            return f"{kafka.bootstrap_servers} (KAFKA_BOOTSTRAP_SERVERS from {kafka.source})"
        if self._default_broker_answers():
            self._use_servers(DEFAULT_SERVERS)
            return f"{DEFAULT_SERVERS} (it answers; KAFKA_BOOTSTRAP_SERVERS is not set)"
        if self.settings.kafka_home is not None:
            return self._apache_kafka(self.settings.kafka_home)
        command = compose_command(self.say)
        if command is None:
            return self._embedded_broker()
        start_compose(command, self.say)
        self._use_servers(DEFAULT_SERVERS)
        return f"{DEFAULT_SERVERS} (docker-compose.yml)"

    def _running_kafka(self) -> str:
        kafka = self.settings.kafka
        if not kafka.started_here:
            return self._find_kafka()
        clients.admin(kafka).close()
        return f"{kafka.bootstrap_servers} (of the services that are up)"

    def _running_database(self) -> str:
        found = self.settings.database
        if found.source != "embedded":
            return self._find_database()
        database.connect(found).close()
        return f"{found.host}:{found.port}/{found.name} (of the services that are up)"

    def _default_broker_answers(self) -> bool:
        if not probe.listens(DEFAULT_SERVERS, DEFAULT_BROKER_SECONDS):
            return False
        try:
            return not is_embedded(replace(self.settings.kafka, bootstrap_servers=DEFAULT_SERVERS, source="default"))
        except ServiceError:
            return False  # something else listens there

    def _use_servers(self, servers: str) -> None:
        self.settings = replace(self.settings, kafka=replace(self.settings.kafka, bootstrap_servers=servers, source="default"))

    def _embedded_broker(self) -> str:
        self._take_state()
        self.broker = Broker.start(self.log_dir / "broker.log")
        while not self._is_ours_alone(self.broker):
            # Clients of a broker that had this address before come to the new one, name its topics and send to them.
            used = self.broker.port
            self.broker.stop()
            self.say(f"another program's clients still connect to port {used}; starting the embedded broker on another port")
            self.broker = Broker.start(self.log_dir / "broker.log", used + 1)
        servers = self.broker.bootstrap_servers
        self.published["KAFKA_BOOTSTRAP_SERVERS"] = servers
        return f"embedded broker at {servers} (in memory: its messages end with it)"

    def _is_ours_alone(self, broker: Broker) -> bool:
        """Creates the topics. False if one of them was there already: in a new broker no one else can have a use for it."""
        kafka = replace(self.settings.kafka, bootstrap_servers=broker.bootstrap_servers, source="embedded")
        self.settings = replace(self.settings, kafka=kafka)
        return ensure_topics(self.settings) == frozenset(topics.ALL)

    def _apache_kafka(self, home: Path) -> str:
        state = self._take_state()
        data_dir = state.folder / "kafka"
        self.say(f"starting Apache Kafka of {home}…")
        log_file = self.log_dir / "broker.log"
        self.broker = ApacheKafka.start(home, data_dir, log_file)
        self.revival = Revival(self.broker, log_file)
        servers = self.broker.bootstrap_servers
        self.settings = replace(self.settings, kafka=replace(self.settings.kafka, bootstrap_servers=servers, source="apache"))
        self.published |= {"KAFKA_BOOTSTRAP_SERVERS": servers, "KAFKA_HOME": str(home)}
        return f"Apache Kafka {self.broker.version} at {servers} (KAFKA_HOME), kept in {data_dir}"

    def _find_database(self) -> str:
        settings = self.settings.database
        if settings.name and settings.source != "embedded":
            connection = database.connect(settings)
            connection.close()
            return f"{settings.user}@{settings.host}:{settings.port}/{settings.name} (DB_* from {settings.source})"
        return self._embedded_postgres()

    def _embedded_postgres(self) -> str:
        state = self._take_state()
        self.postgres = Postgres.start(state.data_dir, self.log_dir / "postgres.log")
        found = self.postgres.settings
        self.settings = replace(
            self.settings,
            database=config.Database(
                name=found["DB_DEV_NAME"],
                user=found["DB_USER"],
                password=found["DB_PASSWORD"],
                host=found["DB_HOST"],
                port=int(found["DB_PORT"]),
                source="embedded",
            ),
        )
        self.published |= found
        return f"embedded at {found['DB_HOST']}:{found['DB_PORT']}, kept in {self.postgres.data_dir}"

    def _publish(self) -> None:
        if self.state is not None:
            self.state.publish(self.published)


def reach_site(base_url: str) -> None:
    """Raises ServiceError if the site does not answer. Any answer is good enough, even an HTTP error."""
    address = base_url or LIVE_SITE
    try:
        # YAHOO_BASE_URL names the server that is asked, as the consumers do: no other proxy stands before it.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({} if base_url else None))
        opener.open(address, timeout=SITE_SECONDS).close()
    except urllib.error.HTTPError:
        pass  # it answers; it may serve a browser even if it refuses this request
    except OSError as error:
        reason = getattr(error, "reason", error)
        raise ServiceError(
            f"the site {address} can't be reached{_by_a_proxy(address, base_url)} ({reason}). Check the connection, "
            "or try the pipeline without the site: "
            "python run_pipeline.py --demo"
        ) from error


def _by_a_proxy(address: str, base_url: str) -> str:
    """Which proxy of the environment stands before the live site, without its password."""
    scheme, _, rest = address.partition("://")
    proxy = urllib.request.getproxies().get(scheme)
    if base_url or not proxy or urllib.request.proxy_bypass(rest):
        return ""
    return f" by the proxy {one_line(proxy.rpartition('@')[2], 100)} ({scheme.upper()}_PROXY in the environment)"
