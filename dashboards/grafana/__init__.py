"""Grafana's dashboards and sample alert rules, built with its SDK and kept under ``docker/grafana``."""
