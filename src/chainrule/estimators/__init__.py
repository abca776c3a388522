"""Networks as scikit-learn estimators: ``MLPClassifier`` and ``MLPRegressor``.

They have the parameters, defaults and fitted attributes of scikit-learn's classes of the same names, so that code is
ported by changing the import, and more of both. ``network_`` is the network inside.
"""

from __future__ import annotations

from chainrule.estimators.classifier import MLPClassifier
from chainrule.estimators.regressor import MLPRegressor

__all__ = ["MLPClassifier", "MLPRegressor"]
