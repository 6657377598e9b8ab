"""The floor: `litellm.acompletion` in a loop, nothing around it. Prints calls/s and CPU ms a call."""

from __future__ import annotations

import asyncio
import os
import sys
import time

CONCURRENCY = 64
WARM_UP = 100


async def main(url: str, calls: int) -> None:
    """Make the calls and print the two figures."""
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
    import litellm

    litellm.suppress_debug_info = True

    async def run(numbers: range) -> None:
        places = iter(numbers)

        async def one() -> None:
            for number in places:
                await litellm.acompletion(
                    model="openai/sandbox-small",
                    messages=[{"role": "user", "content": f"bare {number}"}],
                    api_base=f"{url}/v1",
                    api_key="sandbox",
                    num_retries=0,
                    max_retries=0,
                    timeout=60,
                )

        await asyncio.gather(*(one() for _ in range(CONCURRENCY)))

    await run(range(WARM_UP))
    wall, cpu = time.perf_counter(), time.process_time()
    await run(range(WARM_UP, WARM_UP + calls))
    print(calls / (time.perf_counter() - wall), (time.process_time() - cpu) / calls * 1e3)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))
