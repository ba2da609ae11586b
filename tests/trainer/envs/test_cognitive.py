import numpy as np
import pytest

from trainer.config import EnvConfig
from trainer.envs import make_env
from trainer.envs.base import Share
from trainer.envs.cognitive import CHOICES, EPISODE

TASKS = ["recall", "nback", "bandit", "match", "maze"]
DIFFICULTIES = [0.0, 0.3, 0.5, 1.0]
N = 4000


def task(name, difficulty, count=N):
    env = make_env(EnvConfig(name=name, difficulty=difficulty), Share(0, count, count))
    env.reset(0)
    return env


def returns(env, act):
    total = np.zeros(env.share.count)
    for _ in range(EPISODE):
        step = env.step(act(env))
        total += step.reward
    assert step.terminated.all()
    return total


def perfect(env):
    """Knows the plan, or in the maze the sign."""
    if hasattr(env, "plan"):
        return env.plan.worth[env.clock].argmax(axis=1)
    return np.where(env.position == env.length, env.sign + 1, 0)


@pytest.mark.parametrize("difficulty", DIFFICULTIES)
@pytest.mark.parametrize("name", ["recall", "nback", "match", "maze"])
def test_a_perfect_player_earns_one(name, difficulty):
    np.testing.assert_allclose(returns(task(name, difficulty, 50), perfect), 1, atol=1e-6)


@pytest.mark.parametrize("difficulty", DIFFICULTIES)
@pytest.mark.parametrize("name", TASKS)
def test_guessing_earns_nothing_on_average(name, difficulty):
    random = np.random.default_rng(99)
    choices = 3 if name == "match" else CHOICES
    earned = returns(task(name, difficulty), lambda env: random.integers(choices, size=N))
    assert abs(earned.mean()) < 4 * earned.std() / N**0.5 + 1e-9


@pytest.mark.parametrize("difficulty", DIFFICULTIES)
def test_the_best_arm_earns_one_on_average(difficulty):
    env = task("bandit", difficulty)
    best = env.plan.worth.sum(axis=0).argmax(axis=1)  # at a narrow lead luck may mislead it
    if difficulty == 0.0:
        np.testing.assert_allclose(returns(env, lambda _: best), 1)
    else:
        assert returns(env, lambda _: best).mean() > 0.9


@pytest.mark.parametrize("name", ["recall", "nback", "match"])
def test_a_constant_answer_earns_nothing(name):
    earned = returns(task(name, 0.5), lambda env: np.zeros(N, dtype=int))
    assert abs(earned.mean()) < 4 * earned.std() / N**0.5


@pytest.mark.parametrize("name", TASKS)
def test_what_is_shown_when_an_answer_is_due_does_not_give_it_away(name):
    """Same picture, different right answers: memory is needed."""
    env = task(name, 0.5)
    for _ in range(EPISODE - 1):
        env.step(perfect(env))
        observation = env._observe()
        due = observation[:, CHOICES + 1] == 1
        pictures = {}
        for picture, answer in zip(observation[due], perfect(env)[due], strict=True):
            pictures.setdefault(picture.tobytes(), set()).add(int(answer))
        if any(len(answers) > 1 for answers in pictures.values()):
            return
    pytest.fail("every picture had one right answer")


def test_difficulty_asks_for_longer_memory():
    easy, hard = task("maze", 0.0, 2), task("maze", 1.0, 2)
    assert (easy.length, hard.length) == (1, 10)
    assert task("recall", 0.0, 2).plan.worth.any(axis=(1, 2)).sum() == EPISODE // 2
    assert task("recall", 1.0, 2).plan.worth.any(axis=(1, 2)).sum() == EPISODE // 16


def test_a_mixture_deals_its_tasks_out_in_turn():
    config = EnvConfig(name="cogeval", tasks=("recall", "maze", "bandit"))
    env = make_env(config, Share(0, 7, 7))
    assert env.task_of.tolist() == [0, 1, 2, 0, 1, 2, 0]
    assert env.task_names == ("recall", "maze", "bandit")
    assert env.reset(0)[:, -3:].argmax(axis=1).tolist() == env.task_of.tolist()
