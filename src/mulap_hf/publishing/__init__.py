"""From a trained model's folder to its page on the Hub: card, samples, checks, upload."""

from pathlib import Path

MODEL_CARDS = Path(__file__).parents[3] / "model_cards"
"""Templates of cards and files of endpoints, in a clone of the repository."""
