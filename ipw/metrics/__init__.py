"""What a run says in numbers: definitions, intervals, validity."""
