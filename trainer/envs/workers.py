"""Environments in processes of their own, for those whose steps are slow."""

import multiprocessing
import traceback
from collections.abc import Callable
from contextlib import ExitStack, suppress
from itertools import pairwise
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any

import numpy as np

from trainer.envs.base import Array, Share, Step, VectorEnv, opened
from trainer.errors import TrainerError
from trainer.signals import blocked

CLOSE_SECONDS = 5.0  # what an environment may take for the step that it is in


class Workers:
    """A share of the environments, cut into parts that step at the same time.

    What happens is what would happen in one process. `make` is sent to the processes: it must be
    picklable.
    """

    def __init__(self, make: Callable[[Share], VectorEnv], share: Share, *, count: int) -> None:
        context = multiprocessing.get_context("spawn")  # a fork would copy torch's threads
        resource_tracker.ensure_running()  # its start would end the blocking
        cuts = [share.count * i // count for i in range(count + 1)]
        self.spans = [slice(begin, end) for begin, end in pairwise(cuts) if begin < end]
        self.pipes: list[Connection] = []
        self.processes: list[BaseProcess] = []
        with ExitStack() as stack:
            stack.callback(self.close)  # unless all of them answer
            for span in self.spans:
                part = Share(share.start + span.start, span.stop - span.start, share.total)
                ours, theirs = context.Pipe()
                self.pipes.append(ours)
                with theirs, blocked():  # a signal to the whole group is for the trainer
                    process = context.Process(target=_serve, args=(theirs, make, part), daemon=True)
                    process.start()
                self.processes.append(process)
            self.observation_space, self.action_space = self._ask("spaces")[0]
            stack.pop_all()

    def reset(self, seed: int) -> Array:
        """Begins all episodes anew."""
        return np.concatenate(self._ask("reset", [seed] * len(self.pipes)))

    def step(self, actions: Array) -> Step:
        """Takes one action in each environment."""
        parts = self._ask("step", [actions[span] for span in self.spans])
        columns = ([getattr(part, name) for part in parts] for name in Step.__slots__)
        return Step(*(np.concatenate(column) for column in columns))

    def state(self) -> dict[str, Any]:
        """The state of each part."""
        return {"parts": self._ask("state")}

    def restore(self, state: dict[str, Any]) -> Array:
        """Goes on where `state` was taken, by as many processes."""
        return np.concatenate(self._ask("restore", state["parts"]))

    def close(self) -> None:
        """Ends the processes, as their trainer's end does; one that does not hear it is killed."""
        for pipe in self.pipes:
            pipe.close()
        for process in self.processes:
            process.join(CLOSE_SECONDS)
            process.kill()

    def _ask(self, method: str, arguments: list[Any] | None = None) -> list[Any]:
        """Sends each process its argument, then collects the answers."""
        try:
            for pipe, argument in zip(
                self.pipes, arguments or [None] * len(self.pipes), strict=True
            ):
                pipe.send((method, argument))
            answers = [pipe.recv() for pipe in self.pipes]
        except (EOFError, ConnectionError) as error:
            raise TrainerError("an environment's process is gone") from error
        for answer in answers:
            if isinstance(answer, Failure):
                raise TrainerError(f"an environment failed:\n{answer}")
        return answers


class Failure(str):
    """The traceback of what went wrong in a process."""

    __slots__ = ()


def _serve(pipe: Connection, make: Callable[[Share], VectorEnv], share: Share) -> None:
    """Answers until the other end is closed."""
    with ExitStack() as stack, suppress(EOFError, ConnectionError):
        env: VectorEnv | None = None
        while True:
            method, argument = pipe.recv()
            try:
                env = env or stack.enter_context(opened(make(share)))
                match method:
                    case "spaces":
                        answer: Any = (env.observation_space, env.action_space)
                    case "state":
                        answer = env.state()
                    case _:
                        answer = getattr(env, method)(argument)
            except Exception:  # noqa: BLE001 told to the process that asked
                answer = Failure(traceback.format_exc())
            pipe.send(answer)
