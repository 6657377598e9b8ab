"""The job store: its Redis scripts and what goes in and out of them."""
