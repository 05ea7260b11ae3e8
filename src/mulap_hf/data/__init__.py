"""Described audio and its tasks: where they come from and how they become batches."""
