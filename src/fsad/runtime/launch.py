"""Starting the further processes of a run on several devices (``trainer.devices`` above 1)."""

import logging
import multiprocessing
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from io import StringIO
from multiprocessing.process import BaseProcess
from multiprocessing.queues import SimpleQueue
from typing import Any

import torch
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.pytorch.strategies import DDPStrategy
from torch import distributed
from torch.nn.parallel import DistributedDataParallel

from fsad.errors import FsadError, RunError, message_of

PATIENCE = timedelta(days=7)


class LeaderGradientDDP(DDPStrategy):
    """DDP of processes that see the same images: the first one's gradients are everybody's.

    They are equal, but the mean that DDP takes of them is not theirs to the last bit where three
    add up. Banks are buffers, and equal too: they are not sent around.
    """

    def __init__(self) -> None:
        # Ours are the processes, whatever else (Slurm, say) started this one.
        super().__init__(cluster_environment=LightningEnvironment(), broadcast_buffers=False)

    def configure_ddp(self) -> None:
        """Wrap the module, and replace the mean; Lightning's own argument works on GPUs alone."""
        super().configure_ddp()
        assert isinstance(self.model, DistributedDataParallel)
        self.model.register_comm_hook(None, first_gradient)


def first_gradient(
    _: object,
    bucket: distributed.GradBucket,  # type: ignore[name-defined]  # torch checks the annotations
) -> torch.futures.Future[torch.Tensor]:
    """Give all processes the first one's gradients."""
    sent = distributed.broadcast(bucket.buffer(), 0, async_op=True)
    assert sent is not None
    return sent.get_future().then(lambda done: done.value()[0])


@contextmanager
def spawn_workers(
    count: int, backend: str, job: Callable[[Any], Any], argument: Any
) -> Iterator[None]:
    """Have ``count - 1`` further processes do the same job as the block, and talk to them.

    Lightning finds itself in a process that others were started beside, and joins them.

    Args:
        count: All processes, this one included.
        backend: ``gloo`` on CPUs, ``nccl`` on GPUs.
        job: A function at the top of a module; the others call it with ``argument``.
        argument: Anything that another process can be given.

    Raises:
        RunError: Another process failed; what it said is in the message.
    """
    if count == 1:
        yield
        return
    threads = torch.get_num_threads()
    known = dict(os.environ)
    spawn = multiprocessing.get_context("spawn")
    said: SimpleQueue[str] = spawn.SimpleQueue()
    os.environ |= {
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(_free_port()),
        "WORLD_SIZE": str(count),
        "NODE_RANK": "0",
    }
    others = []
    try:
        for rank in range(1, count):
            os.environ["LOCAL_RANK"] = str(rank)
            arguments = (rank, count, backend, threads, job, argument, said)
            others.append(spawn.Process(target=_join, args=arguments))
            others[-1].start()
        os.environ["LOCAL_RANK"] = "0"
        _wait_for_start(others, said)
        _meet(0, count, backend, threads)
        try:
            yield
        except FsadError:
            raise  # our own
        except RuntimeError as error:
            # The others' end broke off the talk; why they ended is what a user needs to know.
            if words := _last_words(said, others):
                raise RunError(words) from error
            raise
        for other in others:
            other.join()
        if any(other.exitcode for other in others) and (words := _last_words(said, others)):
            raise RunError(words)
    finally:
        for other in others:
            other.kill()
        if distributed.is_initialized():
            distributed.destroy_process_group()
        torch.set_num_threads(threads)
        os.environ.clear()
        os.environ.update(known)


def _wait_for_start(others: Sequence[BaseProcess], said: "SimpleQueue[str]") -> None:
    """Wait until all others run; meeting one that does not would take half an hour."""
    for _ in others:
        while said.empty():
            if gone := [other for other in others if not other.is_alive()]:
                raise RunError(
                    f"trainer.devices: expected {len(others)} further processes to start, got "
                    f"{len(others) - len(gone)}. Try trainer.devices=1 to see what is wrong."
                )
            time.sleep(0.01)
        said.get()


def _last_words(said: "SimpleQueue[str]", others: Sequence[BaseProcess]) -> str:
    """Return why another process ended, if that shows within a second.

    A killed one says nothing, and what others say of its silence is no reason.
    """
    words = ""
    for _ in range(100):
        for rank, other in enumerate(others, 1):
            if other.exitcode is not None and other.exitcode < 0:
                return (
                    f"trainer.devices: expected process {rank} of 0 to {len(others)} to go on, got "
                    f"it killed by {signal.Signals(-other.exitcode).name}. The system kills where "
                    "memory runs out: take fewer processes. Go on with resume=RUN_DIR."
                )
        if not words and not said.empty():
            words = f"another process: {said.get()}"
        elif words:
            time.sleep(0.1)  # it may speak of one that was killed
            if all(other.exitcode is None or other.exitcode >= 0 for other in others):
                return words
        time.sleep(0.01)
    return words


def threads_of_each(count: int, threads: int | None = None) -> int:
    """Return how many threads each of several processes gets; by default of this one's."""
    return max(1, (threads or torch.get_num_threads()) // count)


def _meet(rank: int, count: int, backend: str, threads: int) -> None:
    torch.set_num_threads(threads_of_each(count, threads))
    if backend == "nccl":
        torch.cuda.set_device(rank)
    # One may wait long for what the first alone does: choosing a coreset, or for another job.
    distributed.init_process_group(backend, rank=rank, world_size=count, timeout=PATIENCE)


def _join(
    rank: int,
    count: int,
    backend: str,
    threads: int,
    job: Callable[[Any], Any],
    argument: Any,
    said: "SimpleQueue[str]",
) -> None:
    """Do the job as one of the further processes: in silence, for the first one speaks."""
    logging.disable(logging.CRITICAL)
    sys.stdout = sys.stderr = StringIO()
    said.put("running")
    try:
        _meet(rank, count, backend, threads)
        job(argument)
    except BaseException as error:
        said.put(message_of(error))
        os._exit(1)  # at once, so that the others notice


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])
