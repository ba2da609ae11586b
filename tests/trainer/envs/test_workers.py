import numpy as np
import pytest

from trainer.config import EnvConfig
from trainer.envs import make_env
from trainer.envs.base import Share, opened
from trainer.envs.workers import Workers
from trainer.errors import ConfigError, TrainerError

CARTPOLE = EnvConfig(name="CartPole-v1")
SHARE = Share(1, 5, 7)


def test_processes_do_what_one_process_does():
    spread = make_env(CARTPOLE, SHARE, workers=2)
    alone = make_env(CARTPOLE, SHARE)
    assert isinstance(spread, Workers)
    np.testing.assert_array_equal(spread.reset(3), alone.reset(3))
    random = np.random.default_rng(0)
    for _ in range(60):
        actions = random.integers(2, size=5)
        one, other = spread.step(actions), alone.step(actions)
        for name in ("observation", "reward", "terminated", "truncated", "final_observation"):
            np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    state = spread.state()
    np.testing.assert_array_equal(spread.restore(state), alone.restore(alone.state()))
    spread.close()


def test_what_goes_wrong_in_a_process_is_told():
    env = make_env(CARTPOLE, Share(0, 2, 2), workers=2)
    env.reset(0)
    with pytest.raises(TrainerError, match="invalid"):
        env.step(np.array([0, 9]))
    env.close()


def test_a_mistake_in_the_name_is_still_a_config_error():
    with pytest.raises(ConfigError):
        make_env(EnvConfig(name="CartPole-v7"), SHARE, workers=2)


def test_processes_are_gone_when_their_environment_is_closed():
    with opened(make_env(CARTPOLE, SHARE, workers=2)) as env:
        assert all(process.is_alive() for process in env.processes)
    assert [process.exitcode for process in env.processes] == [0, 0]


def test_a_mixture_closes_the_processes_of_each_task():
    tasks = ("CartPole-v1", "gymnasium.envs.classic_control:CartPoleEnv")
    config = EnvConfig(name="cogeval", tasks=tasks)
    with opened(make_env(config, Share(0, 4, 4), workers=4)) as env:
        processes = [process for part in env.parts for process in part.processes]
    assert [process.exitcode for process in processes] == [0] * 4


def test_a_process_that_is_killed_is_told():
    with opened(make_env(CARTPOLE, Share(0, 2, 2), workers=2)) as env:
        env.reset(0)
        env.processes[1].kill()
        env.processes[1].join()
        with pytest.raises(TrainerError, match="process is gone"):
            env.step(np.array([0, 0]))
