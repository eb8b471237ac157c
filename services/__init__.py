"""The numbers: curves in, choices out. Knows neither HTTP nor SQL."""
