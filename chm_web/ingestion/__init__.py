"""Taking runs in from the platforms where they run."""
