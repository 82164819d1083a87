"""Operator and collective measurements: import, plausibility, fit of the calibration packs, scoring.

Development-time only; the package itself never reads the raw tables. See docs/theory/matmul.md.
"""
