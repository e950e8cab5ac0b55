"""The embedded broker of a run starts empty, whoever else knows its address."""

import config
from launch.services import Services
from local.tansu import Broker
from pipeline.broker import clients, positions
from pipeline.wire import topics
from tests.conftest import quiet_port


def test_a_broker_that_foreign_clients_reach_first_is_replaced_on_another_port(tmp_path, monkeypatch):
    """Clients of a broker that died at this address make topics in the new one; what both write there is garbled."""
    starts: list[Broker] = []
    start_broker = Broker.start

    def start(log_file, preferred_port=0):
        broker = start_broker(log_file, preferred_port or quiet_port())
        starts.append(broker)
        if len(starts) == 1:
            admin = clients.admin(config.Kafka(bootstrap_servers=broker.bootstrap_servers, source="embedded"))
            admin.create_topics({topics.PROCESSING_TASKS: {"num_partitions": 4, "replication_factor": 1}})
            admin.close()
        return broker

    monkeypatch.setattr("launch.services.Broker.start", start)
    said: list[str] = []
    services = Services(config.load(False, {"PIPELINE_HOME": str(tmp_path)}), tmp_path, said.append)
    try:
        services._embedded_broker()
        assert [broker.is_alive() for broker in starts] == [False, True]
        assert services.settings.kafka.bootstrap_servers == starts[1].bootstrap_servers != starts[0].bootstrap_servers
        assert len(positions.high_watermarks(services.settings.kafka, [topics.PROCESSING_TASKS])) == 24
        assert "another program's clients still connect" in said[0]
    finally:
        services.stop()
