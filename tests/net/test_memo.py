from hypothesis import given
from hypothesis import strategies as st

from shortener.net.memo import Memo


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 20)), max_size=200), st.integers(2, 10))
def test_memo_is_bounded_and_never_wrong(steps: list[tuple[bool, int]], size_max: int) -> None:
    memo: Memo[int, str] = Memo(size_max)
    for puts, key in steps:
        if puts:
            memo.put(key, str(key))
            assert memo.get(key) == str(key)
        else:
            assert memo.get(key) in (None, str(key))
        assert len(memo) <= size_max


def test_memo_keeps_what_is_used() -> None:
    memo: Memo[int, str] = Memo(4)
    memo.put(0, "used")
    for key in range(1, 100):
        memo.put(key, "once")
        assert memo.get(0) == "used"
    assert memo.get(1) is None
