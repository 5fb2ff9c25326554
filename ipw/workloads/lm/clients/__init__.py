"""The processes that ask: this one alone, or several that it hands the questions to."""
