"""Data sets of photographs: one file each, beside what their readers share."""
