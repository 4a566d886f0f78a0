"""What a function on AWS Lambda would do, measured on this machine: `glowplug lab handler.py`."""
