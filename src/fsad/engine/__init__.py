"""What runs a method on a category: plan, stages, banks, scoring, checkpoints."""
