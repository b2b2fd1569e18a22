"""The model as a thing that runs: signed bytes, one ONNX graph, and the code that feeds it.

``train`` writes bundles (`export`, `manifest.seal`); ``serve`` and batch open them (`load`) and ask
them (`predict`). Only `export` and `trees` import the heavy engines of training.
"""

from __future__ import annotations
