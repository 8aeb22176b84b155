"""What gunicorn is told where its command line says nothing else; it reads this file in the folder it is started in."""

# What a request waits for is mostly PostgreSQL. Each thread has a connection to it.
workers = 2
threads = 4

# CHM lives at the root of its address. A proxy on the same machine may pass on what its clients send, and gunicorn
# would take these headers of theirs for the proxy's word: an address that does not fit them is answered 500.
forwarder_headers = ""

# Signals do. The socket would lie in the home of whoever starts it, one for all that they start.
control_socket_disable = True
