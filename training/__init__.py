"""Data, collators, metrics, and the thin Trainer."""
