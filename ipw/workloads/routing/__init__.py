"""Expert routing of mixture-of-experts models: which are chosen, how local that is, what a cache makes of it."""
