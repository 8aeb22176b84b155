"""What gunicorn is told beside its command line; it reads this file by its name, from the folder it is started in."""

# CHM lives at the root of its address. A proxy on the same machine may pass on what its clients send, and gunicorn
# would take these headers of theirs for the proxy's word: an address that does not fit them is answered 500.
forwarder_headers = ""
