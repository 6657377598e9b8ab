"""The app for Celery's own command line: `celery -A workers.celery_app inspect active`, with REDIS_URL set."""

from infrastructure.core.config_core import load
from workers.app import make_app

app = make_app(load().settings)
