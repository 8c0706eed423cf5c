"""The contract of trainers, as tests to inherit, and small data that a model should learn.

::

    class TestYours(TrainerContract):
        trainer, strategy = yours.trainer, "yours"
        parameters = YourParameters(embedding_size=16, epochs=30)
        expected_hit = 0.9

It needs ``endcap[train]``, the package of trainer and strategy installed, and a test runner that collects
classes, such as pytest.
"""

from endcap.trainers.testing.contract import TrainerContract
from endcap.trainers.testing.learnable import LearnableData, checkerboard, sequences


__all__ = ["LearnableData", "TrainerContract", "checkerboard", "sequences"]
