import sys

import numpy as np
import pytest
from minigrid.core.constants import OBJECT_TO_IDX

from tests.trainer.countdown import Countdown
from trainer.config import EnvConfig
from trainer.envs import make_env
from trainer.envs.base import Share
from trainer.envs.gymnasium_env import GymnasiumEnv
from trainer.errors import ConfigError

SHARE = Share(0, 2, 2)
HERE = "tests.trainer.countdown"
ZERO = np.zeros(2, dtype=int)
BYTES = [49, 54, 51, 50]  # Pong's ball, across and down, and the paddles


def failure(**fields):
    with pytest.raises(ConfigError) as caught:
        make_env(EnvConfig(**fields), SHARE)
    return str(caught.value)


def test_a_misspelt_name_is_answered_with_the_nearest():
    assert "did you mean cartpole" in failure(name="cartpol")
    assert "CartPole-v1" in failure(name="CartPole-v7")


def test_a_task_that_does_not_exist_is_answered_with_those_that_do():
    assert "did you mean recall" in failure(name="cogeval", tasks=("recal",))


@pytest.mark.parametrize(
    ("name", "module", "extra"),
    [("ALE/Pong-v5", "ale_py", "atari"), ("MiniGrid-Empty-5x5-v0", "minigrid", "grid")],
)
def test_a_missing_package_is_named_with_its_extra(name, module, extra, monkeypatch):
    monkeypatch.setitem(sys.modules, module, None)
    said = failure(name=name)
    assert f"needs {module}" in said
    assert f"protein-sky[{extra}]" in said


@pytest.mark.parametrize(
    ("name", "kwargs", "said"),
    [
        ("CartPole-v1", {"colour": "red"}, "unexpected keyword argument 'colour'"),
        ("ALE/Pong-v5", {"mode": 99}, "Pong-v5 cannot be made"),
        ("FrozenLake-v1", {"map_name": "9x9"}, "9x9"),
        (f"{HERE}:Countdown", {"colour": "red"}, "unexpected keyword argument 'colour'"),
        (f"{HERE}:Held", {}, "missing a required argument: 'until'"),
        (f"{HERE}:Letters", {}, "must be of one size"),
        ("MiniGrid-DoorKey-5x5-v0", {"cells": "hot"}, "'hot' is not one_hot"),
    ],
)
def test_what_an_environment_does_not_take_or_show_is_a_config_error(name, kwargs, said):
    assert said in failure(name=name, kwargs=kwargs)


def test_a_package_that_an_environment_of_gymnasium_lacks_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "Box2D", None)
    assert "box2d" in failure(name="LunarLander-v3")


@pytest.mark.parametrize(
    ("tasks", "said"),
    [
        (("recall", "cogeval"), "none of them"),
        (("recall", "maze", "recall"), "each task once"),
        (("MiniGrid-DoorKey-5x5-v0", "CartPole-v1"), "CartPole-v1 shows (4,)"),
        ((f"{HERE}:Spot", "recall"), "shows (8, 8, 3)"),
        (("CartPole-v1", "recall", "maze"), "2 environments cannot play 3 tasks"),
    ],
)
def test_tasks_that_no_policy_can_play_together_are_refused(tasks, said):
    assert said in failure(name="cogeval", tasks=tasks)


@pytest.mark.parametrize("workers", [1, 2])
def test_tasks_of_minigrid_are_played_as_one(workers):
    tasks = ("MiniGrid-MemoryS7-v0", "MiniGrid-DoorKey-5x5-v0")
    env = make_env(EnvConfig(name="cogeval", tasks=tasks), Share(0, 5, 5), workers=workers)
    seen = env.reset(0)
    assert env.task_of.tolist() == [0, 1, 0, 1, 0]
    assert seen[:, -2:].argmax(axis=1).tolist() == env.task_of.tolist()
    assert seen.shape == (5, *env.observation_space.shape)
    step = env.step(np.zeros(5, dtype=int))
    assert step.observation.dtype == env.observation_space.dtype
    assert step.reward.tolist() == [0, 0, 0, 0, 0]


def test_bytes_may_be_written_as_text_as_in_a_sweep_file():
    env, same = (
        make_env(EnvConfig(name="ALE/Pong-v5", kwargs={"ram": ram}), SHARE)
        for ram in ("49, 54,51,50", BYTES)
    )
    np.testing.assert_array_equal(env.reset(3), same.reset(3))


def test_a_cell_of_minigrid_may_be_its_object_its_colour_and_its_state():
    config = EnvConfig(name="MiniGrid-DoorKey-5x5-v0", kwargs={"cells": "one_hot"})
    env = make_env(config, SHARE)
    seen = env.reset(5)[0]
    assert env.observation_space.contains(seen)
    task = env.envs.envs[0].unwrapped
    view = task.gen_obs()["image"]
    direction, cells = seen[:4], seen[4:].reshape(7, 7, 20)
    assert direction.nonzero()[0].tolist() == [task.agent_dir]
    names = np.stack([part.argmax(-1) for part in np.split(cells, [11, 17], axis=-1)], -1)
    things = view[..., 0] > OBJECT_TO_IDX["wall"]
    assert things.sum() > 1
    np.testing.assert_array_equal(names[things], view[things])
    np.testing.assert_array_equal(names[~things][:, 0], view[~things][:, 0])


def test_a_thing_in_a_cell_of_minigrid_stands_out_from_the_ground():
    env = make_env(EnvConfig(name="MiniGrid-DoorKey-5x5-v0", kwargs={"cells": "one_hot"}), SHARE)
    cells = env.reset(5)[0][4:].reshape(49, 20)
    ground = cells[:, : OBJECT_TO_IDX["wall"] + 1].any(-1)
    assert {tuple(sorted(cell[cell > 0])) for cell in cells[ground]} == {(1,)}
    assert {tuple(sorted(cell[cell > 0])) for cell in cells[~ground]} == {(3, 3, 3)}


def test_a_task_of_minigrid_steps():
    env = make_env(EnvConfig(name="MiniGrid-DoorKey-5x5-v0"), SHARE)
    seen = env.reset(0)
    assert seen.shape == (2, *env.observation_space.shape)
    assert env.step(ZERO).observation.shape == seen.shape


@pytest.mark.parametrize(("kwargs", "shape"), [({}, (4, 84, 84)), ({"obs_type": "ram"}, (128,))])
def test_pong_shows_pixels_or_its_memory(kwargs, shape):
    env = make_env(EnvConfig(name="ALE/Pong-v5", kwargs=kwargs), SHARE)
    assert env.reset(0).shape == (2, *shape)
    assert env.step(ZERO).observation.dtype == np.uint8


def test_chosen_bytes_of_a_games_memory_come_with_their_changes():
    whole, chosen = (
        make_env(EnvConfig(name="ALE/Pong-v5", kwargs=kwargs), SHARE)
        for kwargs in ({"obs_type": "ram"}, {"obs_type": "ram", "ram": BYTES})
    )
    before, first = whole.reset(0)[:, BYTES], chosen.reset(0)
    np.testing.assert_allclose(first[:, :4] * 255, before, rtol=1e-6)
    assert not first[:, 4:].any()
    for _ in range(40):
        now, seen = (env.step(ZERO).observation for env in (whole, chosen))
        change = (now[:, BYTES].astype(int) - before + 128) % 256 - 128
        np.testing.assert_allclose(seen * 255, np.hstack([now[:, BYTES], change]), atol=1e-4)
        assert all(chosen.observation_space.contains(row) for row in seen)
        before = now[:, BYTES]
    assert change.any()


@pytest.mark.parametrize("ram", [[], [128], [-1], [1.0], ["ball"], [[49]], 49, "", "49,ball"])
def test_bytes_that_no_memory_has_are_refused(ram):
    assert "from 0 to 127" in failure(name="ALE/Pong-v5", kwargs={"ram": ram})


def test_a_difficulty_for_an_environment_without_one_is_refused():
    assert "env.difficulty" in failure(name="CartPole-v1", difficulty=0.5)


@pytest.mark.parametrize(
    "name",
    [f"{HERE}:Nothing", "nowhere:Env", f"{HERE}:not_a_function"],
)
def test_an_import_path_that_leads_nowhere_is_a_config_error(name):
    assert name in failure(name=name)


def test_an_id_of_gymnasium_makes_its_environment():
    env = make_env(EnvConfig(name="FrozenLake-v1", kwargs={"map_name": "8x8"}), SHARE)
    assert env.reset(0).sum(axis=1).tolist() == [1, 1]
    assert env.observation_space.shape == (64,)


def countdown(**kwargs):
    return make_env(EnvConfig(name=f"{HERE}:Countdown", kwargs=kwargs), SHARE)


def test_a_users_environment_gets_its_arguments_and_starts_over_by_itself():
    env = countdown(length=2)
    env.reset(0)
    first, second, third = (env.step(ZERO) for _ in range(3))
    assert not first.terminated.any()
    assert second.terminated.all()
    assert second.final_observation.ravel().tolist() == [2, 2]
    assert second.observation.ravel().tolist() == [0, 0]
    assert third.observation.ravel().tolist() == [1, 1]


def test_an_end_that_is_both_true_and_by_the_clock_is_a_true_one():
    env = countdown(length=2, limit=2)
    env.reset(0)
    env.step(ZERO)
    step = env.step(ZERO)
    assert step.terminated.all()
    assert not step.truncated.any()


def test_the_clock_alone_only_truncates():
    env = countdown(length=9, limit=1)
    env.reset(0)
    step = env.step(ZERO)
    assert step.truncated.all()
    assert not step.terminated.any()


def test_copies_see_different_seeds_and_ranks_the_same_ones():
    def starts(share):
        return make_env(EnvConfig(name="CartPole-v1"), share).reset(3)

    whole = starts(Share(0, 4, 4))
    assert len(np.unique(whole[:, 0])) == 4
    np.testing.assert_array_equal(whole[2:], starts(Share(2, 2, 4)))


def test_after_a_restore_new_episodes_begin():
    env = make_env(EnvConfig(name="CartPole-v1"), SHARE)
    first = env.reset(3)
    second = env.restore(env.state())
    third = env.restore(env.state())
    assert len({first.tobytes(), second.tobytes(), third.tobytes()}) == 3


def test_real_actions_are_kept_within_bounds():
    env = make_env(EnvConfig(name=f"{HERE}:Steer"), SHARE)
    env.reset(0)
    assert env.step(np.full((2, 2), 7.0)).reward.tolist() == [-2, -2]


def test_a_vector_environment_that_starts_over_one_step_late_is_refused():
    from gymnasium.vector import SyncVectorEnv

    with pytest.raises(ValueError, match="SAME_STEP"):
        GymnasiumEnv(SyncVectorEnv([Countdown]), SHARE)


def test_a_mapping_becomes_one_row_without_its_texts():
    env = make_env(EnvConfig(name=f"{HERE}:Mission"), SHARE)
    assert env.reset(0)[0].tolist() == [0, 0, 1, 0, 7, 7, 7, 7]


def test_a_function_that_takes_a_share_makes_all_environments_itself():
    env = make_env(EnvConfig(name=f"{HERE}:poles", kwargs={"difficulty": 0.0}), SHARE)
    assert env.share == SHARE
    assert env.half_length == 1.0
