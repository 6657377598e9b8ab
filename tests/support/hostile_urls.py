"""URLs that try to get a webhook sent inside, each another way, at the port of a listener that would notice."""

from __future__ import annotations

from collections.abc import Sequence

INNER: dict[str, Sequence[Sequence[str]]] = {
    "inner.attacker.example": [["127.0.0.1"]],
    "inner-six.attacker.example": [["::1"]],
    "mapped.attacker.example": [["::ffff:127.0.0.1"]],
    "mixed.attacker.example": [["93.184.215.14", "127.0.0.1"]],
    "mixed-six.attacker.example": [["93.184.215.14", "::1"]],
    "metadata.attacker.example": [["169.254.169.254"]],
    "nothing.attacker.example": [[]],
}
"""Names that lead inside, and their addresses."""
_HOSTS = (
    "127.0.0.1", "127.0.0.1.", "127.1", "localhost", "LOCALHOST", "localhost.", "x.localhost", "0.0.0.0", "2130706433", "0x7f000001",
    "017700000001", "0177.0.0.1", "0x7f.0.0.1", "0x7f.1", "127.0.0.01", "127.255.255.254",
    "[::1]", "[::]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[::127.0.0.1]", "[::ffff:0:127.0.0.1]", "[64:ff9b::127.0.0.1]",
    "[64:ff9b:1::7f00:1]", "[64:ff9b:1:7f00:0:100::]", "[2002:7f00:1::1]", "[2001:0:7f00:1::808:808]", "[2001:0:808:808::80ff:fffe]",
    "[fe80::1]", "[fe80::1%25lo]", "[::1%25lo]", "[fc00::1]", "[ff02::1]", "[2001:db8::1]",
    "169.254.169.254", "100.100.100.200", "10.0.0.1", "172.16.0.1", "192.168.0.1", "192.0.0.192", "198.18.0.1", "224.0.0.1",
    "240.0.0.1", "255.255.255.255", "metadata.google.internal", "printer.local", "redis", "hooks.example.com@127.0.0.1",
    "hooks.example.com:443@127.0.0.1", "hooks.example.com\\@127.0.0.1", "127.0.0.1\\.hooks.example.com", "127.0.0.1%00.hooks.example.com",
    "\uff11\uff12\uff17.\uff10.\uff10.\uff11", "127\u30020\u30020\u30021", "\u24db\u24de\u24d2\u24d0\u24db\u24d7\u24de\u24e2\u24e3",
    "127.0.0.1\t", " 127.0.0.1", "127.0.0.1\r\nHost: hooks.example.com", *INNER,
)  # fmt: skip


def hostile_urls(port: int) -> list[str]:
    """Return them all."""
    return [
        *(f"https://{host}:{port}/" for host in _HOSTS),
        f"https:127.0.0.1:{port}/", f"https:///127.0.0.1:{port}/", f"//127.0.0.1:{port}/", f"https://127.0.0.1:{port}#@hooks.example.com/",
        f"http://hooks.example.com:{port}/", f"http://127.0.0.1:{port}/", f"gopher://127.0.0.1:{port}/_x", f"ftp://127.0.0.1:{port}/",
        f"unix://127.0.0.1:{port}/", "file:///etc/passwd", "https://hooks.example.com:22/", "https://hooks.example.com:0/",
        "https://hooks.example.com:65536/", "https://hooks.example.com:\uff14\uff14\uff13/", "https://", "", "https://[/",
        f"https://127.0.0.1:{port}/" + "a" * 3_000,
    ]  # fmt: skip
