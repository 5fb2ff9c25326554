"""Figures for papers, slides and the web, through matplotlib."""
