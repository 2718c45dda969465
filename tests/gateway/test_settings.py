"""The options: their defaults, and what is refused."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, replace
from typing import Any

import pytest

from fastchunk.gateway import Settings, with_keys

URL = "http://127.0.0.1:8001"


@pytest.mark.parametrize("url", [URL, "https://example.org/base", "http://[::1]:80", "http://h:1/"])
def test_urls(url: str) -> None:
    assert Settings(upstream=url).upstream == url.rstrip("/")


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("localhost:8001", "must begin with http"),
        ("ftp://h", "must begin with http"),
        ("http://", "name a host"),
        ("http://user:secret@h", "use upstream_key"),
        ("http://h?a=b", "without query"),
        ("http://h#a", "without query"),
        ("http://h/a b", "plain URL"),
        ("http://h/v1", "must not include /v1"),
        ("http://h/v1/", "must not include /v1"),
        ("http://h:port", "no valid port"),
        ("http://h:99999", "no valid port"),
    ],
)
def test_urls_that_are_refused(url: str, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        Settings(upstream=url)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("option", "value", "error"),
    [
        ("upstream", 1, TypeError),
        ("upstream", None, TypeError),
        ("aliases", ["a"], TypeError),
        ("aliases", {"a": 1}, ValueError),
        ("aliases", {"": "a"}, ValueError),
        ("strip_usage", 1, TypeError),
        ("connect_timeout", 0, ValueError),
        ("read_timeout", -1.0, ValueError),
        ("keep_alive", float("nan"), ValueError),
        ("keep_alive", float("inf"), ValueError),
        ("keep_alive", "15", TypeError),
        ("max_streams", 1.5, TypeError),
        ("max_streams", True, TypeError),
        ("max_event_size", 0, ValueError),
        ("max_request_size", "1M", TypeError),
        ("shutdown_timeout", None, TypeError),
        ("upstream", "http://a..b", ValueError),
        ("upstream", f"http://{'a' * 70}", ValueError),
        ("request_timeout", 0, ValueError),
        ("upstream_key", "", ValueError),
        ("upstream_key", "a\r\nb", ValueError),
        ("client_key", "a b", ValueError),
        ("client_key", 7, ValueError),
    ],
)
def test_values_that_are_refused(option: str, value: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match=option):
        Settings(**{"upstream": URL, option: value})


def test_a_refused_key_is_not_shown() -> None:
    with pytest.raises(ValueError, match="client_key") as caught:
        Settings(upstream=URL, client_key="hush hush")
    assert "hush" not in str(caught.value)


def test_keys_are_not_in_the_repr() -> None:
    settings = Settings(upstream=URL, upstream_key="secret-1", client_key="secret-2")
    assert "secret" not in repr(settings)


def test_settings_stay_as_they_are() -> None:
    names = {"a": "b"}
    settings = Settings(upstream=URL, aliases=names, keep_alive=1)
    names["c"] = "d"
    assert settings.aliases == {"a": "b"}
    with pytest.raises(TypeError):
        settings.aliases["c"] = "d"  # type: ignore[index]
    with pytest.raises(FrozenInstanceError):
        settings.keep_alive = 2  # type: ignore[misc]
    assert replace(settings, keep_alive=2).aliases == settings.aliases


def test_keys_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FASTCHUNK_UPSTREAM_KEY", "one")
    monkeypatch.setenv("FASTCHUNK_CLIENT_KEY", "two")
    expected = Settings(upstream=URL, upstream_key="one", client_key="two")
    assert with_keys(Settings(upstream=URL)) == expected


def test_keys_that_were_given_come_first_and_an_empty_one_is_none() -> None:
    settings = Settings(upstream=URL, upstream_key="one")
    environment = {"FASTCHUNK_UPSTREAM_KEY": "two", "FASTCHUNK_CLIENT_KEY": ""}
    assert with_keys(settings, environment) == settings


def test_a_key_of_the_environment_is_checked() -> None:
    with pytest.raises(ValueError, match="client_key must be printable") as caught:
        with_keys(Settings(upstream=URL), {"FASTCHUNK_CLIENT_KEY": "hush hush"})
    assert "hush" not in str(caught.value)
