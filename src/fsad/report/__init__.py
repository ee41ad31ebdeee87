"""The report: one self-contained HTML page about one or several runs."""

from fsad.report.write import write_report

__all__ = ["write_report"]
