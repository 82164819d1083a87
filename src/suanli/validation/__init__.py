"""Measured against predicted: reading measurements, predicting each row, scoring, intervals."""
