import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from trainer.envs.ram import SIZE, bytes_and_changes

MEMORY = arrays(np.uint8, (2, SIZE))
WHICH = st.lists(st.integers(0, SIZE - 1), min_size=1, max_size=8)


@given(MEMORY, WHICH)
def test_the_bytes_before_follow_from_those_now_and_their_changes(memory, which):
    seen = bytes_and_changes(memory, which) * 255
    now, change = seen.round().astype(int).reshape(2, -1)
    np.testing.assert_array_equal(now, memory[1, which])
    np.testing.assert_array_equal((now - change) % 256, memory[0, which])
    assert change.min() >= -128
    assert change.max() <= 127
