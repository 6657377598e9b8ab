"""What the API answers of webhooks, as the reference describes it; `api/webhooks/views.py` writes the same."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from workers.jobs.webhooks.models import DeliveryStatus


class WebhookView(BaseModel):
    """A registered endpoint."""

    model_config = ConfigDict(title="Webhook")

    id: str = Field(description="`whk_` and 24 hex digits: what a job names as its `webhook`.")
    object: Literal["webhook"]
    url: str
    description: str
    enabled: bool
    disabled_reason: Literal["gone", "failing"] | None = Field(
        description="`gone`: it answered 410; `failing`: it took nothing for days; null: not disabled by the service."
    )
    created_at: datetime
    updated_at: datetime


class WebhookWithSecret(WebhookView):
    """An endpoint with its secret, which is not shown again."""

    model_config = ConfigDict(title="WebhookWithSecret")

    secret: str = Field(description="`whsec_` and 32 bytes in base64, as Standard Webhooks libraries take it.")


class WebhookList(BaseModel):
    """The tenant's endpoints, newest first."""

    object: Literal["list"]
    data: list[WebhookView]
    has_more: bool


class WebhookDeleted(BaseModel):
    """An endpoint that is gone."""

    id: str
    object: Literal["webhook"]
    deleted: Literal[True]


class DeliveryAttempt(BaseModel):
    """One attempt of a delivery."""

    at: datetime
    status: int | None = Field(description="The answer's HTTP status, null where there was none.")
    latency_ms: int
    error: str | None = Field(
        description="Null: it was taken. Else `timeout`, `unresolved`, `address_refused`, `unreachable`, `tls`, `bad_answer`, "
        "`redirect`, `gone`, `http_status`, or `lost`: its sender died."
    )


class DeliveryData(BaseModel):
    """What the event is about."""

    id: str = Field(description="Of the job, or of the endpoint under test.")


class DeliveryView(BaseModel):
    """An event on its way to an endpoint."""

    model_config = ConfigDict(title="WebhookDelivery")

    id: str = Field(description="The event's id, and the `webhook-id` header of every attempt.")
    object: Literal["webhook_delivery"]
    webhook: str
    type: str = Field(
        description="`job.completed`, `job.failed`, `job.cancelled`, `job.expired` or `webhook.test`."
    )  # fmt: skip
    data: DeliveryData
    status: DeliveryStatus
    created_at: datetime
    next_attempt_at: datetime | None
    attempts: list[DeliveryAttempt]


class DeliveryList(BaseModel):
    """A page of deliveries, newest first."""

    object: Literal["list"]
    data: list[DeliveryView]
    has_more: bool
