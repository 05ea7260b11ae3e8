"""Regression, of one or more numbers per track, as an `evaluate` module."""

import datasets
import evaluate

from .scores import report_lists

_DESCRIPTION = """\
Coefficient of determination (R2) of each dimension and their mean: 1 where the truth is predicted, 0 where nothing is
gained over its mean, negative where that would be better; and Pearson's correlation, which forgives a wrong level and
scale. Dimensions whose truth is constant have none, are left out of the means and named.
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
    """What `compute` takes and returns.

    Args:
        predictions: `(tracks, dimensions)`.
        references: `(tracks, dimensions)`.
        names: of the dimensions, for the scores of each; numbers without.
        resamples: of tracks, for the intervals; 0 for none.
        seed: of the resamples.

    Returns:
        `r2` and `pearson`, means over the dimensions; `intervals`, `[low, high]` by name of the score, 95 % of the
        bootstrap over tracks (what other test tracks would change, the trained model being the same); `per_output`, by
        name of the dimension; `constant`, the dimensions that the means leave out.

    Raises:
        ValueError: shapes do not match, or numbers are NaN or infinite.

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
        return evaluate.MetricInfo(
            description=_DESCRIPTION,
            citation=_CITATION,
            inputs_description=self.__doc__,
            features=datasets.Features(
                {
                    "predictions": datasets.List(datasets.Value("float64")),
                    "references": datasets.List(datasets.Value("float64")),
                }
            ),
            license="Apache-2.0",
            reference_urls=["https://doi.org/10.1201/9780429246593"],
        )

    def _compute(self, predictions, references, names=None, resamples=1000, seed=0):
        return report_lists("regression", references, predictions, names, resamples, seed)
