"""What a row may turn out to be."""

from django.db import models


class Outcome(models.TextChoices):
    """What became of a flight, as far as its row tells."""

    FLOWN = "flown", "flown"
    INCOMPLETE = "incomplete", "departed, arrival not reported"
    CANCELLED = "cancelled", "cancelled"
    INVALID = "invalid", "row cannot be read"


class DistanceCheck(models.TextChoices):
    """Whether the reported distance is the one between the airports."""

    AGREES = "agrees", "agrees"
    DIFFERS = "differs", "differs"
    UNKNOWN = "unknown", "airport without coordinates"
