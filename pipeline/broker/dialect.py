"""Differences between the brokers that this program runs on, as far as it has to behave differently.

If one way is right on both, it is used on both, and there is no entry here: the end of a partition is what a fetch says (the embedded
broker's ListOffsets is wrong for batches of several records), and topics are created before any client starts.
"""

from __future__ import annotations

from dataclasses import dataclass

from config import Kafka


@dataclass(frozen=True)
class Dialect:
    #: How long a silent member keeps its partitions, in ms.
    session_ms: int
    #: Whether a member that ends sends a LeaveGroup request.
    leaves_by_request: bool
    #: Whether the settings of topics and brokers can be asked for.
    tells_settings: bool
    #: Whether messages survive the broker's process.
    keeps_messages: bool
    #: Whether a group without members takes in any member, however the earlier ones shared the work out.
    forgets_protocols: bool


#: The partitions of a killed member move after its session. A cluster needs a longer one than a process on the same machine.
APACHE = Dialect(session_ms=12_000, leaves_by_request=True, tells_settings=True, keeps_messages=True, forgets_protocols=True)
#: A first join takes half a session. If a follower leaves by a request before the leader, the broker goes on naming the departed
#: leader as that of every later generation, and nobody is assigned anything ever again: a member that is silent is forgotten after
#: its session, and that works. A client that asks for settings is disconnected. A group that another program's
#: member was in goes on refusing ours after it has left.
EMBEDDED = Dialect(session_ms=6_000, leaves_by_request=False, tells_settings=False, keeps_messages=False, forgets_protocols=False)


def of(settings: Kafka) -> Dialect:
    return EMBEDDED if settings.source == "embedded" else APACHE
