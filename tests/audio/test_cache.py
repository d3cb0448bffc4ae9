"""The cache bounded by bytes."""

from __future__ import annotations

from audio_separation.audio.cache import ByteLru


def test_the_least_recently_used_goes_first_and_the_bound_holds() -> None:
    cache: ByteLru[str, int] = ByteLru(max_bytes=100)
    cache.put("a", 1, 40)
    cache.put("b", 2, 40)
    assert cache.get("a") == 1  # now b is the older
    cache.put("c", 3, 40)
    assert (cache.get("a"), cache.get("b"), cache.get("c")) == (1, None, 3)
    assert cache.num_bytes == 80 and len(cache) == 2
    assert (cache.hits, cache.misses) == (3, 1)


def test_replacing_counts_once_and_too_large_is_not_kept() -> None:
    cache: ByteLru[str, int] = ByteLru(max_bytes=100)
    cache.put("a", 1, 60)
    cache.put("a", 2, 70)
    assert cache.get("a") == 2 and cache.num_bytes == 70
    cache.put("b", 3, 101)
    assert cache.get("b") is None and cache.get("a") == 2
