"""Models behind HTTP, queues and events: the same scoring on every platform.

`glowplug.serve.scoring` scores the requests of `glowplug.serve.http`, whatever platform they came by.
"""
