"""What a visitor gets, with a real queue and no worker."""

from __future__ import annotations

from django.db.models import Count
from django.test import Client, TransactionTestCase, override_settings
from django.urls import reverse

from ..models import Flight, Upload
from ..reference import months
from ..tasks import import_flight, summarise_upload


def imported(airline: str, rows: int) -> Upload:
    """An upload whose tasks have all run."""
    upload = Upload.objects.create(airline=airline, rows=rows)
    for number, row in enumerate(months()[airline][:rows], start=1):
        import_flight.func(upload.pk, number, list(row))
    summarise_upload.func(upload.pk)
    return upload


class PageTests(TransactionTestCase):
    """Each page by its address."""

    def test_the_first_page_explains_itself_and_offers_every_airline(self) -> None:
        page = self.client.get(reverse("index"))

        self.assertContains(page, "27,004 rows in all")
        self.assertContains(page, "No reports yet")
        self.assertContains(page, "<option", count=17)

    def test_a_form_without_its_token_starts_nothing(self) -> None:
        answer = Client(enforce_csrf_checks=True).post(reverse("start"), {"airline": "OO"})

        self.assertEqual(answer.status_code, 403)
        self.assertFalse(Upload.objects.exists())

    def test_a_link_starts_nothing(self) -> None:
        self.assertEqual(self.client.get(reverse("start")).status_code, 405)

    def test_an_unknown_airline_is_refused_in_words(self) -> None:
        page = self.client.post(reverse("start"), {"airline": "XX"}, follow=True)

        self.assertContains(page, "Choose an airline from the list.")
        self.assertFalse(Upload.objects.exists())

    def test_a_started_import_waits_for_a_worker(self) -> None:
        page = self.client.post(reverse("start"), {"airline": "HA"}, follow=True)

        self.assertRedirects(page, reverse("imports"))
        self.assertContains(page, "Hawaiian Airlines Inc.")
        self.assertContains(page, '<progress max="31" value="0"')
        self.assertContains(page, '<noscript><meta http-equiv="refresh"')
        (airline,) = self.client.get(reverse("imports-json")).json()["airlines"]
        self.assertEqual((airline["airline"], airline["state"], airline["percent"]), ("HA", "waiting", 0))

    def test_all_airlines_start_with_the_largest(self) -> None:
        self.client.post(reverse("start"), {"airline": "all"})

        self.assertEqual(
            list(Upload.objects.order_by("pk").values_list("airline", flat=True)), list(months())
        )

    def test_when_the_queue_is_away_nothing_is_left_behind(self) -> None:
        with override_settings(FAIRQUE={"URL": "unix:///nowhere/valkey.sock"}):
            page = self.client.post(reverse("start"), {"airline": "OO"}, follow=True)

        self.assertContains(page, "The queue did not take everything: ")
        self.assertFalse(Upload.objects.exists())

    def test_a_new_import_takes_the_place_of_the_old_one(self) -> None:
        imported("HA", 31)
        self.client.post(reverse("start"), {"airline": "HA"})

        self.assertFalse(Flight.objects.exists())
        self.assertEqual(Upload.objects.get().complete_at, None)

    def test_progress_counts_the_stored_rows(self) -> None:
        upload = Upload.objects.create(airline="HA", rows=31)
        for number in (1, 2, 3):
            import_flight.func(upload.pk, number, list(months()["HA"][number]))
        (airline,) = self.client.get(reverse("imports-json")).json()["airlines"]

        self.assertEqual((airline["stored"], airline["percent"], airline["state"]), (3, 9, "importing"))
        self.assertGreaterEqual(airline["first_after"], 0)

    def test_progress_takes_two_queries_for_any_number_of_airlines(self) -> None:
        imported("OO", 1)
        imported("HA", 5)

        with self.assertNumQueries(2):
            self.client.get(reverse("imports-json"))

    def test_a_report_shows_chart_routes_and_checks(self) -> None:
        imported("HA", 31)
        page = self.client.get(reverse("report", args=["HA"]))

        self.assertContains(page, '<svg class="delays"')
        self.assertContains(page, 'JFK <span class="faint">to</span> HNL')
        self.assertContains(page, "4,983 miles reported")
        self.assertNotContains(page, "style=")
        self.assertNotContains(page, "<script")
        self.assertContains(self.client.get(reverse("index")), "When the flights leave late")

    def test_a_report_names_the_airports_that_could_not_be_checked(self) -> None:
        upload = imported("B6", 400)
        unknown = upload.flights.filter(distance_check="unknown").aggregate(n=Count("pk"))["n"]
        page = self.client.get(reverse("report", args=["B6"]))

        self.assertGreater(unknown, 0)
        self.assertContains(page, "no coordinates of BQN")
        self.assertContains(page, f'<td class="figure">{unknown}</td>')

    def test_a_report_that_is_not_ready_says_so(self) -> None:
        Upload.objects.create(airline="HA", rows=31)

        self.assertContains(self.client.get(reverse("report", args=["HA"])), "not ready yet")

    def test_an_airline_that_uploaded_nothing_has_no_report(self) -> None:
        for airline in ("UA", "XX", "<b>"):
            self.assertEqual(self.client.get(reverse("report", args=[airline])).status_code, 404)
