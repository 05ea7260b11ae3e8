"""The part that the `evaluate` modules have in common."""

from typing import Any

import datasets
import evaluate

__all__ = ["metric_info"]


def metric_info(
    metric: evaluate.Metric, description: str, citation: str, references: Any, url: str
) -> evaluate.MetricInfo:
    """Return what `evaluate.Metric._info` has to return.

    Args:
        metric: The metric; its class docstring becomes the description of the inputs.
        description: What the metric measures.
        citation: BibTeX entry.
        references: Feature of one reference.
        url: Page of the cited work.
    """
    return evaluate.MetricInfo(
        description=description,
        citation=citation,
        inputs_description=metric.__doc__,
        features=datasets.Features(
            {"predictions": datasets.List(datasets.Value("float64")), "references": references}
        ),
        license="Apache-2.0",
        reference_urls=[url],
    )
