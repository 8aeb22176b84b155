"""Metabase's connection, questions and dashboard, set up through its HTTP API."""
