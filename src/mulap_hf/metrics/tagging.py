"""ROC-AUC and PR-AUC of music tagging (multi-label classification), as an `evaluate` module."""

import datasets
import evaluate

from .info import metric_info
from .scores import report_lists

_DESCRIPTION = """\
Area under the ROC curve and area under the precision-recall curve (average precision, without interpolation) of
multi-label tagging: per tag, averaged over the tags (macro), and over all pairs of track and tag (micro). Tags without
positive or without negative tracks are excluded from the macro averages and listed in the result.
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
    """ROC-AUC and PR-AUC of multi-label tagging, with bootstrap intervals over tracks.

    The arguments of `compute`:

    Args:
        predictions: Scores of any scale, `(tracks, tags)`.
        references: 1 where a track has the tag, else 0, `(tracks, tags)`.
        names: Names of the tags, the keys of `per_output`; their indices by default.
        resamples: Number of bootstrap resamples of tracks; 0 for no intervals.
        seed: Seed of the resamples.

    Returns:
        A dictionary: `roc_auc` and `pr_auc`, averaged over the tags; `roc_auc_micro` and `pr_auc_micro`; `intervals`,
        the 95 % bootstrap interval `[low, high]` by name of the metric (uncertainty from the choice of test tracks,
        for a fixed model); `per_output`, the metrics by name of the tag; `without_positives` and `without_negatives`,
        the tags that are excluded from the averages.

    Raises:
        ValueError: Shapes do not match, scores are NaN, or references are not 0 or 1.

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
        references = datasets.List(datasets.Value("float64"))
        return metric_info(self, _DESCRIPTION, _CITATION, references, "https://doi.org/10.1145/1143844.1143874")

    def _compute(self, predictions, references, names=None, resamples=1000, seed=0):
        return report_lists("multi_label", references, predictions, names, resamples, seed)
