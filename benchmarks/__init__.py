"""Measurements. None of it is installed with the package."""
