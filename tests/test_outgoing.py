"""Messages to addresses that users typed, by real HTTP to servers on two addresses of this machine.

127.0.0.2 plays the public address (the policy allows it), 127.0.0.1 what is inside: a server there tells whether it was
reached. The system's resolver cannot be made to change its mind between two questions, so names are answered by a
function in its place, which the sender takes as it takes ``socket.getaddrinfo``.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from ipaddress import ip_network
from typing import Any

import pytest
from pytest_httpserver import HTTPServer
from ssrfguard import Policy
from werkzeug import Request, Response
from werkzeug.datastructures import Headers

from chm_web.outgoing import MAX_REDIRECTS, NotAllowed, NotDelivered, Outgoing
from tests.http import OwnHttpServer

PUBLIC, INSIDE = "127.0.0.2", "127.0.0.1"
SECRET = "/services/T0/secret-path"


@pytest.fixture
def public() -> Iterator[HTTPServer]:
    """A server at the public address."""
    with OwnHttpServer(host=PUBLIC) as server:
        server.expect_request(SECRET, method="POST").respond_with_data("taken", status=202)
        yield server


@pytest.fixture
def inside(public: HTTPServer) -> Iterator[HTTPServer]:
    """A server inside, at the same port; nobody may ever reach it."""
    with OwnHttpServer(host=INSIDE, port=public.port) as server:
        server.expect_request("/").respond_with_data("reached")
        yield server
        assert server.log == []


def resolver_of(*answers: str) -> Callable[..., list[Any]]:
    """A resolver that gives one of the addresses after the other, and the last one from then on."""
    left = list(answers)

    def resolve(host: str, port: int, *_: Any) -> list[Any]:
        address = left.pop(0) if len(left) > 1 else left[0]
        return socket.getaddrinfo(address, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)

    return resolve


def sender(server: HTTPServer, *answers: str, **options: Any) -> Outgoing:
    policy = Policy(allowed_networks=(ip_network(PUBLIC),), allowed_ports=frozenset({server.port}))
    settings = {"policy": policy, "connect_timeout": 2.0, "read_timeout": 2.0, "resolver": resolver_of(*answers)}
    return Outgoing(**{**settings, **options})


def redirects(server: HTTPServer, path: str, status: int, target: str) -> None:
    server.expect_request(path, method="POST").respond_with_data("", status, {"Location": target})


def test_a_message_arrives_under_its_hosts_name(public: HTTPServer) -> None:
    with sender(public, PUBLIC) as outgoing:
        assert outgoing.post_json(f"http://hooks.example:{public.port}{SECRET}", {"text": "Ölmühle"}) == 202
    [(request, _)] = public.log
    assert request.get_json() == {"text": "Ölmühle"}
    assert request.host == f"hooks.example:{public.port}"


def test_what_the_receiver_answers_is_told(public: HTTPServer) -> None:
    with sender(public, PUBLIC) as outgoing:
        assert outgoing.post_json(f"http://hooks.example:{public.port}/gone", {}) == 500


def test_a_name_that_leads_inside_is_not_called(public: HTTPServer, inside: HTTPServer) -> None:
    with sender(public, INSIDE) as outgoing, pytest.raises(NotAllowed, match=r"^hooks\.example leads to an address"):
        outgoing.post_json(f"http://hooks.example:{public.port}{SECRET}", {})


def test_the_systems_own_resolver_is_judged_as_well(public: HTTPServer, inside: HTTPServer) -> None:
    # The name of this machine, as /etc/hosts has it: no form of localhost, which is refused by its name.
    name = socket.gethostname()
    try:
        addresses = {info[4][0] for info in socket.getaddrinfo(name, public.port, type=socket.SOCK_STREAM)}
    except socket.gaierror:
        pytest.skip("this machine's name has no address")
    assert addresses
    with sender(public, resolver=None) as outgoing, pytest.raises(NotAllowed):
        outgoing.post_json(f"http://{name}:{public.port}/", {})


def test_a_name_with_one_address_inside_is_not_called_at_all(public: HTTPServer, inside: HTTPServer) -> None:
    def both(host: str, port: int, *_: Any) -> list[Any]:
        return [*resolver_of(PUBLIC)(host, port), *resolver_of(INSIDE)(host, port)]

    with sender(public, resolver=both) as outgoing, pytest.raises(NotAllowed):
        outgoing.post_json(f"http://hooks.example:{public.port}{SECRET}", {})
    assert public.log == []


def test_the_address_that_was_judged_is_the_one_that_is_called(public: HTTPServer, inside: HTTPServer) -> None:
    # A second question would be answered with the address inside.
    with sender(public, PUBLIC, INSIDE) as outgoing:
        assert outgoing.post_json(f"http://hooks.example:{public.port}{SECRET}", {}) == 202


def test_a_name_that_has_moved_inside_is_refused_by_the_next_connection(public: HTTPServer, inside: HTTPServer) -> None:
    url, resolver = f"http://hooks.example:{public.port}{SECRET}", resolver_of(PUBLIC, INSIDE)
    with sender(public, resolver=resolver) as outgoing:
        assert outgoing.post_json(url, {}) == 202
    with sender(public, resolver=resolver) as outgoing, pytest.raises(NotAllowed):
        outgoing.post_json(url, {})


@pytest.mark.parametrize("host", [INSIDE, "2130706433", "0x7f.1", "127.1", "localhost", "[::ffff:127.0.0.1]"])
def test_an_address_inside_is_not_called_whatever_it_is_written_like(
    public: HTTPServer, inside: HTTPServer, host: str
) -> None:
    with sender(public, INSIDE) as outgoing, pytest.raises(NotAllowed):
        outgoing.post_json(f"http://{host}:{public.port}/", {})


@pytest.mark.parametrize("status", [307, 308])
def test_a_redirect_that_keeps_the_method_is_followed(public: HTTPServer, status: int) -> None:
    redirects(public, "/old", status, SECRET)
    with sender(public, PUBLIC) as outgoing:
        assert outgoing.post_json(f"http://hooks.example:{public.port}/old", {"text": "x"}) == 202
    assert [request.get_json() for request, _ in public.log] == [{"text": "x"}] * 2


@pytest.mark.parametrize("status", [301, 302, 303])
def test_a_redirect_that_would_lose_the_message_is_not_followed(public: HTTPServer, status: int) -> None:
    redirects(public, "/old", status, SECRET)
    with sender(public, PUBLIC) as outgoing, pytest.raises(NotAllowed, match="final address"):
        outgoing.post_json(f"http://hooks.example:{public.port}/old", {})
    assert len(public.log) == 1


@pytest.mark.parametrize(
    "target",
    [
        "http://127.0.0.1:{port}/",
        "http://2130706433:{port}/",
        "http://[::1]:{port}/",
        "//127.0.0.1:{port}/",
        "http://mira:secret@127.0.0.2:{port}/",
        "http://127.0.0.2:22/",
        "ftp://127.0.0.2:{port}/",
        "file:///etc/passwd",
    ],
)
def test_a_redirect_is_judged_like_the_first_address(public: HTTPServer, inside: HTTPServer, target: str) -> None:
    redirects(public, "/old", 307, target.format(port=public.port))
    with sender(public, PUBLIC) as outgoing, pytest.raises(NotAllowed):
        outgoing.post_json(f"http://hooks.example:{public.port}/old", {})


def test_a_redirect_to_what_is_no_address_is_refused(public: HTTPServer) -> None:
    class Raw(Response):
        """An answer whose Location is sent as it is."""

        def get_wsgi_headers(self, environ: Any) -> Headers:
            return Headers({"Location": "http://[x", "Content-Length": "0"})

    public.expect_request("/old").respond_with_response(Raw(status=307))
    with sender(public, PUBLIC) as outgoing, pytest.raises(NotAllowed, match="no address"):
        outgoing.post_json(f"http://hooks.example:{public.port}/old", {})


def test_a_redirect_to_a_name_that_leads_inside_is_not_followed(public: HTTPServer, inside: HTTPServer) -> None:
    redirects(public, "/old", 307, f"http://other.example:{public.port}/")
    with sender(public, PUBLIC, INSIDE) as outgoing, pytest.raises(NotAllowed, match=r"^other\.example"):
        outgoing.post_json(f"http://hooks.example:{public.port}/old", {})


def test_redirects_in_a_circle_end(public: HTTPServer) -> None:
    redirects(public, "/a", 307, "/b")
    redirects(public, "/b", 307, "/a")
    with sender(public, PUBLIC) as outgoing, pytest.raises(NotAllowed, match="more than 3 times"):
        outgoing.post_json(f"http://hooks.example:{public.port}/a", {})
    assert len(public.log) == 1 + MAX_REDIRECTS


@pytest.mark.parametrize("status", [200, 307])
def test_an_answer_without_an_end_is_not_read(public: HTTPServer, status: int) -> None:
    sent: list[int] = []

    def endless(request: Request) -> Response:
        def chunks() -> Iterator[bytes]:
            for number in range(100_000):
                sent.append(number)
                yield b"x" * 65536

        return Response(chunks(), status=status, headers={"Location": SECRET})

    public.expect_request("/endless", method="POST").respond_with_handler(endless)
    with sender(public, PUBLIC) as outgoing:
        assert outgoing.post_json(f"http://hooks.example:{public.port}/endless", {}) in (200, 202)
    assert len(sent) < 1000


def test_proxies_of_the_environment_are_not_used(public: HTTPServer, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(variable, "http://127.0.0.1:9")
    with sender(public, PUBLIC) as outgoing:
        assert outgoing.post_json(f"http://hooks.example:{public.port}{SECRET}", {}) == 202


@pytest.mark.parametrize("trouble", ["nobody", "silent"])
def test_an_error_names_the_host_and_nothing_else_of_the_address(trouble: str) -> None:
    with socket.create_server((PUBLIC, 0)) as listening:
        port = listening.getsockname()[1]
        if trouble == "nobody":
            listening.close()
        policy = Policy(allowed_networks=(ip_network(PUBLIC),), allowed_ports=frozenset({port}))
        with (
            Outgoing(policy=policy, connect_timeout=0.3, read_timeout=0.3, resolver=resolver_of(PUBLIC)) as outgoing,
            pytest.raises(NotDelivered) as failed,
        ):
            outgoing.post_json(f"http://hooks.example:{port}{SECRET}", {})
    assert "hooks.example" in str(failed.value)
    assert "secret-path" not in str(failed.value)
    assert failed.value.__suppress_context__
    assert not isinstance(failed.value, NotAllowed)
