"""Tables and picture from made-up results."""
import pathlib
import sys
import tempfile
import unittest
import xml.etree.ElementTree as ElementTree

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "bench"))
import picture
import report


def row(group, wrong=None, **values):
    return {"group": group, "unit": "MB/s", "values": {side.replace("_", "-"): v for side, v in values.items()}, "sums": {}, "wrong": wrong or {},
            "absent": {}}


def result(**rows):
    return {"date": "2026-01-01", "commit": "abc", "host": "CPU", "runs": 3, "per_cpu_second": False, "yado_args": "", "rows": rows}


class Report(unittest.TestCase):
    def test_ratios_are_of_medians(self):
        r = report.ratios(row("integer", native=[90, 100, 1000], tcg=[20, 10, 30], yado=[50, 50, 1]))
        self.assertEqual(r, {"tcg": 5, "yado": 2, "over": 2.5})

    def test_the_better_of_the_two_tcg_models_counts_and_is_named(self):
        memory = row("memory", native=[100], tcg=[2], tcg_erms=[20], yado=[50])
        self.assertEqual(report.ratios(memory)["over"], 2.5)
        self.assertIn("20 (-erms)", report.tables(result(set=memory)))

    def test_a_group_has_its_geometric_mean_beside_its_bar(self):
        text = report.tables(result(sort=row("integer", native=[16], tcg=[1], yado=[2]), hash=row("integer", native=[16], tcg=[1], yado=[8])))
        self.assertIn("| integer | 4 | 2 | 4 | 1.5 | 16 |", text)

    def test_a_wrong_result_is_shown_and_counts_in_no_ratio(self):
        wrong = row("integer", {"yado": ["checksum 0x1"]}, native=[16], tcg=[1], yado=[2])
        self.assertIsNone(report.ratios(wrong)["over"])
        self.assertIn("WRONG | yado: checksum 0x1", report.tables(result(sort=wrong)))

    def test_two_threads_are_compared_with_one_on_each_side(self):
        text = report.tables(result(threads1=row("parallel", yado=[10]), threads2=row("parallel", yado=[19])))
        self.assertIn("yado 1.9 (bar for Yado: 1.8)", text)

    def test_tables_replace_what_is_between_the_marks(self):
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "page.md"
            path.write_text("before\n<!-- programs: begin -->\nold\n<!-- programs: end -->\nafter\n")
            report.into_document(path, "new")
            self.assertEqual(path.read_text(), "before\n<!-- programs: begin -->\nnew\n<!-- programs: end -->\nafter\n")


class Picture(unittest.TestCase):
    def bars(self, *programs):
        svg = picture.draw([("integer", 1.5, list(programs))])
        rects = ElementTree.fromstring(svg).iter("{http://www.w3.org/2000/svg}rect")
        return [(r.get("class"), float(r.get("x")), float(r.get("width"))) for r in rects if r.get("height") == str(picture.BAR) and r.get("y") != "16"]

    def test_a_slower_side_has_the_longer_bar(self):
        (_, left, tcg), (_, also_left, yado) = self.bars(("sort", {"tcg": 20, "yado": 4}))
        self.assertEqual(left, also_left)
        self.assertGreater(tcg, yado)

    def test_a_side_faster_than_native_goes_to_the_left(self):
        (_, left, _), (_, faster, _) = self.bars(("sort", {"tcg": 2, "yado": 0.8}))
        self.assertLess(faster, left)

    def test_a_side_without_a_value_has_no_bar(self):
        self.assertEqual([kind for kind, _, _ in self.bars(("fma", {"tcg": 2, "yado": None}))], ["tcg"])


if __name__ == "__main__":
    unittest.main()
