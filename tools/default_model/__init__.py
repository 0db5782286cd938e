"""The stages that make the service's embedded text model; `train_default_model.py` runs them."""
