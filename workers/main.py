"""Entry point of worker, upkeep, beat and Flower processes: `python -m workers.main KIND`."""

from workers.app import main

main()
