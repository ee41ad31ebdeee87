"""What a data set has wrong, before a run finds out."""
