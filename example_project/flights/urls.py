"""The addresses of the pages."""

from django.urls import path

from . import views

urlpatterns = [
    path("", views.index, name="index"),
    path("imports/", views.imports, name="imports"),
    path("imports/start/", views.start, name="start"),
    path("imports/progress.json", views.imports_json, name="imports-json"),
    path("airlines/<str:airline>/", views.report, name="report"),
]
