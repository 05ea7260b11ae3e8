"""What the scripts in `training/` do, once their options are parsed; each module is imported by its script then."""
