"""Classification, where a track has one of several classes, as an `evaluate` module."""

import datasets
import evaluate

from .scores import report_lists

_DESCRIPTION = """\
Accuracy, and the mean over the classes of their F1 scores (macro F1). Classes that occur neither in the references nor
in the predictions are left out of the mean.
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
    """What `compute` takes and returns.

    Args:
        predictions: `(tracks, classes)`, scores of any scale; the highest of a track is its prediction.
        references: `(tracks,)`, indices of classes.
        names: of the classes, for the scores of each; numbers without.
        resamples: of tracks, for the intervals; 0 for none.
        seed: of the resamples.

    Returns:
        `accuracy` and `macro_f1`; `intervals`, `[low, high]` by name of the score, 95 % of the bootstrap
        over tracks (what other test tracks would change, the trained model being the same); `per_output`, by name of
        the class.

    Raises:
        ValueError: shapes do not match, scores are NaN, or references are none of the classes.

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
        return evaluate.MetricInfo(
            description=_DESCRIPTION,
            citation=_CITATION,
            inputs_description=self.__doc__,
            features=datasets.Features(
                {
                    "predictions": datasets.List(datasets.Value("float64")),
                    "references": datasets.Value("float64"),  # as integers, 0.5 would silently be 0
                }
            ),
            license="Apache-2.0",
            reference_urls=["https://arxiv.org/abs/1911.03347"],
        )

    def _compute(self, predictions, references, names=None, resamples=1000, seed=0):
        return report_lists("single_label", references, predictions, names, resamples, seed)
