"""Everything that knows about several processes. One process is world size 1 of the same code.

Gradients are averaged by hand in one flat all-reduce rather than through a wrapper module, because the
policy and the memory are updated in turn. Every rank draws the random numbers of all environments from the
same seed and takes its own slice, so results depend on the total number of environments only, not on how
they are spread.
"""

from __future__ import annotations

import os
import socket
import sys
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Callable, Iterable, Iterator, NoReturn, Optional, Sequence, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from audio_separation.errors import UserError

T = TypeVar("T")

_REPORTED = (
    "audio_separation/reported"  # key in the store that all ranks share; torchrun's restarts get a new one
)


@dataclass(frozen=True)
class World:
    """This process among the others."""

    rank: int
    size: int
    local_rank: int
    local_size: int
    device: torch.device

    @property
    def is_main(self) -> bool:
        """True on the one process that writes files and progress lines."""
        return self.rank == 0

    def slice(self, count: int) -> slice:
        """The part of ``count`` global items (divisible by the world size) that belongs to this rank."""
        if count % self.size:
            raise ValueError(f"{count} items cannot be spread evenly over {self.size} processes")
        per_rank = count // self.size
        return slice(self.rank * per_rank, (self.rank + 1) * per_rank)


def _pick_device(wanted: str, local_rank: int) -> torch.device:
    if wanted not in ("auto", "cpu", "cuda"):
        raise UserError(f"DEVICE is {wanted!r}; expected auto, cpu or cuda")
    if wanted == "cuda" and not torch.cuda.is_available():
        raise UserError(
            "DEVICE is cuda but torch sees no GPU; use DEVICE auto or cpu, or a CUDA build of torch"
        )
    if wanted != "cpu" and torch.cuda.is_available():
        return torch.device("cuda", local_rank % torch.cuda.device_count())
    return torch.device("cpu")


def init_world(device: str = "auto", threads: int = 0) -> World:
    """Join the process group that ``torchrun`` describes; without one, be a world of one.

    Args:
        device: auto, cpu or cuda.
        threads: torch threads of this process; 0 divides the cores among the local processes.
    """
    size = int(os.environ.get("WORLD_SIZE", 1))
    rank = int(os.environ.get("RANK", 0))
    local_rank = int(os.environ.get("LOCAL_RANK", 0))
    local_size = int(os.environ.get("LOCAL_WORLD_SIZE", 1))
    chosen = _pick_device(device, local_rank)
    if chosen.type == "cuda":
        torch.cuda.set_device(chosen)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    torch.set_num_threads(threads or max(1, cores // local_size))
    if size > 1 and not dist.is_initialized():
        # NCCL for tensors on GPUs; objects and tensors in main memory go through Gloo, which NCCL cannot send
        backend = "cpu:gloo,cuda:nccl" if chosen.type == "cuda" else "gloo"
        # data loading on rank 0 alone must not outlast the others' patience
        dist.init_process_group(backend, timeout=timedelta(minutes=30))
        if chosen.type == "cuda":
            names: list[str] = [""] * size
            uuid = getattr(torch.cuda.get_device_properties(chosen), "uuid", f"rank {rank}")
            dist.all_gather_object(names, f"{socket.gethostname()}, {uuid}")
            check_own_gpus(names)
    return World(rank, size, local_rank, local_size, chosen)


def check_own_gpus(names: Sequence[str]) -> None:
    """Check that no two ranks have the same GPU, which NCCL refuses with a message that few understand.

    Args:
        names: host and identity of each rank's GPU, in rank order.

    Raises:
        UserError: naming the ranks.
    """
    for rank, name in enumerate(names):
        first = names.index(name)
        if first != rank:
            raise UserError(
                f"ranks {first} and {rank} would share one GPU ({name}); give --nproc_per_node the number of GPUs "
                "of a node at most, or set DEVICE cpu"
            )


def close_world() -> None:
    """Leave the process group, if there is one."""
    if dist.is_initialized():
        dist.destroy_process_group()


def leave(status: int) -> NoReturn:
    """End the process with ``status``; one of several, started by torchrun, without the interpreter's clean-up.

    With Gloo, a finished process was seen to abort in that clean-up now and then, and torchrun would call the
    run failed.
    """
    if "WORLD_SIZE" not in os.environ:
        sys.exit(status)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def from_main(read: Callable[[], T]) -> T:
    """What ``read`` returns on rank 0, on every rank; a UserError of it is raised on all ranks.

    Files of the model dir are read this way, so it need not be seen by other nodes than the first.

    Args:
        read: called on rank 0 alone; returns something picklable, its tensors in main memory.

    Raises:
        UserError: what ``read`` raised.
    """
    outcome: list[Any] = [None, None]
    if not dist.is_initialized() or dist.get_rank() == 0:
        try:
            outcome = [None, read()]
        except UserError as error:
            outcome = [str(error), None]
    if dist.is_initialized():
        dist.broadcast_object_list(outcome, 0)
    message, found = outcome
    if message is not None:
        raise UserError(message)
    return found


def on_main(action: Callable[[], object]) -> None:
    """Do ``action`` on rank 0 while the others wait; a UserError of it is raised on all ranks.

    Raises:
        UserError: what ``action`` raised.
    """

    def act() -> None:
        action()

    from_main(act)


def _reports(more: int) -> int:
    """Add ``more`` to the number of ranks that have met a user's mistake, and return it."""
    if dist.is_initialized():
        with suppress(RuntimeError):  # the store went with the node that held it
            return dist.distributed_c10d._get_default_store().add(_REPORTED, more)
    return more


def _lost_a_rank(error: RuntimeError) -> bool:
    """Whether a collective failed because another process is gone, rather than by a fault of this one."""
    return dist.is_initialized() and (isinstance(error, dist.DistError) or "gloo" in str(error).lower())


@contextmanager
def join_world(device: str = "auto", threads: int = 0) -> Iterator[World]:
    """:func:`init_world`, left at the end; a mistake is told once, a lost process in a sentence.

    The first rank that meets a UserError raises it; the others, and those that lose their connection to it,
    leave quietly with status 2. A rank that loses another one for any other reason leaves with status 1.
    """
    try:
        world = init_world(device, threads)
        yield world
    except UserError:
        if _reports(1) > 1:
            raise SystemExit(2) from None
        raise
    except RuntimeError as error:  # what a collective raises when another rank is gone
        if _reports(0) > 0:
            raise SystemExit(2) from None
        if not _lost_a_rank(error):
            raise
        print(
            f"error: rank {dist.get_rank()} lost the connection to another process, which was killed or failed; "
            "torchrun --max_restarts starts all again from the last saved state, else run the same command again",
            file=sys.stderr,
        )
        raise SystemExit(1) from None
    # after an error the group is left as it is: taking it down may wait for ranks that are gone
    close_world()


def broadcast(module: nn.Module) -> None:
    """Give every rank the parameters and buffers of rank 0."""
    if dist.is_initialized():
        for tensor in [*module.parameters(), *module.buffers()]:
            dist.broadcast(tensor.data, 0)


def average_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Replace each gradient by its mean over the ranks, in one all-reduce."""
    if not dist.is_initialized():
        return
    gradients = [p.grad for p in parameters if p.grad is not None]
    flat = torch.cat([g.reshape(-1) for g in gradients])
    dist.all_reduce(flat)
    flat /= dist.get_world_size()
    offset = 0
    for gradient in gradients:
        gradient.copy_(flat[offset : offset + gradient.numel()].view_as(gradient))
        offset += gradient.numel()


def total(tensor: Tensor) -> Tensor:
    """Sum of ``tensor`` over the ranks (a new tensor)."""
    summed = tensor.clone()
    if dist.is_initialized():
        dist.all_reduce(summed)
    return summed


def mean_metrics(metrics: dict[str, float], device: torch.device) -> dict[str, float]:
    """Mean of each metric over the ranks; all ranks pass the same keys."""
    if not dist.is_initialized():
        return metrics
    values = torch.tensor([metrics[k] for k in metrics], dtype=torch.float64, device=device)
    dist.all_reduce(values)
    return dict(zip(metrics, (values / dist.get_world_size()).tolist()))


def standardise(values: Tensor) -> Tensor:
    """``values`` with mean 0 and deviation 1 over all ranks."""
    count = total(torch.tensor(float(values.numel()), device=values.device))
    mean = total(values.sum()) / count
    variance = total((values - mean).square().sum()) / count
    return (values - mean) / (variance.sqrt() + 1e-5)


def gather_envs(values: Tensor) -> Tensor:
    """Join ``[T, E]`` of all ranks to ``[T, E of all ranks]``, in rank order, on every rank."""
    if not dist.is_initialized():
        return values
    parts = [torch.empty_like(values) for _ in range(dist.get_world_size())]
    dist.all_gather(parts, values.contiguous())
    return torch.cat(parts, 1)


def any_rank(flag: bool, device: torch.device) -> bool:
    """True on all ranks if it is true on one."""
    return bool(total(torch.tensor([float(flag)], device=device)) > 0)


def gather(item: Any) -> Optional[list[Any]]:
    """Collect a picklable item of every rank on rank 0, in rank order; None elsewhere."""
    if not dist.is_initialized():
        return [item]
    items: Optional[list[Any]] = [None] * dist.get_world_size() if dist.get_rank() == 0 else None
    dist.gather_object(item, items)
    return items


class _NormaliseOverRanks(torch.autograd.Function):
    """Batch normalisation ``[B, c, H, W]`` with the statistics of all ranks: one collective each way."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, eps: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        variance, mean = torch.var_mean(x, (0, 2, 3), correction=0)
        # the statistics of equal parts joined without the cancellation of E[x^2] - E[x]^2
        parts = torch.stack([mean, variance])
        gathered = [torch.empty_like(parts) for _ in range(dist.get_world_size())]
        dist.all_gather(gathered, parts)
        every = torch.stack(gathered)  # [ranks, 2, c]
        mean = every[:, 0].mean(0)
        variance = (every[:, 1] + (every[:, 0] - mean).square()).mean(0)
        ctx.save_for_backward(x, weight, mean, (variance + eps).rsqrt())
        ctx.mark_non_differentiable(mean, variance)
        return nn.functional.batch_norm(x, mean, variance, weight, bias, eps=eps), mean, variance

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        x, weight, mean, inverse = ctx.saved_tensors
        outer = gradients[0]
        normal = (x - mean[:, None, None]) * inverse[:, None, None]
        sums = torch.stack([outer.sum((0, 2, 3)), (outer * normal).sum((0, 2, 3))])
        count = x.numel() // x.shape[1] * dist.get_world_size()
        means = (total(sums) / count)[:, :, None, None]
        inner = (outer - means[0] - normal * means[1]) * (weight * inverse)[:, None, None]
        return inner, sums[1], sums[0], None


class SyncBatchNorm2d(nn.BatchNorm2d):
    """Batch normalisation over the samples of all ranks, of which each has equally many.

    ``torch.nn.SyncBatchNorm`` does this on GPUs only; training on two CPU processes must equal training on
    one. Same parameters, buffers and names as :class:`torch.nn.BatchNorm2d`.
    """

    def forward(self, x: Tensor) -> Tensor:
        if not (self.training and dist.is_initialized()):
            return super().forward(x)
        normal, mean, variance = _NormaliseOverRanks.apply(x, self.weight, self.bias, self.eps)
        count = x.numel() // x.shape[1] * dist.get_world_size()
        with torch.no_grad():
            momentum = 0.1 if self.momentum is None else self.momentum
            if self.running_mean is not None and self.running_var is not None:
                self.running_mean.lerp_(mean, momentum)
                self.running_var.lerp_(variance * count / max(count - 1, 1), momentum)
            if self.num_batches_tracked is not None:
                self.num_batches_tracked += 1
        return normal


def synchronise_batchnorm(module: nn.Module) -> None:
    """Turn every BatchNorm2d below ``module`` into one over all ranks, in place; a world of one stays as it is."""
    if dist.is_initialized():
        for child in module.modules():
            if type(child) is nn.BatchNorm2d:
                child.__class__ = SyncBatchNorm2d


def uneven(what: str, world: World) -> UserError:
    """The error for a number that the processes cannot share evenly."""
    return UserError(
        f"{what} must be divisible by the {world.size} processes; change them or --nproc_per_node"
    )
