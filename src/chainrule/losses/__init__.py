"""Loss functions: how wrong the predictions are, as one number, and its derivative.

A loss is the mean over all elements, as PyTorch has it (cross-entropy over classes: the mean over rows). With sample
weights it is the weighted mean over the rows, ``sum w_i l_i / sum w_i``: a row of weight 0 counts as if it were not
there, and a row of weight 2 as if it were there twice. Targets and predictions have the same shape, (rows, outputs),
unless a loss says otherwise (:meth:`LossFunction.n_outputs`).

In the equations ``y`` is a target, ``p`` a prediction, ``d = p - y``, and ``z`` a logit, the number before the last
activation. ``l`` is the loss of one element and ``l'`` its derivative by ``p`` (or ``z``).

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

LOSSES: Registry[LossFunction] = Registry.of("loss", LossFunction, regression, classification)

__all__ = ["LOSSES", "CustomLoss", "ElementwiseLoss", "LossFunction", "RowLoss", "row_weights_of"]
__all__ += classification.__all__
__all__ += regression.__all__
