"""The cache of a fit keeps within its bound and drops what has not been used for long."""

from services.fitting.cache import Cache


def test_a_cache_forgets_the_least_recently_used_and_stays_within_its_bound():
    cache = Cache(10)
    cache.keep(("a",), 1, 4)
    cache.keep(("b",), 2, 4)
    assert cache.get(("a",)) == 1
    cache.keep(("c",), 3, 4)
    assert (cache.get(("a",)), cache.get(("b",)), cache.get(("c",))) == (1, None, 3)
    assert cache.keep(("a",), 9, 4) == 1
    assert cache.keep(("d",), 4, 11) == 4
    assert cache.get(("d",)) is None
    assert cache.nbytes == 8


def test_parts_of_a_library_larger_than_the_cache_do_not_push_each_other_out():
    cache = Cache(10)
    cache.keep(("other", 0), 0, 3)
    for part in range(5):
        cache.keep(("library", part), part, 4)
    assert [cache.get(("library", part)) for part in range(5)] == [0, 1, None, None, None]
    assert cache.get(("other", 0)) is None
    assert cache.keep(("new", 0), 7, 5) == 7
    assert cache.nbytes == 9
