"""Every form a network can have, torch module, Solution or list of arrays, read as plain arrays."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from dualkit._validate import Array, NotCovered
from dualkit.batchnorm import BatchNormNetwork
from dualkit.networks import Network

if TYPE_CHECKING:
    from torch import Tensor, nn


def as_network(network: object, activation: str = "linear") -> Network | BatchNormNetwork:
    """Read a torch module, a Solution or a list of weight arrays as a Network (or a BatchNormNetwork).

    A sequence of arrays is one chain W_1, ..., W_L with the given activation, "linear" or "relu"; everything else
    carries its own. For modules see `to_arrays`. NotCovered for anything else.

    >>> as_network([[[1.0], [2.0]], [[3.0]]], "relu").predict([[1.0, 1.0]]).tolist()
    [[9.0]]
    """
    inner = getattr(network, "network", network)  # that of a Solution; a module may have another of this name
    if isinstance(inner, (Network, BatchNormNetwork)):
        return inner
    if hasattr(network, "state_dict"):
        return to_arrays(network)
    if isinstance(network, Sequence) and len(network) and not isinstance(network, str):
        return Network((tuple(network),), activation)
    raise NotCovered(f"network must be a torch module, a Solution, a Network or a list of weight arrays, "
                     f"found {type(network).__name__}")


def from_arrays(network: Network | BatchNormNetwork) -> nn.Module:
    """Return a network as a torch module in float64, by its method ``to_torch``; inverse of `to_arrays`."""
    return network.to_torch()


def to_arrays(module: nn.Module) -> Network | BatchNormNetwork:
    """Return a torch module as a Network or a BatchNormNetwork, with copies of its weights.

    The module is an ``nn.Sequential`` (nested or not) of nn.Linear modules, with nn.ReLU after all but the last or
    after none, or what the functions of `dualkit.modules` return. For anything else NotCovered names the module
    and the reason. Batch norm must have eps = 0, as eps > 0 moves the optimum, and no biases around it.
    """
    from dualkit.modules import BatchNorm, Parallel

    if type(module) is not Parallel:
        layers = list(_layers(module))
        return (_batchnorm if any(type(layer) is BatchNorm for _, layer in layers) else _chain)(layers)
    chains, biases = [], []
    for group in module.groups:
        chains += zip(*(_array(W) for W in group.weights), strict=True)
        biases += [] if group.bias is None else list(_array(group.bias))
    activation = "relu" if module.groups[0].relu else "linear"
    constant = None if module.constant is None else _array(module.constant)
    return Network(tuple(chains), activation, tuple(biases) or None, constant)


def _layers(module: nn.Module, name: str = "") -> Iterator[tuple[str, nn.Module]]:
    from torch import nn

    from dualkit.modules import BatchNorm

    # Exact types: a subclass may compute something else.
    if type(module) is nn.Sequential:
        for child, layer in module.named_children():
            yield from _layers(layer, f"{name}.{child}" if name else child)
    elif type(module) in (nn.Linear, nn.ReLU, BatchNorm):
        yield name, module
    else:
        raise NotCovered(f"module '{name}' is a {type(module).__name__}; a Network consists of nn.Linear and "
                         f"nn.ReLU in an nn.Sequential, or is what dualkit.modules returns")


def _chain(layers: list[tuple[str, nn.Module]]) -> Network:
    order = "".join(type(layer).__name__[0] for _, layer in layers)
    linears = [(name, layer) for name, layer in layers if type(layer).__name__ == "Linear"]
    depth = len(linears)
    if depth < 2 or order not in ("L" * depth, "LR" * (depth - 1) + "L"):
        raise NotCovered(f"module must hold two or more nn.Linear, with nn.ReLU after all but the last or "
                         f"after none; found {_names(layers)}")
    for k, (name, layer) in enumerate(linears[:-2], start=1):
        if layer.bias is not None and layer.bias.any():
            raise NotCovered(f"module '{name}' has a bias in hidden layer {k} of {depth - 1}; only the last "
                             f"hidden layer and the output may have one, so pass bias=False")
    hidden, constant = (None if layer.bias is None else _array(layer.bias) for _, layer in linears[-2:])
    return Network((tuple(_array(layer.weight.T) for _, layer in linears),),
                   "relu" if "R" in order else "linear", None if hidden is None else (hidden,), constant)


def _batchnorm(layers: list[tuple[str, nn.Module]]) -> BatchNormNetwork:
    *below, norm, _, last = (layer for _, layer in layers)
    if "".join(type(layer).__name__[0] for _, layer in layers) != "LR" * (len(below) // 2) + "LBRL":
        raise NotCovered(f"module with batch norm must be Linear, ReLU, ..., Linear, BatchNorm, ReLU, Linear, "
                         f"found {_names(layers)}")
    if norm.eps > 0:
        raise NotCovered(f"eps of the batch norm must be 0, found {norm.eps}: with eps > 0 the optimum moves")
    if any(layer.bias is not None for layer in (*below[::2], last)):
        raise NotCovered("linear layers around a batch norm must have no bias, found one; pass bias=False")
    return BatchNormNetwork(tuple(_array(layer.weight.T) for layer in below[::2]),
                            *map(_array, norm.parameters()), _array(last.weight.T))


def _names(layers: list[tuple[str, nn.Module]]) -> str:
    return ", ".join(f"'{name}' {type(layer).__name__}" for name, layer in layers) or "no layers"


def _array(tensor: Tensor) -> Array:
    return tensor.detach().cpu().double().numpy().copy()
