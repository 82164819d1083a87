"""Measured against predicted: fits of engine profiles, left-out tests, intervals, published results."""
