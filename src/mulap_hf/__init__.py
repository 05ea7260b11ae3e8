"""MuLaP: music audio representations from audio and noisy descriptions."""
