"""What gunicorn is told where its command line says nothing else; it reads this file in the folder it is started in."""

from gunicorn.workers.gthread import ThreadWorker


class FairWorker(ThreadWorker):
    """Takes a new connection when one of its threads is free.

    gunicorn's own takes a thousand, which then wait for its threads while those of another process may be idle: the
    slowest of twenty answers took a fifth longer with eight people at once.
    """

    @property
    def worker_connections(self) -> int:
        """How many connections it may have: those that wait for their next request need no thread."""
        waiting = len(self.keepalived_conns) + len(self.pending_conns)
        return min(self._most, self.cfg.threads + waiting)

    @worker_connections.setter
    def worker_connections(self, most: int) -> None:
        self._most = most


worker_class = FairWorker

# What a request waits for is mostly PostgreSQL. Each thread has a connection to it.
workers = 2
threads = 4

# CHM lives at the root of its address. A proxy on the same machine may pass on what its clients send, and gunicorn
# would take these headers of theirs for the proxy's word: an address that does not fit them is answered 500.
forwarder_headers = ""

# Signals do. The socket would lie in the home of whoever starts it, one for all that they start.
control_socket_disable = True
