"""From scores to decisions and pictures."""
