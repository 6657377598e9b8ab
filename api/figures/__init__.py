"""Figures of the fleet as the API shows them: providers, their health, costs."""
