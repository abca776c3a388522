"""Explanations of trained networks: what the predictions depend on, and how they change with the inputs.

Every function takes a :class:`~chainrule.neuralnet.NeuralNetwork`, a :class:`~chainrule.model.Model`, a fitted
estimator, or the result of :func:`chainrule.train`, and rows of the kind that it was trained on. Results are by column
of the table, not by input of the network. The functions in :mod:`chainrule.plots` draw them.

==============================  ====================================================================================
:func:`permutation_importance`  which columns the quality of the predictions depends on
:func:`partial_dependence`      the prediction as a function of one column
:func:`saliency`                which columns change a single prediction most, for a small change
:func:`integrated_gradients`    how much each column contributes to a single prediction
:func:`robustness`              the quality of the predictions under the worst small changes of the inputs
:func:`fgsm`, :func:`pgd`       inputs with such changes (adversarial examples)
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
