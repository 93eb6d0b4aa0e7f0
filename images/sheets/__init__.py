"""Comparison sheets: what went in, what steered it and what came out, side by side on one page for people."""
