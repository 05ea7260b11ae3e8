"""Comparison of pre-training strategies: plan -> runs in a worker pool -> table entries -> results -> report."""
