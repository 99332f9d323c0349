"""Plots of time series and of event intensities."""

from .intensities import draw_intensities
from .series import SeriesAxes, draw_interpolation, draw_series, plot_times

__all__ = ["SeriesAxes", "draw_intensities", "draw_interpolation", "draw_series", "plot_times"]
