"""What the API promises: its document, held against the running app, and a client generated from it."""
