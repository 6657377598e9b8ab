"""Topics of the events that the service publishes.

    topic                    data                                                       from
    provider.failover        from_provider, to_provider, reason, failover_time_ms,      workers
                             job_id
    provider.health          provider, before, status, reason                           upkeep
    provider.breaker         provider, model, before, state, reason                     workers, upkeep
    configuration.changed    version: of the configuration that holds now               every process
    configuration.refused    problems: how many faults the new one has                  every process
    worker.ready             owner, kind                                                workers
    worker.draining          owner, running: jobs that it still has                     workers
    worker.stopped           owner                                                      workers
    jobs.rescued             rescued, poisoned: how many                                upkeep
    job.dead                 job_id: of a job that killed its workers, now a dead letter        upkeep
    webhook.failed           delivery_id, endpoint_id, type: its last attempt failed;   upkeep
                             at most one a minute and endpoint
    webhook.disabled         endpoint_id, reason: gone, failing                         upkeep
    fleet.scaled             kind, before, workers: how many processes                  `ai-provider up`

They are hints for whoever watches; nothing that must not be lost depends on one.
"""

PROVIDER_FAILOVER = "provider.failover"
PROVIDER_HEALTH = "provider.health"
PROVIDER_BREAKER = "provider.breaker"
CONFIGURATION_CHANGED = "configuration.changed"
CONFIGURATION_REFUSED = "configuration.refused"
WORKER_READY = "worker.ready"
WORKER_DRAINING = "worker.draining"
WORKER_STOPPED = "worker.stopped"
JOBS_RESCUED = "jobs.rescued"
JOB_DEAD = "job.dead"
FLEET_SCALED = "fleet.scaled"
WEBHOOK_FAILED = "webhook.failed"
WEBHOOK_DISABLED = "webhook.disabled"
