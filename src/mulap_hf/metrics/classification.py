"""Accuracy and macro F1 of single-label classification, as an `evaluate` module."""

import datasets
import evaluate

from .info import metric_info
from .scores import report_lists

_DESCRIPTION = """\
Accuracy and macro F1 (the mean of the F1 scores of the classes) of single-label classification. Classes that occur
neither in the references nor in the predictions are excluded from the mean.
"""
_CITATION = """\
@article{opitz2019macro,
    title = {Macro {F1} and macro {F1}},
    author = {Opitz, Juri and Burst, Sebastian},
    journal = {arXiv preprint arXiv:1911.03347},
    year = {2019}
}
"""


class Classification(evaluate.Metric):
    """Accuracy and macro F1 of single-label classification, with bootstrap intervals over tracks.

    The arguments of `compute`:

    Args:
        predictions: Scores of any scale, `(tracks, classes)`; the prediction is the class with the highest score.
        references: Indices of the true classes, `(tracks,)`.
        names: Names of the classes, the keys of `per_output`; their indices by default.
        resamples: Number of bootstrap resamples of tracks; 0 for no intervals.
        seed: Seed of the resamples.

    Returns:
        A dictionary: `accuracy` and `macro_f1`; `intervals`, the 95 % bootstrap interval `[low, high]` by name of the
        metric (uncertainty from the choice of test tracks, for a fixed model); `per_output`, the metrics by name of
        the class.

    Raises:
        ValueError: Shapes do not match, scores are NaN, or references are not indices of classes.

    Examples:
        >>> from mulap_hf.metrics.classification import Classification
        >>> scores = Classification().compute(
        ...     predictions=[[0.9, 0.1], [0.6, 0.4], [0.2, 0.8], [0.7, 0.3]],
        ...     references=[0, 0, 1, 1],
        ...     names=["jazz", "rock"],
        ... )
        >>> scores["accuracy"], scores["per_output"]["jazz"]["f1"]
        (0.75, 0.8)
    """

    def _info(self):
        references = datasets.Value("float64")  # an integer type would silently cast 0.5 to 0
        return metric_info(self, _DESCRIPTION, _CITATION, references, "https://arxiv.org/abs/1911.03347")

    def _compute(self, predictions, references, names=None, resamples=1000, seed=0):
        return report_lists("single_label", references, predictions, names, resamples, seed)
