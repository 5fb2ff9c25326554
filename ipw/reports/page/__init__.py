"""The self-contained page of one run or several."""
