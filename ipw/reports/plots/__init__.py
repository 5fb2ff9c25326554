"""From runs to what a chart shows: pure functions whose plots the page and the figures for papers both draw."""
