"""A run's report comes at its end, and never spoils the run."""

from fsad.results.record import read_result

SHORT = ("report=true", "method.stages.perturb=false", "method.stages.rectify=false")


def test_a_run_writes_its_report(run, tmp_path):
    folder = run(tmp_path, *SHORT)
    text = (folder / "report.html").read_text(encoding="utf-8")
    fused = read_result(folder / "result.json").categories["tile"].fused
    for number in fused.values():
        assert f'data-value="{number!r}"' in text
    assert "No pictures" not in text
    assert "Random weights: tiny is untrained" in text


def test_a_report_that_cannot_be_written_is_said_and_spoils_nothing(run, tmp_path, caplog):
    (tmp_path / "report.html").mkdir()
    folder = run(tmp_path, *SHORT)
    assert read_result(folder / "result.json").categories.keys() == {"tile"}
    assert "report: expected to write one, got '" in caplog.text
    assert f"Correct that, then: fsad report {folder}" in caplog.text


def test_a_run_that_is_told_not_to_writes_none(finished):
    assert not (finished / "report.html").exists()  # its settings say report=false
