"""A command within a program that goes on: a notebook, a script. Nothing of it stays behind."""

from __future__ import annotations

import logging
import os
import random
import signal
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

import numpy as np
import torch
from omegaconf import DictConfig

from captionlab.cli.hydra_main import num_processes
from captionlab.cli.logs import FILE_ONLY, LIBRARIES, LIGHTNING
from captionlab.config.explain import explain
from captionlab.core.errors import UserError

SIGNALS = ("SIGINT", "SIGTERM", "SIGUSR1", "SIGUSR2", "SIGCONT")


@contextmanager
def in_process(overrides: Sequence[str]) -> Iterator[None]:
    """Run a command as a function: a mistake is a UserError, Ctrl-C a KeyboardInterrupt.

    Loggers, warnings, signals, the environment, random numbers and torch's switches are afterwards
    what they were.

    Raises:
        UserError: for what the command line would explain in one sentence.
        KeyboardInterrupt: where a signal ended the command.
    """
    with ExitStack() as stack:
        stack.enter_context(_same_environment())
        stack.enter_context(_same_signals())
        stack.enter_context(_same_loggers())
        stack.enter_context(warnings.catch_warnings())
        stack.enter_context(_same_switches())
        stack.enter_context(_same_random_numbers())
        try:
            yield
        except SystemExit as end:  # what Lightning makes of a signal
            raise KeyboardInterrupt(f"interrupted, with status {end.code}") from end
        except Exception as error:
            sentence = explain(error, overrides)
            if isinstance(error, UserError) or sentence is None:
                raise
            raise UserError(sentence) from error


def use_one_process(config: DictConfig, overrides: Sequence[str], command: str) -> None:
    """Let a trainer use one device where nobody chose; refuse several processes.

    Lightning starts its other processes by running the program again, which a notebook has not and
    which another program is not made for.

    Args:
        config: a composed one. overrides: what was typed. command: of the shell, which can.

    Raises:
        UserError: if several processes were asked for, with the command line to use instead.
    """
    trainer = config.trainer
    count = num_processes(trainer.devices, str(trainer.accelerator)) * trainer.num_nodes
    if count <= 1:
        return
    if not any(one.lstrip("+").startswith(("trainer=", "trainer.")) for one in overrides):
        trainer.devices = 1
        return
    raise UserError(
        f"trainer.devices={trainer.devices} with trainer.num_nodes={trainer.num_nodes} asks for "
        f"{count} processes, and a function of Python has one: say trainer.devices=1, or in a "
        f"terminal: {command}"
    )


@contextmanager
def _same_environment() -> Iterator[None]:
    before = dict(os.environ)
    try:
        yield
    finally:
        for name in set(os.environ) - set(before):
            del os.environ[name]
        os.environ.update({k: v for k, v in before.items() if os.environ.get(k) != v})


@contextmanager
def _same_signals() -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield  # which cannot set them either
        return
    numbers = [getattr(signal, name) for name in SIGNALS if hasattr(signal, name)]
    before = {number: signal.getsignal(number) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            if handler is not None and signal.getsignal(number) != handler:
                signal.signal(number, handler)


@contextmanager
def _same_loggers() -> Iterator[None]:
    loggers = [logging.getLogger(name) for name in ("captionlab", FILE_ONLY, LIBRARIES, *LIGHTNING)]
    before = [(one, one.level, one.propagate, list(one.handlers)) for one in loggers]
    try:
        yield
    finally:
        for one, level, propagate, handlers in before:
            for handler in one.handlers:
                if handler not in handlers:
                    handler.close()
            one.setLevel(level)
            one.propagate, one.handlers = propagate, handlers


@contextmanager
def _same_random_numbers() -> Iterator[None]:
    of_python, of_numpy = random.getstate(), np.random.get_state()
    # a device that is not in use yet has no state that anybody relies on
    used = torch.cuda.is_available() and torch.cuda.is_initialized()
    try:
        with torch.random.fork_rng(range(torch.cuda.device_count()) if used else []):
            yield
    finally:
        random.setstate(of_python)
        np.random.set_state(of_numpy)


@contextmanager
def _same_switches() -> Iterator[None]:
    deterministic = torch.are_deterministic_algorithms_enabled()
    benchmark = torch.backends.cudnn.benchmark
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(deterministic)
        torch.backends.cudnn.benchmark = benchmark
