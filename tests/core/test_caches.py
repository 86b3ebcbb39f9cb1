"""Where caches lie: where the user says, or where the platform keeps them."""

from pathlib import Path

from captionlab.core.caches import cache_folder


def test_the_users_choice_goes_before_the_platforms(monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", "/one")
    monkeypatch.setenv("CAPTIONLAB_CACHE", "/other")
    assert cache_folder() == Path("/other")
    monkeypatch.delenv("CAPTIONLAB_CACHE")
    assert cache_folder() == Path("/one/captionlab")


def test_without_a_choice_it_is_in_the_home(monkeypatch):
    monkeypatch.delenv("CAPTIONLAB_CACHE")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr("sys.platform", "linux")
    assert cache_folder() == Path.home() / ".cache" / "captionlab"
    monkeypatch.setattr("sys.platform", "darwin")
    assert cache_folder() == Path.home() / "Library" / "Caches" / "captionlab"
