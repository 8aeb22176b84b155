"""The demo's own world: a fictional fleet, its run history, and a partner server that serves both over HTTP.

Nothing here imports the application: the demo's data reaches it only through the partner's HTTP contract, as
a real partner's would.
"""
