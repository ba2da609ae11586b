"""Environments that are stepped many at a time, behind one small interface."""

from trainer.envs.base import Step, VectorEnv
from trainer.envs.make import make_env

__all__ = ["Step", "VectorEnv", "make_env"]
