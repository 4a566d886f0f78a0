"""Estimators of training libraries as files that `glowplug.load` reads: made once, where the model was trained.

>>> from glowplug.convert import from_sklearn
>>> from_sklearn(forest).save("model.glow")  # doctest: +SKIP

Needs scikit-learn: `pip install 'glowplug[scikit-learn]'`. What was converted needs nothing.
"""

from glowplug.convert.estimators import from_sklearn
from glowplug.convert.model import Converted

__all__ = ("Converted", "from_sklearn")
