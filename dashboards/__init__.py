"""Dashboards on CHM's database, as code: Grafana's and Metabase's. Their SQL is that of the written contract."""
