"""The layers of networks. Each class defines the forward and the backward propagation side by side."""

from __future__ import annotations

from chainrule.layers import containers, dense, dropout, embedding, ensemble, normalization, reshape, scaling
from chainrule.layers.base import Layer
from chainrule.layers.containers import *
from chainrule.layers.dense import *
from chainrule.layers.dropout import *
from chainrule.layers.embedding import *
from chainrule.layers.ensemble import *
from chainrule.layers.normalization import *
from chainrule.layers.reshape import *
from chainrule.layers.scaling import *
from chainrule.named import Registry

#: The layers by name, in a :class:`chainrule.named.Registry` with the dictionary ``classes``.
#:
#: :meta hide-value:
LAYERS: Registry[Layer] = Registry.of(
    "layer", Layer, dense, dropout, normalization, scaling, reshape, containers, embedding, ensemble
)

__all__: list[str] = []
__all__ += dense.__all__
__all__ += dropout.__all__
__all__ += normalization.__all__
__all__ += reshape.__all__
__all__ += scaling.__all__
__all__ += containers.__all__
__all__ += embedding.__all__
__all__ += ensemble.__all__
__all__ += ["LAYERS", "Layer"]
