"""Active checks of the providers: one prober in the fleet, all providers at once."""
