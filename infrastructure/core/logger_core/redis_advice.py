"""What a process says at its start of a Redis that is not set up as it should be, by the finding's id."""

from __future__ import annotations

from types import MappingProxyType
from typing import Final

REDIS_UNFIT: Final = "Redis is not set up as it should be; `ai-provider check` tells how to mend it"
REDIS_ADVICE: Final = MappingProxyType(
    {
        "version": "Redis is older than 6.2: jobs will fail; `ai-provider check` tells more",
        "mode": "Redis runs in cluster mode or is a sentinel itself: nothing can run on it; use one server, or redis+sentinel://",
        "persistence": "A crash of Redis can lose accepted jobs and results: set appendonly yes, appendfsync always",
        "eviction": "Redis may delete jobs when memory is short: set maxmemory-policy noeviction",
        "memory": "Redis has no memory limit, or is near it: submits fail, or the system kills it; see maxmemory",
        "replication": "A failover or a cut-off master can lose accepted jobs: see min-replicas-to-write",
        "connections": "Redis ends idle connections, or keeps dead ones: set timeout 0, tcp-keepalive 300",
        "notifications": "Redis publishes keyspace notifications that nobody here hears: set notify-keyspace-events to nothing",
        "scripts": "Redis answers BUSY after a short time in a script: set lua-time-limit 5000",
        "latency": "Redis is slow to answer: run the service beside it",
    }
)
