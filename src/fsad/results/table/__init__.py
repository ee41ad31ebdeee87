"""The table over many runs: mean and spread over seeds, with every hole in sight."""

from fsad.results.table.collect import Runs, collect
from fsad.results.table.paired import Comparison, Difference, compare
from fsad.results.table.render import print_differences, print_table, write_differences, write_table
from fsad.results.table.rows import Cell, Row, Table, table

__all__ = [
    "Cell",
    "Comparison",
    "Difference",
    "Row",
    "Runs",
    "Table",
    "collect",
    "compare",
    "print_differences",
    "print_table",
    "table",
    "write_differences",
    "write_table",
]
