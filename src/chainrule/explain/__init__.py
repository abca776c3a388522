"""Explanations of trained networks: what the predictions depend on, and how they change with the inputs.

Every function takes a :class:`~chainrule.neuralnet.NeuralNetwork`, a :class:`~chainrule.model.Model`, a fitted
estimator, or the result of :func:`chainrule.train`, and rows with the columns of its training data. Results are given
per column of the table, not per input of the network. The functions in :mod:`chainrule.plots` draw them.

==============================  ====================================================================================
:func:`permutation_importance`  which columns the quality of the predictions depends on
:func:`partial_dependence`      the prediction as a function of one column
:func:`saliency`                how fast a single prediction changes with small changes of each column
:func:`integrated_gradients`    how much each column contributes to a single prediction
:func:`robustness`              the quality of the predictions for adversarial examples, by the size of the changes
:func:`fgsm`, :func:`pgd`       adversarial examples: inputs with small changes that increase the loss most
:func:`explain_model`           all of these, for the report of a run
==============================  ====================================================================================
"""

from __future__ import annotations

from chainrule.explain.attacks import Norm, Robustness, fgsm, pgd, robustness
from chainrule.explain.attribution import IntegratedGradients, Saliency, integrated_gradients, saliency
from chainrule.explain.collection import Explanations, explain_model
from chainrule.explain.dependence import PartialDependence, partial_dependence
from chainrule.explain.importance import PermutationImportance, permutation_importance

__all__ = [
    "Explanations",
    "IntegratedGradients",
    "Norm",
    "PartialDependence",
    "PermutationImportance",
    "Robustness",
    "Saliency",
    "explain_model",
    "fgsm",
    "integrated_gradients",
    "partial_dependence",
    "permutation_importance",
    "pgd",
    "robustness",
    "saliency",
]
