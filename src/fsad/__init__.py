"""Few-shot anomaly detection across sensors: from plentiful RGB to a handful of depth images."""
