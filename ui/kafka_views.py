"""The Kafka views: topics and consumer groups, and the messages of a topic."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from pipeline.errors import PipelineError
from pipeline.wire import topics
from ui import addresses
from ui.topics_view import KafkaView

#: Characters of a message that the list shows; longest key to search for.
VALUE_SHOWN = 4_000
LONGEST_KEY = 1_000

Render = Callable[..., Response]


def tried(read: Callable[[], Any]) -> tuple[Any, str]:
    """The result of `read`, and the error's text if it failed."""
    try:
        return read(), ""
    except PipelineError as error:
        return None, str(error)


class KafkaViews:
    """`render` makes HTML of a template."""

    def __init__(self, kafka: KafkaView, render: Render) -> None:
        self._kafka = kafka
        self._render = render

    def overview(self, request: Request) -> Response:
        found, topics_problem = tried(self._kafka.topics)
        if found is not None and not all(topic.partitions for topic in found):
            groups, groups_problem = None, ""  # without topics there are no groups
        else:
            groups, groups_problem = tried(self._kafka.groups) if found is not None else (None, topics_problem)
        return self._render(
            request,
            "kafka.html",
            503 if topics_problem else 200,
            topics=found,
            topics_problem=topics_problem,
            groups=groups,
            groups_problem=groups_problem,
        )

    def messages(self, request: Request) -> Response:
        name = request.path_params["name"]
        if name not in topics.ALL:
            raise HTTPException(404, f"{name[:100]!r} is not one of the pipeline's topics")
        asked = request.query_params
        partition = addresses.whole_number(asked.get("partition"), "partition", 10**6)
        offset = addresses.whole_number(asked.get("offset"), "offset")
        key = asked.get("key", "").strip()
        if len(key) > LONGEST_KEY:
            raise addresses.refused("key", key, f"at most {LONGEST_KEY} characters")
        if offset is not None and partition is None:
            raise HTTPException(400, "an offset needs its partition")
        before = addresses.edges(asked.get("before"))
        newest = before is None
        if offset is not None and partition is not None and before is None:
            before = {partition: offset + 1}
            newest = False
        found, problem = tried(lambda: self._kafka.messages(name, before, partition, key))
        topic, page = found or (None, None)
        if topic is not None and partition is not None and topic.ends and partition not in topic.ends:
            raise addresses.refused("partition", str(partition), f"one of {', '.join(map(str, sorted(topic.ends)))}")
        return self._render(
            request,
            "messages.html",
            503 if problem else 200,
            name=name,
            topic=topic,
            page=page,
            problem=problem,
            older=_older(page.older, key, partition) if page else "",
            key=key,
            partition=partition,
            offset=offset,
            newest=newest,
            value_shown=VALUE_SHOWN,
        )


def _older(edges: dict[int, int], key: str, partition: int | None) -> str:
    """The address of the next older messages; empty if there are none."""
    if not edges:
        return ""
    before = ",".join(f"{number}:{edge}" for number, edge in sorted(edges.items()))
    return urlencode([("key", key)] * bool(key) + [("partition", str(partition))] * (partition is not None) + [("before", before)])
