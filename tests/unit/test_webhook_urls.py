"""Which addresses and URLs a webhook may have."""

from __future__ import annotations

import pytest

from infrastructure.core.config_core.sections import Webhooks
from tests.support.hostile_urls import INNER, hostile_urls
from workers.jobs.webhooks.addresses import allowed
from workers.jobs.webhooks.urls import UrlRefused, target

RULES = Webhooks()
OPEN = Webhooks(allow_loopback=True)

PUBLIC = [
    "8.8.8.8", "93.184.215.14", "1.1.1.1", "192.0.1.1", "172.32.0.1", "100.128.0.1", "223.255.255.254", "198.20.0.1",
    "2606:4700:4700::1111", "2a00:1450::1", "2001:4860:4860::8888", "64:ff9b::8.8.8.8", "::ffff:8.8.8.8", "2002:808:808::1",
    "2001:0:808:808::f7f7:f7f7", "2001:200::1",
]  # fmt: skip
INSIDE = [
    "0.0.0.0", "0.1.2.3", "10.255.255.255", "100.64.0.1", "100.127.255.255", "127.0.0.1", "169.254.169.254", "172.31.255.255",
    "192.0.0.1", "192.0.2.1", "192.88.99.1", "192.168.255.255", "198.19.255.255", "198.51.100.1", "203.0.113.1", "224.0.0.1",
    "239.255.255.255", "240.0.0.1", "255.255.255.255",
    "::", "::1", "::8.8.8.8%1", "::127.0.0.1", "::ffff:10.0.0.1", "::ffff:0:10.0.0.1", "64:ff9b::10.0.0.1", "64:ff9b::169.254.169.254",
    "64:ff9b:1::8.8.8.8", "64:ff9b:1::1", "2002:a00:1::1", "2002:7f00:1::1", "2001:0:a00:1::f7f7:f7f7", "2001:0:808:808::f5ff:fffe",
    "2001:2::1", "2001:10::1", "2001:db8::1", "3fff::1", "fc00::1", "fd12::1", "fe80::1", "fe80::1%eth0", "fec0::1", "ff02::1",
    "100::1", "4000::1", "5f00::1", "2606:4700::5efe:10.0.0.1", "2606:4700::200:5efe:192.168.0.1",
]  # fmt: skip
NO_ADDRESSES = [
    "",
    "127.1",
    "0x7f000001",
    "2130706433",
    "0177.0.0.1",
    "127.0.0.1 ",
    "::1]",
    "localhost",
    "1.2.3.4.5",
    "01.2.3.4",
]


@pytest.mark.parametrize("address", PUBLIC)
def test_a_public_address_may_be_called_with_tls_only(address: str) -> None:
    assert allowed(address, loopback=False, plain=False)
    assert not allowed(address, loopback=True, plain=True)


@pytest.mark.parametrize("address", [*INSIDE, *NO_ADDRESSES])
def test_what_is_not_public_may_not_be_called_in_whatever_form(address: str) -> None:
    assert not allowed(address, loopback=False, plain=False)


def test_loopback_may_be_called_by_setting_and_nothing_else_inside() -> None:
    own = {"127.0.0.1", "::1", "127.9.9.9", "::ffff:127.0.0.1"}
    assert all(allowed(address, loopback=True, plain=plain) for address in own for plain in (True, False))
    assert [one for one in INSIDE if allowed(one, loopback=True, plain=False)] == ["127.0.0.1", "::1"]


@pytest.mark.parametrize(
    ("url", "spelled"),
    [
        ("https://hooks.example.com", "https://hooks.example.com/"),
        ("HTTPS://Hooks.Example.COM:443/A?b=C&d", "https://hooks.example.com/A?b=C&d"),
        ("https://hooks.example.com.:8443/x", "https://hooks.example.com:8443/x"),
        ("https://b\u00fccher.example/%C3%BC", "https://xn--bcher-kva.example/%C3%BC"),
        ("https://8.8.8.8/x", "https://8.8.8.8/x"),
        ("https://[2606:4700:4700:0::1111]/x", "https://[2606:4700:4700::1111]/x"),
        ("https://hooks.example.com//a/../b;c", "https://hooks.example.com//a/../b;c"),
    ],
)
def test_a_public_url_is_written_again_from_its_parts(url: str, spelled: str) -> None:
    found = target(url, RULES)
    assert found.url == spelled
    assert not found.plain
    assert target(found.url, RULES) == found


@pytest.mark.parametrize("url", hostile_urls(8443))
def test_a_hostile_url_is_refused_by_its_form_unless_only_its_name_is_hostile(url: str) -> None:
    if any(f"//{name}:" in url for name in INNER):
        assert target(url, RULES).host in INNER  # a name: what it leads to is seen when it is resolved
        return
    with pytest.raises(UrlRefused) as refused:
        target(url, RULES)
    assert "127" not in str(refused.value)  # what a caller sent is not repeated


def test_this_machine_is_an_endpoint_by_setting_without_tls_and_at_any_port() -> None:
    assert target("http://127.0.0.1:9/x", OPEN).plain
    assert target("https://localhost:9/x", OPEN).port == 9
    assert target("http://[::1]:8080/", OPEN).url == "http://[::1]:8080/"
    for url in ("http://hooks.example.com/", "https://hooks.example.com:9/", "http://10.0.0.1:9/", "http://127.1:9/"):
        with pytest.raises(UrlRefused):
            target(url, OPEN)
