"""Models behind HTTP, queues and events: the same scoring on every platform.

Each platform is a module of its own that is imported by whoever runs there, such as `glowplug.serve.aws_lambda`. What they
share is `glowplug.serve.scoring`, over the requests and answers of `glowplug.serve.http`.
"""
