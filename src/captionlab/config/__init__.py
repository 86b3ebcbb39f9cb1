"""Configurations: composed, resolved, overridden, checked. Hydra and OmegaConf live here."""
