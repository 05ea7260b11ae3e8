"""Makes every Python process that has this folder in PYTHONPATH one where mulap_hf is not installed."""

import sys

sys.modules["mulap_hf"] = None
