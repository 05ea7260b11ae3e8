"""From a trained model's folder to its page on the Hub: card, samples, checks, upload."""
