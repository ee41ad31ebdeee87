"""The table over many runs: mean and spread over seeds, with every hole in sight."""

from fsad.table.collect import Runs, collect
from fsad.table.render import print_table, write_table
from fsad.table.rows import Cell, Row, Table, table

__all__ = ["Cell", "Row", "Runs", "Table", "collect", "print_table", "table", "write_table"]
