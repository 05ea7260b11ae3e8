"""R2 and Pearson correlation of regression, as an `evaluate` module."""

import datasets
import evaluate

from .info import metric_info
from .scores import report_lists

_DESCRIPTION = """\
Coefficient of determination (R2) and Pearson correlation, per dimension and averaged over the dimensions. R2 is 1 for
perfect predictions, 0 for predicting the mean of the references, and negative for anything worse. The correlation is
invariant to the offset and scale of the predictions. Dimensions with constant references are excluded from the
averages and listed in the result.
"""
_CITATION = """\
@book{efron1993introduction,
    title = {An introduction to the bootstrap},
    author = {Efron, Bradley and Tibshirani, Robert J.},
    publisher = {Chapman \\& Hall},
    year = {1993}
}
"""


class Regression(evaluate.Metric):
    """R2 and Pearson correlation of regression, with bootstrap intervals over tracks.

    The arguments of `compute`:

    Args:
        predictions: Predicted values, `(tracks, dimensions)`.
        references: True values, `(tracks, dimensions)`.
        names: Names of the dimensions, the keys of `per_output`; their indices by default.
        resamples: Number of bootstrap resamples of tracks; 0 for no intervals.
        seed: Seed of the resamples.

    Returns:
        A dictionary: `r2` and `pearson`, averaged over the dimensions; `intervals`, the 95 % bootstrap interval
        `[low, high]` by name of the metric (uncertainty from the choice of test tracks, for a fixed model);
        `per_output`, the metrics by name of the dimension; `constant`, the dimensions that are excluded from the
        averages because their references are constant.

    Raises:
        ValueError: Shapes do not match, or values are NaN or infinite.

    Examples:
        >>> from mulap_hf.metrics.regression import Regression
        >>> scores = Regression().compute(
        ...     predictions=[[1.0, 0.2], [2.0, 0.3], [3.0, 0.4]],
        ...     references=[[1.0, 0.5], [2.0, 0.5], [4.0, 0.5]],
        ...     names=["arousal", "valence"],
        ... )
        >>> round(scores["r2"], 3), scores["constant"]
        (0.786, ['valence'])
    """

    def _info(self):
        references = datasets.List(datasets.Value("float64"))
        return metric_info(self, _DESCRIPTION, _CITATION, references, "https://doi.org/10.1201/9780429246593")

    def _compute(self, predictions, references, names=None, resamples=1000, seed=0):
        return report_lists("regression", references, predictions, names, resamples, seed)
