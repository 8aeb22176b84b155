"""The hard reads and the bulk write, as SQL. Shapes and costs were measured at 5 and 20 million runs."""

RANDOM_PAGE_COST = "1.1"
"""What PostgreSQL reckons with for a page that it reads out of order: indexes in memory or on a solid-state disk."""
