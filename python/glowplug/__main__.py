"""`python -m glowplug` is the command line."""

import sys

from glowplug.cli import main

sys.exit(main())
