"""What an address tells by itself of where it leads, in all the forms in which it can be written."""

from __future__ import annotations

from ipaddress import ip_network

import pytest
from ssrfguard import Policy

from chm_web.services.destinations import address_issue

PUBLIC = [
    "https://hooks.example.com/services/T0/B0/x",
    "http://hooks.example.com:80/x?y=1#z",
    "HTTPS://Hooks.Example.com./x",
    "https://müller.example/x",
    "http://93.184.216.34/x",
    "http://[2606:4700::1111]/x",
    # Only its name looks like ours.
    "https://localhost.example.com/",
    "https://notlocalhost/",
]

NOT_PUBLIC = {
    "loopback": ["http://127.0.0.1/", "http://127.8.8.8/", "http://[::1]/"],
    "private": ["http://10.0.0.1/", "http://172.16.0.1/", "http://192.168.1.1/", "http://[fd00::1]/"],
    "link-local": ["http://169.254.169.254/latest/meta-data", "http://[fe80::1]/"],
    "a zone": ["http://[fe80::1%25eth0]/", "http://[fe80::1%eth0]/"],
    "unspecified": ["http://0.0.0.0/", "http://[::]/"],
    "multicast": ["http://224.0.0.1/", "http://239.255.255.250/", "http://[ff02::1]/"],
    "carrier": ["http://100.64.0.1/", "http://100.127.255.255/"],
    "reserved": ["http://240.0.0.1/", "http://255.255.255.255/", "http://192.0.2.1/", "http://[2001:db8::1]/"],
    "site-local": ["http://[fec0::1]/"],
    "IPv4 in IPv6": ["http://[::ffff:127.0.0.1]/", "http://[::ffff:a00:1]/", "http://[::127.0.0.1]/"],
    "6to4": ["http://[2002:7f00:1::]/", "http://[2002:a00:1::1]/"],
    "NAT64": ["http://[64:ff9b::7f00:1]/", "http://[64:ff9b::10.0.0.1]/", "http://[64:ff9b:1::1]/"],
    "Teredo": ["http://[2001:0:7f00:1::1]/"],
    "a number": ["http://2130706433/", "http://0x7f000001/", "http://017700000001/"],
    "octal": ["http://0177.0.0.1/", "http://0177.0.0.01/"],
    "hex": ["http://0x7f.0.0.1/", "http://0x7f.1/", "http://0xA9FEA9FE/"],
    "short": ["http://127.1/", "http://127.0.1/", "http://10.1/", "http://0/"],
    "other digits": ["http://①②⑦.0.0.1/", "http://１２７.0.0.1/", "http://127。0。0。1/"],
    "a dot at the end": ["http://127.0.0.1./", "http://localhost./"],
    "this machine": ["http://localhost/", "http://LOCALHOST/", "http://chm.localhost/", "http://ⓛⓞⓒⓐⓛⓗⓞⓢⓣ/"],
}


@pytest.mark.parametrize("url", PUBLIC)
def test_what_is_public_may_be_named(url: str) -> None:
    assert address_issue(url, policy=Policy()) is None


@pytest.mark.parametrize("url", [url for urls in NOT_PUBLIC.values() for url in urls])
def test_what_is_not_public_is_told_whatever_it_is_written_like(url: str) -> None:
    assert address_issue(url, policy=Policy()) is not None


@pytest.mark.parametrize(
    "url",
    [
        "https://mira:secret@hooks.example.com/",
        "https://hooks.example.com@127.0.0.1/",
        "https://hooks.example.com\\@127.0.0.1/",
        "ftp://hooks.example.com/",
        "https:///x",
        "https://hooks.exa mple.com/",
        "https://hooks.example.com\t.evil.example/",
        "https://[::1/",
        "https://hooks.example.com:port/",
    ],
)
def test_what_is_no_plain_address_is_refused(url: str) -> None:
    assert address_issue(url, policy=Policy()) is not None


def test_the_refusal_says_why_in_the_words_of_the_registry() -> None:
    issue = address_issue("http://10.1.2.3/hook", policy=Policy())
    assert issue is not None
    assert issue.startswith("Nothing is sent to addresses that are not public: 10.0.0.0/8 is ")


def test_a_port_that_is_not_the_webs_is_told_with_those_that_are() -> None:
    issue = address_issue("https://hooks.example.com:6379/", policy=Policy())
    assert issue == "Nothing is sent to port 6379, only to these: 80, 443."
    assert address_issue("https://hooks.example.com:8443/", policy=Policy(allowed_ports=frozenset({8443}))) is None


def test_a_network_of_ones_own_may_be_allowed_and_nothing_beside_it() -> None:
    policy = Policy(allowed_networks=(ip_network("10.20.0.0/16"),))
    assert address_issue("http://10.20.1.1/", policy=policy) is None
    assert address_issue("http://10.21.1.1/", policy=policy) is not None
    assert address_issue("http://127.0.0.1/", policy=policy) is not None


def test_nothing_of_the_address_but_its_host_is_repeated() -> None:
    for url in ("http://10.0.0.1/services/secret-path", "http://hooks.example.com:99/secret-path"):
        assert "secret-path" not in str(address_issue(url, policy=Policy()))
