"""A report of a process that leads, as others send it."""

REPORT = {
    "sender": "host:1",
    "stage": "processing",
    "since": 1000.0,
    "busy": True,
    "in_flight": 2,
    "courtesy": 1.0,
    "answers": [[0.5, 3]],
    "refusals": 1,
    "probe": "",
    "holding": False,
    "leads": True,
    "answered_total": 1234,
    "refused_total": 5,
    "reason": "the site answered 429",
    "limits": [],
    "waits_seconds": 4.0,
    "refused_seconds": 0.0,
    "per_second": 9.5,
    "ceiling": 0.0,
    "rate": 9.5,
}
