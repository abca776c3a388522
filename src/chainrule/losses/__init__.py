"""Loss functions: one number that measures the error of the predictions, and its derivative.

A loss is the mean over all elements, as in PyTorch, or the mean over all rows, as for the cross-entropy of several
classes. With sample weights it is the weighted mean over the rows, ``sum w_i l_i / sum w_i``: a row of weight 0 has no
effect, and a row of weight 2 has the effect of two equal rows. Targets and predictions have the same shape, (rows,
outputs), unless the loss needs several outputs for each target (:meth:`LossFunction.n_outputs`).

In the equations ``y`` is a target, ``p`` a prediction, ``d = p - y``, and ``z`` a logit, the input of the last
activation. ``l`` is the loss of one element (or one row) and ``l'`` its derivative with respect to ``p`` (or ``z``).

A user's own loss is a class with the formulas of one element (:class:`ElementwiseLoss`) or of one row
(:class:`RowLoss`), a pair of functions (:class:`CustomLoss`), or a class with :meth:`LossFunction.loss` and
:meth:`LossFunction.derivative`.
"""

from __future__ import annotations

from chainrule.losses import classification, regression
from chainrule.losses.base import ElementwiseLoss, LossFunction, RowLoss, row_weights_of
from chainrule.losses.classification import *
from chainrule.losses.custom import CustomLoss
from chainrule.losses.regression import *
from chainrule.named import Registry

#: The losses by name, in a :class:`chainrule.named.Registry` with the dictionary ``classes``.
#:
#: :meta hide-value:
LOSSES: Registry[LossFunction] = Registry.of("loss", LossFunction, regression, classification)

__all__: list[str] = []
__all__ += regression.__all__
__all__ += classification.__all__
__all__ += ["LOSSES", "CustomLoss", "ElementwiseLoss", "LossFunction", "RowLoss", "row_weights_of"]
