"""The pages."""

from __future__ import annotations

from dataclasses import asdict

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe

from django_fairque import FairqueError

from .charts import FIRST_HOUR, LAST_HOUR, delay_chart, headline, heat_legend, heat_row
from .models import Upload
from .reference import airlines, months
from .uploads import progress, start_import


@require_safe
def index(request: HttpRequest) -> HttpResponse:
    """What this is, the button that starts it, and the airlines that are done."""
    reports = [
        (upload.airline, airlines().get(upload.airline, upload.airline), summary, heat_row(summary.hours))
        for upload in Upload.objects.order_by("-rows", "airline")
        if (summary := upload.report)
    ]
    return render(
        request,
        "flights/index.html",
        {
            "airlines": [(code, airlines()[code], len(rows)) for code, rows in months().items()],
            "flights": sum(len(rows) for rows in months().values()),
            "reports": reports,
            "hours": range(FIRST_HOUR, LAST_HOUR + 1),
            "legend": heat_legend(),
            "running": Upload.objects.filter(summarised_at=None).count(),
        },
    )


@require_POST
def start(request: HttpRequest) -> HttpResponse:
    """Start the import of one airline, or of all, the largest first."""
    chosen = request.POST.get("airline", "")
    if chosen != "all" and chosen not in months():
        messages.error(request, "Choose an airline from the list.")
        return redirect("index")
    codes = list(months()) if chosen == "all" else [chosen]
    try:
        for code in codes:
            start_import(code, months()[code])
    except FairqueError as error:
        messages.error(request, f"The queue did not take everything: {error}")
    return redirect("imports")


@require_safe
@never_cache
def imports(request: HttpRequest) -> HttpResponse:
    """A bar per airline."""
    rows = progress()
    return render(
        request,
        "flights/imports.html",
        {"progress": rows, "finished": all(row.is_finished for row in rows)},
    )


@require_safe
@never_cache
def imports_json(request: HttpRequest) -> JsonResponse:
    """The same figures, for the script that moves the bars."""
    return JsonResponse(
        {
            "airlines": [
                {**asdict(row), "percent": row.percent, "is_finished": row.is_finished} for row in progress()
            ]
        }
    )


@require_safe
def report(request: HttpRequest, airline: str) -> HttpResponse:
    """An airline's delays by hour, its worst routes, and the check of its distances."""
    upload = Upload.objects.filter(airline=airline).first()
    if airline not in airlines() or upload is None:
        raise Http404("This airline has uploaded nothing yet.")
    context: dict[str, object] = {"code": airline, "name": airlines()[airline]}
    if summary := upload.report:
        context |= {
            "summary": summary,
            "chart": delay_chart(summary.hours),
            "headline": headline(summary.hours),
            "legend": heat_legend(),
        }
    return render(request, "flights/report.html", context)
