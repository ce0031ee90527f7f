"""Figures reach those who listen while they listen; counts only grow."""

from bench.machine.figures import count_images, images_counted, listening, report
from bench.machine.journal import JournalFile, journal_line
from bench.machine.load import machine_load


def test_a_listener_gets_the_lines_of_its_block_alone():
    lines = []
    report({"step": 0, "time": 0})
    with listening(lines.append):
        report({"step": 1, "time": 0, "loss": 2.0})
    report({"step": 2, "time": 0})
    assert lines == [{"step": 1, "time": 0, "loss": 2.0}]


def test_a_journal_reports_what_it_writes_and_other_processes_report_nothing(tmp_path):
    lines = []
    with listening(lines.append):
        JournalFile(tmp_path / "train.jsonl", 0, is_writing=True).append(journal_line(1, {"loss": 2.0}))
        JournalFile(tmp_path / "train.jsonl", 1, is_writing=False).append(journal_line(2, {"loss": 1.0}))
    assert [line["step"] for line in lines] == [1]


def test_images_are_counted_by_kind_of_work():
    before = images_counted()
    count_images("polish", 3)
    count_images("polish", 4)
    after = images_counted()
    assert after["polish"] - before.get("polish", 0) == 7
    assert {name: num for name, num in after.items() if name != "polish"} == {
        name: num for name, num in before.items() if name != "polish"
    }


def test_the_load_has_the_names_of_mlflow_and_plausible_values():
    load = machine_load()
    assert all(name.startswith("system/") for name in load)
    assert 0 <= load["system/cpu_utilization_percentage"] <= 100
    assert 0 < load["system/system_memory_usage_percentage"] <= 100
    assert load["system/system_memory_usage_megabytes"] > 0
