"""Running tasks: registry, attempt, pump, supervisor."""
