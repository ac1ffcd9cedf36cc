"""Operations that keep for their backward what one kernel keeps, and what a graph of operations keeps altogether."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import Any

import torch


class Fused(torch.autograd.Function):  # type: ignore[misc]  # torch's types are not looked into
    """An operation of one kernel, whose backward is never computed: only shapes matter."""

    @staticmethod
    def forward(ctx: Any, kernel: Kernel, inputs: int, *tensors: Any) -> Any:
        """Run the kernel on the first tensors; the others are its parameters."""
        result = kernel.run(*tensors[:inputs])
        ctx.save_for_backward(*kernel.keeps(tensors[:inputs], result))
        ctx.kernel, ctx.tensors = kernel, tensors
        return result

    @staticmethod
    def backward(ctx: Any, *_: Any) -> Any:
        """Return gradients of the right shapes."""
        ctx.kernel.on_backward()
        wanted = zip(ctx.tensors, ctx.needs_input_grad[2:], strict=True)
        return None, None, *(torch.empty_like(tensor) if is_wanted else None for tensor, is_wanted in wanted)


@dataclass(frozen=True)
class Kernel:
    """An operation of one kernel.

    Attributes
    ----------
    run : callable
        Makes the result.
    keeps : callable
        ``keeps(inputs, result)`` returns what the backward needs.
    on_backward : callable
        Is called when the backward runs.
    """

    run: Callable[..., Any]
    keeps: Callable[[tuple[Any, ...], Any], list[Any]]
    on_backward: Callable[[], None] = lambda: None

    def __call__(self, *inputs: Any, parameters: Collection[Any] = ()) -> Any:
        """Run it as a part of torch's graph."""
        return Fused.apply(self, len(inputs), *inputs, *parameters)


def storage_of(tensor: Any) -> int:
    """Identify the memory of a tensor, which views share."""
    number = tensor.untyped_storage()._cdata
    assert isinstance(number, int)
    return number


@dataclass(frozen=True)
class Kept:
    """The memory that a graph keeps: bytes by storage.

    Attributes
    ----------
    sizes : dict
        Bytes of each storage, and nothing twice.
    for_weight : frozenset
        The storages that are inputs of products with parameters.
    parameters : tuple
        The parameters that the graph leads to.
    """

    sizes: dict[int, int]
    for_weight: frozenset[int]
    parameters: tuple[Any, ...]

    @property
    def total(self) -> int:
        """All bytes."""
        return sum(self.sizes.values())

    def of(self, storages: Collection[int]) -> int:
        """Add up the bytes of some storages."""
        return sum(size for storage, size in self.sizes.items() if storage in storages)


def kept_by(
    results: Collection[Any], given: Collection[int], recomputable: Collection[int] = (), widening: int = 1
) -> Kept:
    """Read off torch's graph what it keeps for the backward.

    Parameters
    ----------
    results : collection of tensors
        The ends of the graph.
    given : collection of int
        Storages that do not count: parameters, buffers, and what all layers share.
    recomputable : collection of int
        Results of activation functions: where only an elementwise product needs them, its kernel recomputes them.
    widening : int
        How many times as large 16-bit numbers count.
    """
    sizes: dict[int, int] = {}
    for_weight: set[int] = set()
    parameters: dict[int, Any] = {}
    for node in _nodes(results):
        if hasattr(node, "variable"):
            if isinstance(node.variable, torch.nn.Parameter):
                parameters.setdefault(id(node.variable), node.variable)
            continue
        is_elementwise = node.name().startswith("MulBackward")
        meets_parameter = not _is_fused(node) and any(_leads_to_parameter(each) for each, _ in node.next_functions)
        for tensor in _saved_by(node):
            storage = storage_of(tensor)
            if storage in given or (is_elementwise and storage in recomputable):
                continue
            sizes[storage] = tensor.untyped_storage().nbytes() * (widening if tensor.dtype == torch.bfloat16 else 1)
            if meets_parameter:
                for_weight.add(storage)
    return Kept(sizes, frozenset(for_weight), tuple(parameters.values()))


def _nodes(results: Collection[Any]) -> Iterator[Any]:
    seen = set()
    left = [result.grad_fn for result in results]
    while left:
        node = left.pop()
        if node is not None and node not in seen:
            seen.add(node)
            yield node
            left.extend(each for each, _ in node.next_functions)


def _is_fused(node: Any) -> bool:
    return hasattr(node, "saved_tensors")


def _saved_by(node: Any) -> Iterator[Any]:
    if _is_fused(node):
        yield from (each for each in node.saved_tensors if each is not None)
        return
    for name in dir(node):
        if name.startswith("_saved_"):
            value = getattr(node, name)
            yield from (each for each in (value if isinstance(value, tuple) else (value,)) if torch.is_tensor(each))


def _leads_to_parameter(node: Any) -> bool:
    """Return whether an input of a product is a parameter, or a view of one."""
    while node is not None and not hasattr(node, "variable"):
        if len(node.next_functions) != 1 or _is_fused(node) or any(True for _ in _saved_by(node)):
            return False
        node = node.next_functions[0][0]
    return node is not None and isinstance(node.variable, torch.nn.Parameter)
