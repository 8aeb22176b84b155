"""What comes in and goes out, as marshmallow schemas: one validator for the REST API and the HTML forms."""
