"""The hard reads and the bulk write, as SQL. Shapes and costs were measured at 5 and 20 million runs."""
