"""Uploads and flights in the admin, to look at: the tasks write them."""

from typing import Any

from django.contrib import admin
from django.http import HttpRequest

from .models import Flight, Upload


class ReadOnly:
    """Nothing can be added, changed or deleted by hand."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        """No."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """No."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """No."""
        return False


@admin.register(Upload)
class UploadAdmin(ReadOnly, admin.ModelAdmin):  # type: ignore[type-arg]  # no type parameter at run time
    """One line per airline."""

    list_display = ("airline", "rows", "created_at", "complete_at", "summarised_at")


@admin.register(Flight)
class FlightAdmin(ReadOnly, admin.ModelAdmin):  # type: ignore[type-arg]
    """One line per row of an upload."""

    list_display = ("upload", "row", "number", "origin", "dest", "day", "hour", "outcome", "dep_delay")
    list_filter = ("outcome", "distance_check", "upload__airline")
    list_select_related = ("upload",)
    show_full_result_count = False
