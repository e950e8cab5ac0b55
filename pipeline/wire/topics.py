"""The topics: names, partitions, limits."""

from __future__ import annotations

from dataclasses import dataclass

from config import Kafka

SCRAPING_TASKS = "stock-scraping-tasks"
PROCESSING_TASKS = "stock-processing-tasks"
SCRAPING_COMPLETION = "scraping-completion"
PROCESSING_COMPLETION = "processing-completion"
SCRAPING_ERRORS = "scraping-errors"
PROCESSING_ERRORS = "processing-errors"
SCRAPING_RETRIES = "stock-scraping-retries"
PROCESSING_RETRIES = "stock-processing-retries"
SCRAPING_DEAD_LETTERS = "stock-scraping-dead-letters"
PROCESSING_DEAD_LETTERS = "stock-processing-dead-letters"
#: What the consumers tell each other about the site's limits (pipeline/yahoo/shared_throttle.py). Its messages expire.
CONTROL = "pipeline-control"

#: Partitions of every topic but the task and retry topics.
RESULT_PARTITIONS = 3
#: How long the broker keeps the control topic's messages, in ms. They are of use for minutes only.
CONTROL_RETENTION_MS = 600_000
#: Largest message in bytes that this program sends: a task of the default limit (1 MiB) and the headers of its retry.
LARGEST_MESSAGE_BYTES = 2 * 1024 * 1024
#: What every completion and error message fits into, in bytes: its texts are cut.
LARGEST_RESULT_BYTES = 64 * 1024


@dataclass(frozen=True)
class StageTopics:
    """The topics of one stage and the consumer group that works on it."""

    name: str
    group: str
    tasks: str
    retries: str
    completion: str
    errors: str
    dead_letters: str


SCRAPING = StageTopics(
    "scraping", "stock-scrapers", SCRAPING_TASKS, SCRAPING_RETRIES, SCRAPING_COMPLETION, SCRAPING_ERRORS, SCRAPING_DEAD_LETTERS
)
PROCESSING = StageTopics(
    "processing",
    "stock-processors",
    PROCESSING_TASKS,
    PROCESSING_RETRIES,
    PROCESSING_COMPLETION,
    PROCESSING_ERRORS,
    PROCESSING_DEAD_LETTERS,
)
STAGES = (SCRAPING, PROCESSING)
ALL = (
    *(name for stage in STAGES for name in (stage.tasks, stage.retries, stage.completion, stage.errors, stage.dead_letters)),
    CONTROL,
)


def partitions(topic: str, settings: Kafka) -> int:
    if topic == CONTROL:
        return 1
    wide = any(topic in (stage.tasks, stage.retries) for stage in STAGES)
    return settings.task_partitions if wide else RESULT_PARTITIONS


def configs(topic: str) -> dict[str, str]:
    """The topic settings that differ from the broker's defaults."""
    found = {"max.message.bytes": str(LARGEST_MESSAGE_BYTES)}
    # Only whole segments are deleted, and by default a segment lasts a week.
    return {**found, "retention.ms": str(CONTROL_RETENTION_MS), "segment.ms": str(CONTROL_RETENTION_MS)} if topic == CONTROL else found


def spread(index: int, count: int, partition_count: int) -> int:
    """Partition of the `index`-th of `count` scraping tasks. They are few, so they are spread evenly."""
    return index * partition_count // count
