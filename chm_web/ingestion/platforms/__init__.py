"""One module a platform, all of one shape: read pages of its feed, map each run."""
