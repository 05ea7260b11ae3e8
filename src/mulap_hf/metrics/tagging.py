"""Tagging, where a track may have any number of tags, as an `evaluate` module."""

import datasets
import evaluate

from .scores import report_lists

_DESCRIPTION = """\
Area under the ROC curve and under the precision-recall curve (average precision, without interpolation) of the scores
of tags: means over the tags (macro), over all pairs of track and tag (micro) and of each tag. Tags that no track has,
or that all have, are left out of the means and named.
"""
_CITATION = """\
@inproceedings{davis2006relationship,
    title = {The relationship between precision-recall and {ROC} curves},
    author = {Davis, Jesse and Goadrich, Mark},
    booktitle = {International Conference on Machine Learning},
    pages = {233--240},
    year = {2006}
}
"""


class Tagging(evaluate.Metric):
    """What `compute` takes and returns.

    Args:
        predictions: `(tracks, tags)`, scores of any scale.
        references: `(tracks, tags)`, 1 where a track has the tag, else 0.
        names: of the tags, for the scores of each; numbers without.
        resamples: of tracks, for the intervals; 0 for none.
        seed: of the resamples.

    Returns:
        `roc_auc` and `pr_auc`, means over the tags; `roc_auc_micro` and `pr_auc_micro`; `intervals`, `[low, high]` by
        name of the score, 95 % of the bootstrap over tracks (what other test tracks would change, the
        trained model being the same); `per_output`, by name of the tag; `without_positives` and `without_negatives`,
        the tags that the means leave out.

    Raises:
        ValueError: shapes do not match, scores are NaN, or references are not 0 or 1.

    Examples:
        >>> from mulap_hf.metrics.tagging import Tagging
        >>> scores = Tagging().compute(
        ...     predictions=[[0.9, 0.2, 0.1], [0.8, 0.7, 0.3], [0.1, 0.6, 0.2], [0.3, 0.1, 0.4]],
        ...     references=[[1, 0, 0], [0, 1, 0], [1, 1, 0], [0, 0, 0]],
        ...     names=["rock", "piano", "choir"],
        ... )
        >>> scores["roc_auc"], scores["per_output"]["rock"]["roc_auc"], scores["without_positives"]
        (0.75, 0.5, ['choir'])
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
            reference_urls=["https://doi.org/10.1145/1143844.1143874"],
        )

    def _compute(self, predictions, references, names=None, resamples=1000, seed=0):
        return report_lists("multi_label", references, predictions, names, resamples, seed)
