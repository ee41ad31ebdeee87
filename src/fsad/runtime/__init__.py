"""What a run stands on: processes, seeds, progress, where its code came from."""
