"""Tasks that ask for one ability each, N at a time: remember, compare, explore, find the way.

All last `EPISODE` steps, take 4 actions and show the same kind of observation, so one policy can be
trained on a mixture. Returns are corrected for chance: 0 is what guessing gets, 1 is perfect.

An observation (12,): the symbol shown (4, one-hot), "look" and "answer" (2), the action before
(4, one-hot), the sign of the reward before (1), and the share of the episode that is over (1).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import gymnasium
import numpy as np

from trainer.envs.base import Array, Share, SharedRandom, Step

EPISODE = 32
CHOICES = 4
SIZE = CHOICES + 2 + CHOICES + 2


@dataclass(frozen=True, slots=True)
class Plan:
    """All that happens in N episodes.

    `shown` (EPISODE, N): a symbol, or −1 for none. `looking` (EPISODE, N): 1 where it is to be
    remembered. `worth` (EPISODE, N, CHOICES): the reward of each action.
    """

    shown: Array
    looking: Array
    worth: Array


class CognitiveTask:
    """N episodes of one task, in step with each other, as `plan(random, difficulty)` lays down."""

    def __init__(
        self,
        share: Share,
        plan: Callable[[SharedRandom, float], Plan],
        *,
        difficulty: float,
    ) -> None:
        self.share = share
        self.draw = plan
        self.difficulty = difficulty
        self.observation_space = gymnasium.spaces.Box(-1.0, 1.0, (SIZE,), np.float32)
        self.action_space = gymnasium.spaces.Discrete(CHOICES)
        self.reset(0)

    def reset(self, seed: int) -> Array:
        """Begins all episodes anew."""
        self.random = SharedRandom(self.share, seed)
        return self._begin()

    def step(self, actions: Array) -> Step:
        """Answers; all episodes end after `EPISODE` steps, by their own rules."""
        reward = self.plan.worth[self.clock, np.arange(self.share.count), actions]
        self.before = np.eye(CHOICES)[actions]
        self.reward_before = np.sign(reward)
        self.clock += 1
        over = np.full(self.share.count, self.clock == EPISODE)
        final = self._observe()
        observation = self._begin() if self.clock == EPISODE else final
        return Step(observation, reward.astype(np.float32), over, np.zeros_like(over), final)

    def state(self) -> dict[str, Any]:
        """The episodes and the random numbers."""
        plan = {name: getattr(self.plan, name) for name in Plan.__slots__}
        history = {name: getattr(self, name) for name in ("clock", "before", "reward_before")}
        return {"plan": plan, "history": history, "random": self.random.state}

    def restore(self, state: dict[str, Any]) -> Array:
        """Goes on where `state` was taken."""
        self.plan = Plan(**state["plan"])
        for name, value in state["history"].items():
            setattr(self, name, value)
        self.random.state = state["random"]
        return self._observe()

    def _begin(self) -> Array:
        self.clock = 0
        self.before = np.zeros((self.share.count, CHOICES))
        self.reward_before = np.zeros(self.share.count)
        self.plan = self.draw(self.random, self.difficulty)
        return self._observe()

    def _observe(self) -> Array:
        now = min(self.clock, EPISODE - 1)  # after the last step nothing new is shown
        asked = np.ptp(self.plan.worth[now], axis=1) > 0
        return observe(
            self.plan.shown[now],
            np.stack([self.plan.looking[now], asked], axis=1),
            before=self.before,
            reward_before=self.reward_before,
            clock=self.clock,
        )


def observe(
    symbol: Array, flags: Array, *, before: Array, reward_before: Array, clock: int
) -> Array:
    """Observations (N, SIZE) of symbols (N,), flags (N, 2), actions (N, CHOICES), rewards (N,)."""
    shown = symbol[:, np.newaxis] == np.arange(CHOICES)
    over = np.full((len(symbol), 1), clock / EPISODE)
    parts = [shown, flags, before, reward_before[:, np.newaxis], over]
    return np.concatenate(parts, axis=1).astype(np.float32)


def answers(right: Array, asked: Array, *, choices: int = CHOICES) -> Array:
    """worth (EPISODE, N, CHOICES) of giving the answers `right` (EPISODE, N) where `asked`.

    A wrong answer costs 1/(choices − 1) of what a right one earns: guessing among `choices` earns
    0. All right answers of an episode add up to 1.
    """
    worth = np.where(right[..., np.newaxis] == np.arange(CHOICES), 1.0, -1.0 / (choices - 1))
    result: Array = worth * (asked / asked.sum(axis=0))[..., np.newaxis]
    return result


def recall(random: SharedRandom, difficulty: float) -> Plan:
    """Name the symbol shown 1 step ago (difficulty 0) to 15 steps ago (1), over and over."""
    period = 2 + round(14 * difficulty)
    symbols = random.integers(CHOICES, EPISODE).T
    time = np.arange(EPISODE)
    whole = time < EPISODE // period * period
    looking = _for_all(whole & (time % period == 0), symbols)
    asked = _for_all(whole & (time % period == period - 1), symbols)
    shown = np.where(looking == 1, symbols, -1)
    return Plan(shown, looking, answers(symbols[time // period * period], asked))


def nback(random: SharedRandom, difficulty: float) -> Plan:
    """At each step name the symbol of n steps ago (Kirchner 1958); difficulty: n from 1 to 5."""
    n = 1 + round(4 * difficulty)
    symbols = random.integers(CHOICES, EPISODE).T
    asked = _for_all(np.arange(EPISODE) >= n, symbols)
    return Plan(symbols, np.ones_like(asked), answers(np.roll(symbols, n, axis=0), asked))


def bandit(random: SharedRandom, difficulty: float) -> Plan:
    """Find the arm that pays most often and stay with it.

    Difficulty narrows its lead from 1 to 0.2. The best arm throughout adds up to 1 on average,
    arms at random to 0.
    """
    lead = 1.0 - 0.8 * difficulty
    best = random.integers(CHOICES)
    chance = np.where(best[:, np.newaxis] == np.arange(CHOICES), 0.5 + lead / 2, 0.5 - lead / 2)
    pays = random.uniform(0, 1, EPISODE, CHOICES).swapaxes(0, 1) < chance
    average = chance.mean(axis=1, keepdims=True)
    worth = (pays - average) / (EPISODE * (chance.max(axis=1, keepdims=True) - average))
    nothing = np.zeros(worth.shape[:2])
    return Plan(nothing - 1, nothing, worth)


def match(random: SharedRandom, difficulty: float) -> Plan:
    """Delayed match to sample: was the probe the first sample (0), the second (1), or neither (2)?

    Difficulty lengthens the delay from 0 to 10 steps. Action 3 is never right.
    """
    period = 3 + round(10 * difficulty)
    time = np.arange(EPISODE)
    phase, whole = time % period, time < EPISODE // period * period
    first, apart, kind = (random.integers(n, EPISODE).T[time // period] for n in (CHOICES, 3, 3))
    second = (first + 1 + apart) % CHOICES
    neither = (first + 1 + (apart + 1) % 3) % CHOICES
    probe = np.choose(kind, [first, second, neither])
    shown = np.full(first.shape, -1)
    for when, symbol in ((0, first), (1, second), (period - 1, probe)):
        shown = np.where(_for_all(whole & (phase == when), first) == 1, symbol, shown)
    asked = _for_all(whole & (phase == period - 1), first)
    looking = _for_all(whole & (phase <= 1), first)
    return Plan(shown, looking, answers(kind, asked, choices=3))


def _for_all(when: Array, like: Array) -> Array:
    """(EPISODE,) truths as (EPISODE, N) numbers."""
    return np.broadcast_to(when[:, np.newaxis], like.shape).astype(np.float64)


class Maze:
    """A corridor with a sign at its entrance and a fork at its end (the T-maze of Tolman 1948).

    Actions: 0 goes on, 1 turns left, 2 turns right, 3 waits; turns count at the fork only. The
    symbol is 0 or 1 at the entrance, 1 for "turn right"; 2 in the corridor; 3 at the fork. After a
    turn the next corridor begins. `difficulty` lengthens it from 1 to 10 steps.
    """

    def __init__(self, share: Share, *, difficulty: float) -> None:
        self.share = share
        self.length = 1 + round(9 * difficulty)
        self.position = np.zeros(share.count, dtype=np.int64)
        self.sign = np.zeros(share.count, dtype=np.int64)
        self.observation_space = gymnasium.spaces.Box(-1.0, 1.0, (SIZE,), np.float32)
        self.action_space = gymnasium.spaces.Discrete(CHOICES)
        self.reset(0)

    def reset(self, seed: int) -> Array:
        """Begins all episodes anew."""
        self.random = SharedRandom(self.share, seed)
        return self._begin(self.random.integers(2))

    def step(self, actions: Array) -> Step:
        """Goes, turns or waits; all episodes end after `EPISODE` steps."""
        turned = (self.position == self.length) & ((actions == 1) | (actions == 2))
        value = 1 / (EPISODE // (self.length + 1))  # of a right turn: a run without waits earns 1
        reward = np.where(turned, np.where(actions - 1 == self.sign, value, -value), 0.0)
        self.position = np.minimum(self.position + (actions == 0), self.length)
        self.position[turned] = 0
        signs = self.random.integers(2)
        self.sign = np.where(turned, signs, self.sign)
        self.before = np.eye(CHOICES)[actions]
        self.reward_before = np.sign(reward)
        self.clock += 1
        over = np.full(self.share.count, self.clock == EPISODE)
        final = self._observe()
        observation = self._begin(signs) if self.clock == EPISODE else final
        return Step(observation, reward.astype(np.float32), over, np.zeros_like(over), final)

    def state(self) -> dict[str, Any]:
        """The episodes and the random numbers."""
        names = ("clock", "position", "sign", "before", "reward_before")
        episode = {name: getattr(self, name) for name in names}
        return {"episode": episode, "random": self.random.state}

    def restore(self, state: dict[str, Any]) -> Array:
        """Goes on where `state` was taken."""
        for name, value in state["episode"].items():
            setattr(self, name, value)
        self.random.state = state["random"]
        return self._observe()

    def _begin(self, signs: Array) -> Array:
        self.clock = 0
        self.position = np.zeros_like(self.position)
        self.sign = signs
        self.before = np.zeros((self.share.count, CHOICES))
        self.reward_before = np.zeros(self.share.count)
        return self._observe()

    def _observe(self) -> Array:
        inside = np.where(self.position == self.length, 3, 2)
        entrance = self.position == 0
        return observe(
            np.where(entrance, self.sign, inside),
            np.stack([entrance, self.position == self.length], axis=1),
            before=self.before,
            reward_before=self.reward_before,
            clock=self.clock,
        )
