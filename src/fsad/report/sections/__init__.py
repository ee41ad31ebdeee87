"""The parts of the page: each looks at what the runs kept, and is left out if they kept nothing."""
