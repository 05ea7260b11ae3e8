"""The parts of training that scripts share."""
