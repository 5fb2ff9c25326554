"""A small agent of our own: tasks with tools, over the OpenAI tool protocol."""
