import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.trainer.training import config
from trainer.envs.base import Share
from trainer.layout import Layout
from trainer.ranks import Place, Ranks

settings = st.fixed_dictionaries(
    {
        "trainer.batch_size": st.integers(1, 100_000),
        "trainer.minibatch_size": st.none() | st.integers(1, 200_000),
        "trainer.total_timesteps": st.integers(1, 10**9),
        "trainer.bptt_horizon": st.none() | st.integers(1, 500),
        "env.num_envs": st.none() | st.integers(1, 1000),
        "model.recurrence": st.sampled_from(["none", "gru"]),
    }
)


def layout_of(values, world=1):
    overrides = [f"{k}={'null' if v is None else v}" for k, v in values.items()]
    return Layout.of(config(*overrides), world=world)


@given(settings, st.integers(1, 8))
def test_every_setting_gives_a_batch(values, world):
    layout = layout_of(values, world)
    assert layout.num_envs >= world
    assert layout.horizon % layout.sequence == 0
    assert 1 <= layout.minibatches <= layout.num_sequences
    assert layout.updates * layout.batch_size >= values["trainer.total_timesteps"]


@given(settings)
def test_the_batch_is_about_as_large_as_asked(values):
    asked = values["trainer.batch_size"]
    got = layout_of({**values, "trainer.bptt_horizon": None}).batch_size
    assert asked / 2 <= got <= 1.5 * asked


def shares(total, world):
    device = torch.device("cpu")
    alone = Ranks(Place(), run_id="", device=device)
    result = []
    for rank in range(world):
        alone.place = Place(rank, world)
        result.append(alone.share(total))
    return result


@given(st.integers(1, 100), st.integers(1, 8))
def test_ranks_share_all_environments(total, world):
    covered = [i for s in shares(total, world) for i in range(s.start, s.start + s.count)]
    assert covered == list(range(total))


@given(st.integers(1, 6), st.integers(1, 4), st.integers(0, 100))
def test_ranks_own_each_sequence_of_a_part_once(chunks, world, seed):
    layout = Layout(num_envs=7, horizon=chunks * 2, sequence=2, minibatches=1, updates=1)
    part = np.random.default_rng(seed).permutation(7 * chunks)
    owned = []
    for share in shares(7, world):
        own = layout.own(part, share)
        chunk, env = np.divmod(own, max(share.count, 1))
        owned += list(chunk * 7 + env + share.start)
    assert sorted(owned) == list(range(7 * chunks))


def test_alone_a_rank_owns_the_part_as_it_is():
    layout = Layout(num_envs=3, horizon=4, sequence=1, minibatches=1, updates=1)
    part = np.array([5, 0, 11])
    assert layout.own(part, Share(0, 3, 3)).tolist() == [5, 0, 11]
