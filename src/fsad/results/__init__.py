"""What a finished run leaves: its record, its folder, its table."""
