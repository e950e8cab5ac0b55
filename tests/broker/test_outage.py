import logging

import kafka.errors
import pytest

from pipeline.broker import clients

clients.quiet()
coordinator = logging.getLogger("kafka.coordinator")
heartbeat = logging.getLogger("kafka.coordinator.heartbeat")
fetcher = logging.getLogger("kafka.consumer.fetcher")
sender = logging.getLogger("kafka.producer.sender")


@pytest.mark.parametrize(
    ("logger", "text", "named"),
    [
        (
            coordinator,
            "Error sending %s to node %s [%s]",
            ("FindCoordinatorRequest", 1, kafka.errors.KafkaConnectionError("111 ECONNREFUSED")),
        ),
        (
            coordinator,
            "Marking the coordinator dead (node %s) for group %s: %s.",
            (1, "stock-scrapers", kafka.errors.NotCoordinatorError()),
        ),
        (coordinator, "Marking the coordinator dead (node %s) for group %s: %s.", (1, "group", "Node Disconnected")),
        # The client logs this if `close` meets a heartbeat.
        (heartbeat, "Unhandled Heartbeat loop error: %s", (RuntimeError("NetworkSelector closed!"),)),
        (fetcher, "Discarding error in ListOffsetResponse because another error is pending: %s", (kafka.errors.NodeNotReadyError(1),)),
        (sender, "%s: Got error produce response, retrying (%s attempts left): %s%s", ("sender", 9, "NotLeaderForPartitionError", "")),
    ],
)
def test_log_lines_that_only_say_that_no_broker_answers_are_dropped(caplog, logger, text, named):
    logger.error(text, *named)
    assert caplog.records == []


@pytest.mark.parametrize(
    ("logger", "text", "named"),
    [
        (coordinator, "Group Coordinator Request failed: %s", (kafka.errors.GroupAuthorizationFailedError("stock-scrapers"),)),
        (coordinator, "Attempt to join group %s failed due to fatal error: %s", ("g", kafka.errors.InconsistentGroupProtocolError())),
        (heartbeat, "Unhandled Heartbeat loop error: %s", (RuntimeError("something else"),)),
        (fetcher, "Not authorized to read from topic %s.", ("stock-scraping-tasks",)),
        (sender, "%s: Got error produce response, retrying (%s attempts left): %s%s", ("sender", 9, "NotEnoughReplicasError", "")),
    ],
)
def test_log_lines_that_a_user_must_act_on_are_shown(caplog, logger, text, named):
    logger.warning(text, *named)
    assert [record.getMessage() for record in caplog.records] == [text % named]
