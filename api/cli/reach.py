"""Whether addresses are free, and whether what should answer at them does, within seconds and in one sentence."""

from __future__ import annotations

import errno
import socket
import threading

import httpx
from redis.exceptions import AuthenticationError, BusyLoadingError, NoPermissionError, RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError

from api.cli.errors import CommandFailed
from infrastructure.core.redis_core import check_url, connect_sync, shown

REDIS_S = 3.0
REDIS_AND_NAMES_S = 8.0
HEALTH_S = 2.0


def free_port(host: str = "127.0.0.1") -> int:
    """Return a port that nobody listens on now."""
    with socket.socket(_family(host)) as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


def is_free(host: str, port: int) -> bool:
    """Say whether a program could listen there.

    Raises:
        CommandFailed: the address is none of this machine's, or not allowed.
    """
    try:
        with socket.socket(_family(host)) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
            probe.listen(1)
    except OSError as exc:
        if exc.errno == errno.EADDRINUSE:
            return False
        raise CommandFailed(f"cannot listen on {host} port {port}: {exc.strerror or exc}") from exc
    return True


def is_service(url: str, *, name: str) -> bool:
    """Say whether a front door of this service answers there."""
    try:
        answer = httpx.get(f"{url}/health", timeout=HEALTH_S, trust_env=False)
        return bool(answer.json().get("service") == name)
    except (httpx.HTTPError, ValueError, AttributeError):
        return False


def check_redis(url: str, *, origin: str = "") -> None:
    """Return when Redis answers there.

    Raises:
        CommandFailed: it does not within 8 s; the sentence names it without its credentials, and says why.
    """
    check_url(url)
    where = f"Redis at {shown(url)}" + (f" (from {origin})" if origin else "")
    problem: list[str | None] = []
    # In a thread: looking up a name has no time limit of its own.
    asking = threading.Thread(target=lambda: problem.append(_redis_problem(url)), daemon=True)
    asking.start()
    asking.join(REDIS_AND_NAMES_S)
    found = problem[0] if problem else f"no answer within {REDIS_AND_NAMES_S:.0f} s"
    if found is not None:
        raise CommandFailed(
            f"{where} cannot be used: {found}. Start it or correct the address; without one an embedded server is used"
        )


def _redis_problem(url: str) -> str | None:
    try:
        with connect_sync(url, socket_timeout_s=REDIS_S, connect_timeout_s=REDIS_S, retries=0) as client:
            client.ping()
    except BusyLoadingError:
        return None
    except (AuthenticationError, NoPermissionError):
        return "it refuses the user or the password"
    except RedisTimeoutError:
        return f"no answer within {REDIS_S:.0f} s"
    except (RedisError, OSError, ValueError) as exc:
        return _reason(exc)
    return None


def _reason(exc: Exception) -> str:
    """Return the system's word for what happened; redis-py's own texts may repeat the address."""
    cause: BaseException | None = exc
    while cause is not None:
        if isinstance(cause, OSError) and cause.strerror:
            return cause.strerror
        cause = cause.__cause__ or cause.__context__
    return "it does not answer as Redis does"


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET
