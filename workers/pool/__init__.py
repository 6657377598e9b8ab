"""The Celery pool that runs coroutines: the pool itself, its bridge, its loop, its consumer."""
