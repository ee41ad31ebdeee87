"""What the methods that learn from labelled anomalies share."""
