"""The demo's verdict sees what is lost, doubled or changed."""

from __future__ import annotations

from django.test import TransactionTestCase

from ..demo import expected
from ..demo.verdict import compare, disagreements, start_position
from ..models import Flight, Upload
from .test_pages import imported


class VerdictTests(TransactionTestCase):
    """Two small airlines, imported as they should be, and then tampered with."""

    def setUp(self) -> None:
        figures = expected.count()
        self.expected = {airline: figures[airline] for airline in ("HA", "OO")}
        imported("HA", 31)
        imported("OO", 1)

    def problems(self) -> str:
        return "\n".join(disagreements(self.expected))

    def test_nothing_disagrees_when_all_is_well(self) -> None:
        self.assertEqual(self.problems(), "")

    def test_a_lost_row_is_missed(self) -> None:
        Flight.objects.filter(upload__airline="HA", row=7).delete()

        self.assertIn("HA: row numbers, stored: 30, must be 31", self.problems())
        (line, _) = compare({"HA": 31, "OO": 1}).lines
        self.assertEqual((line.done, line.lost), (30, 1))

    def test_a_row_stored_in_place_of_another_is_seen(self) -> None:
        Flight.objects.filter(upload__airline="HA", row=31).update(row=99)

        self.assertIn("HA: row numbers, last: 99, must be 31", self.problems())

    def test_a_changed_figure_is_seen(self) -> None:
        Flight.objects.filter(upload__airline="OO").update(dep_delay=68, great_circle=700.0)

        self.assertIn("OO: dep_delay: 68, must be 67", self.problems())
        self.assertIn("OO: great-circle miles: 700.0", self.problems())

    def test_a_wrong_report_is_seen(self) -> None:
        upload = Upload.objects.get(airline="OO")
        Upload.objects.filter(pk=upload.pk).update(summary={**(upload.summary or {}), "late": 0})

        self.assertEqual(self.problems(), "OO: report, late: 0, must be 1")

    def test_a_missing_airline_and_a_missing_report_are_seen(self) -> None:
        Upload.objects.get(airline="OO").delete()
        Upload.objects.update(summary=None)

        self.assertIn("airlines stored: ['HA'], in the file: ['HA', 'OO']", self.problems())
        self.assertIn("HA: no report", self.problems())

    def test_one_queue_would_have_served_in_the_order_of_the_calls(self) -> None:
        comparison = compare({"HA": 31, "OO": 1})
        first, last = comparison.lines

        self.assertEqual((first.fifo_first, last.fifo_last), (0, comparison.seconds))
        self.assertAlmostEqual(last.fifo_first, comparison.seconds * 31 / 32)

    def test_positions_count_starts(self) -> None:
        self.assertEqual((start_position("HA"), start_position("OO")), (1, 32))
