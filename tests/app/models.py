"""One table, to see what transactions and connections do."""

from __future__ import annotations

from django.db import models


class Note(models.Model):
    """A line that a task or a test wrote."""

    text = models.CharField(max_length=100)

    def __str__(self) -> str:
        return self.text
