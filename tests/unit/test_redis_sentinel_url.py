"""The URL of a Redis behind Sentinel: what it says, how kombu spells it, what is refused, and that no secret is told."""

from __future__ import annotations

import pytest

from infrastructure.core.error_core import ConfigError
from infrastructure.core.redis_core import celery_options, celery_url, check_url, shown
from infrastructure.core.redis_sentinel.address import parse

FULL = (
    "redis+sentinel://us%40er:p%3Aw@one:26379,two,[::1]:7/3?master=main&sentinel_username=watch&sentinel_password=s%26t"
)


def test_a_url_names_sentinels_master_database_and_both_users() -> None:
    found = parse(FULL)

    assert found.sentinels == (("one", 26379), ("two", 26379), ("::1", 7))
    assert (found.master, found.database) == ("main", 3)
    assert (found.username, found.password) == ("us@er", "p:w")
    assert (found.sentinel_username, found.sentinel_password) == ("watch", "s&t")


def test_kombu_is_given_every_sentinel_and_the_name_of_the_master() -> None:
    secret = "us%40er:p%3Aw@"

    assert celery_url(FULL).split(";") == [
        f"sentinel://{secret}one:26379/3",
        f"sentinel://{secret}two:26379/3",
        f"sentinel://{secret}[::1]:7/3",
    ]
    options = celery_options(FULL)
    assert options["master_name"] == "main"
    assert options["sentinel_kwargs"]["password"] == "s&t"
    assert celery_options("redis://one") == {}


def test_nobody_s_secret_is_shown() -> None:
    assert shown(FULL) == "redis+sentinel://one:26379,two:26379,[::1]:7/3?master=main"
    assert not {"p:w", "s&t"} & set(repr(parse(FULL)).split("'"))


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("redis+sentinel://one/0", "master="),
        ("redis+sentinel://one/0?master=", "master="),
        ("redis+sentinel://one/zero?master=m", "database"),
        ("redis+sentinel://?master=m", "each sentinel"),
        ("redis+sentinel://one,/0?master=m", "each sentinel"),
        ("redis+sentinel://one:0?master=m", "each sentinel"),
        ("redis+sentinel://one:99999?master=m", "each sentinel"),
        ("redis+sentinel://:secret@one?master=m&pasword=secret", "parameter"),
    ],
)
def test_what_is_no_such_url_is_refused_without_its_text(url: str, why: str) -> None:
    with pytest.raises(ConfigError) as caught:
        check_url(url)

    assert why in str(caught.value)
    assert "secret" not in str(caught.value)
