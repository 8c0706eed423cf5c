"""The trainers of Endcap keep the contract that outsiders' trainers are held to."""

from endcap.trainers import (
    content,
    ease,
    hybrid,
    item_knn,
    linear_sequence,
    matrix_factorization,
    next_purchase,
    popular,
    sasrec,
)
from endcap.trainers.testing import TrainerContract, sequences


class TestPopular(TrainerContract):
    trainer, strategy = popular.trainer, "popular"
    parameters = popular.PopularTrainingParameters()
    expected_hit = 0.0


class TestItemKnn(TrainerContract):
    trainer, strategy = item_knn.trainer, "item_knn"
    parameters = item_knn.ItemKnnParameters(mode="basket")
    expected_hit = 1.0


class TestItemKnnOfSequences(TrainerContract):
    trainer, strategy = item_knn.trainer, "item_knn"
    parameters = item_knn.ItemKnnParameters(mode="sequence", max_neighbors=10)
    expected_hit = 1.0
    data = staticmethod(sequences)


class TestEase(TrainerContract):
    trainer, strategy = ease.trainer, "ease"
    parameters = ease.EaseParameters(regularization=1)
    expected_hit = 1.0


class TestMatrixFactorization(TrainerContract):
    trainer, strategy = matrix_factorization.trainer, "matrix_factorization"
    parameters = matrix_factorization.MatrixFactorizationParameters(embedding_size=2, regularization=0.1)
    expected_hit = 1.0


class TestMatrixFactorizationByRank(TrainerContract):
    trainer, strategy = matrix_factorization.trainer, "matrix_factorization"
    parameters = matrix_factorization.MatrixFactorizationParameters(
        embedding_size=2, regularization=0.1, loss="bpr"
    )
    expected_hit = 1.0
    draws_by_order = True


class TestNextPurchase(TrainerContract):
    trainer, strategy = next_purchase.trainer, "next_purchase"
    parameters = next_purchase.NextPurchaseParameters(regularization=1)
    expected_hit = 0.9


class TestLinearSequence(TrainerContract):
    trainer, strategy = linear_sequence.trainer, "linear_sequence"
    parameters = linear_sequence.LinearSequenceParameters(exact_items=8)
    expected_hit = 1.0
    data = staticmethod(sequences)


class TestSasrec(TrainerContract):
    trainer, strategy = sasrec.trainer, "sasrec"
    parameters = sasrec.SasrecParameters(
        embedding_size=16, epochs=60, dropout=0.1, batch_size=64, patience=20
    )
    expected_hit = 0.9
    data = staticmethod(sequences)
    draws_by_order = True


class TestContent(TrainerContract):
    trainer, strategy = content.trainer, "content"
    parameters = content.ContentParameters(embedding_size=8, steps=30)
    expected_hit = 0.9
    draws_by_order = True


class TestHybrid(TrainerContract):
    trainer, strategy = hybrid.trainer, "hybrid"
    parameters = hybrid.HybridTrainingParameters(base_models="item_knn popular_week")
    expected_hit = 1.0
    beside = ("item_knn",)
