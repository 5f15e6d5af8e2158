"""Top-k ranking of a whole catalogue: scores, negatives, training in lanes, metrics, fair test.

Here a recommender is two tables of embeddings, and the scores of a batch of users with all items
are one matrix product. (Recommenders over looked-up rows are trained by ``training``.)
"""
