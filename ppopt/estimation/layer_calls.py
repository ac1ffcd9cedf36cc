"""The layers of a model as it calls them: found, told apart, and called one by one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch

from solver.errors import InputError

PLAIN = (int, float, bool, str, type(None))
NUMBERS_OF_LAYERS = ("layer_idx", "layer_index", "layer_id", "layer_number", "idx")

Kind: TypeAlias = tuple[object, ...]
"""What a layer consists of."""


@dataclass(frozen=True)
class LayerCall:
    """A layer as the model calls it."""

    layer: Any
    run: Callable[..., Any]
    inputs: tuple[Any, ...]
    options: dict[str, Any]

    def on(self, hidden: Any) -> Any:
        """Run the layer on another input of the same shape."""
        if self.inputs:
            return self.run(hidden, *self.inputs[1:], **self.options)
        return self.run(**self.options | {"hidden_states": hidden})

    @property
    def hidden(self) -> Any:
        """The result of the layer before."""
        return self.inputs[0] if self.inputs else self.options["hidden_states"]


@contextmanager
def intercepted(layers: list[Any], on_call: Callable[[LayerCall], Any]) -> Iterator[None]:
    """Let something else answer where a model calls its layers."""

    def answered(layer: Any, run: Callable[..., Any]) -> Callable[..., Any]:
        return lambda *inputs, **options: on_call(LayerCall(layer, run, inputs, options))

    runs = [(layer, layer.forward) for layer in layers]
    for layer, run in runs:
        layer.forward = answered(layer, run)
    try:
        yield
    finally:
        for layer, run in runs:
            layer.forward = run


def layers_of(model: Any) -> list[Any]:
    """Find the layers: the modules of the lists that hold most of the model's parameters."""
    lists = [
        (name, module)
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.ModuleList) and len(module) and any(True for _ in module.parameters())
    ]
    outermost = [
        (name, module) for name, module in lists if not any(name.startswith(f"{other}.") for other, _ in lists)
    ]
    if not outermost:
        raise InputError("model_type: the model has no list of layers")
    longest = max(outermost, key=lambda each: sum(parameter.numel() for parameter in each[1].parameters()))
    return list(longest[1])


def kind_of(layer: Any) -> Kind:
    """Describe a layer by its modules, their plain settings and the shapes of parameters; equal ones cost the same."""
    return tuple(
        (
            name,
            type(module),
            tuple(
                sorted(
                    (key, value)
                    for key, value in vars(module).items()
                    if isinstance(value, PLAIN) and key not in NUMBERS_OF_LAYERS
                )
            ),
            tuple((key, tuple(each.shape)) for key, each in module.named_parameters(recurse=False)),
        )
        for name, module in layer.named_modules()
    )


def tensors_of(call: LayerCall) -> Iterator[Any]:
    """Yield the tensors that a layer is called with."""
    for value in (*call.inputs, *call.options.values()):
        for each in value if isinstance(value, tuple) else (value,):
            if torch.is_tensor(each):
                yield each


def hidden_of(result: Any) -> Any:
    """Return what the next layer takes of a layer's result."""
    return result[0] if isinstance(result, tuple) else result


def with_hidden(result: Any, hidden: Any) -> Any:
    """Return a layer's result with something else for the next layer."""
    return (hidden, *result[1:]) if isinstance(result, tuple) else hidden
