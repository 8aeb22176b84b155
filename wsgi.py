"""The WSGI entry point: ``gunicorn wsgi:app``."""

from chm_web import create_app

app = create_app()
