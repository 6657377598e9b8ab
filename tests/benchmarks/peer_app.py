"""The peer: a bare Celery app whose task makes one LiteLLM call, as a team without this service would write it."""

from __future__ import annotations

import os
import sys

from celery import Celery

app = Celery("peer", broker=os.environ.get("REDIS_URL", "").replace("unix://", "redis+socket://"))
app.conf.update(task_ignore_result=True, worker_prefetch_multiplier=1, broker_connection_retry_on_startup=True)


if "worker" in sys.argv:
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
    import litellm

    litellm.suppress_debug_info = True


@app.task
def call(number: int) -> None:
    litellm.completion(
        model="openai/sandbox-small",
        messages=[{"role": "user", "content": f"question {number}"}],
        api_base=f"{os.environ['AI_PROVIDER_SANDBOX_URL']}/v1",
        api_key="sandbox",
        num_retries=0,
        max_retries=0,
        timeout=60,
    )


if __name__ == "__main__":
    for _number in range(int(sys.argv[1])):
        app.send_task("tests.benchmarks.peer_app.call", (_number,))
