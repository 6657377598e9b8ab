"""What a worker process is while it lives: its lease, the jobs it runs, how much it takes on."""
