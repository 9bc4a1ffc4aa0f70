"""Every row is stored once, whatever order or however often its task runs."""

from __future__ import annotations

from django.db import IntegrityError
from django.test import TransactionTestCase

from ..models import Flight, Upload
from ..reference import months
from ..tasks import import_flight, summarise_upload

LONE = months()["OO"][0]
MISSING = [*LONE[:9], "NA", "NA", "NA", LONE[12]]


class TaskTests(TransactionTestCase):
    """The tasks are called as functions; what they enqueue waits in the queue, where no worker runs."""

    def setUp(self) -> None:
        self.upload = Upload.objects.create(airline="OO", rows=3)

    def run_rows(self, *numbers: int) -> list[str]:
        return [import_flight.func(self.upload.pk, number, list(LONE)) for number in numbers]

    def test_a_row_is_stored_with_its_figures(self) -> None:
        outcome = import_flight.func(self.upload.pk, 1, list(LONE))

        flight = Flight.objects.get()
        self.assertEqual(outcome, "flown")
        self.assertEqual((flight.dep_delay, flight.arr_delay, flight.hour), (67, 107, 11))
        self.assertAlmostEqual(flight.great_circle or 0, 731.4, delta=0.1)

    def test_a_cancelled_flight_and_an_unreadable_row_are_stored_as_such(self) -> None:
        outcomes = [
            import_flight.func(self.upload.pk, 1, list(MISSING)),
            import_flight.func(self.upload.pk, 2, ["?"]),
        ]

        self.assertEqual(outcomes, ["cancelled", "invalid"])
        self.assertEqual(Flight.objects.get(row=2).problem, "1 fields instead of 13")

    def test_a_row_delivered_twice_is_stored_once(self) -> None:
        self.assertEqual(self.run_rows(1, 1), ["flown", "flown"])
        self.assertEqual(Flight.objects.count(), 1)

    def test_the_task_that_stores_the_last_row_calls_the_upload_complete(self) -> None:
        for order in [(1, 2, 3), (3, 2, 1), (2, 3, 1)]:
            with self.subTest(order=order):
                self.setUpAgain()
                self.run_rows(*order[:2])
                self.upload.refresh_from_db()
                self.assertIsNone(self.upload.complete_at)
                self.run_rows(order[2])
                self.upload.refresh_from_db()
                self.assertIsNotNone(self.upload.complete_at)

    def test_an_upload_is_called_complete_only_once(self) -> None:
        self.run_rows(1, 2, 3)
        self.upload.refresh_from_db()
        first = self.upload.complete_at
        self.run_rows(3)
        self.upload.refresh_from_db()

        self.assertEqual(self.upload.complete_at, first)

    def test_a_task_that_died_before_it_looked_looks_when_delivered_again(self) -> None:
        self.run_rows(1, 2, 3)
        Upload.objects.update(complete_at=None)
        self.run_rows(2)
        self.upload.refresh_from_db()

        self.assertIsNotNone(self.upload.complete_at)

    def test_rows_of_a_replaced_upload_are_withdrawn(self) -> None:
        Upload.objects.all().delete()

        self.assertEqual(self.run_rows(1), ["withdrawn"])
        self.assertEqual(Flight.objects.count(), 0)

    def test_another_fault_of_the_database_is_not_hidden(self) -> None:
        # The column takes no negative number, which has nothing to do with a second delivery.
        with self.assertRaises(IntegrityError):
            import_flight.func(self.upload.pk, -1, list(LONE))

    def test_a_summary_is_stored_once(self) -> None:
        self.run_rows(1, 2, 3)
        self.assertEqual(summarise_upload.func(self.upload.pk), 3)
        self.upload.refresh_from_db()
        first = self.upload.summarised_at
        summarise_upload.func(self.upload.pk)
        self.upload.refresh_from_db()

        self.assertEqual(self.upload.summarised_at, first)
        report = self.upload.report
        self.assertEqual(report and (report.flights, report.dep_median), (3, 67))

    def setUpAgain(self) -> None:
        self.upload.delete()
        self.setUp()
