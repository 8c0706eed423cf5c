"""The schema's history: one module a revision in ``versions``, named so that names sort by age."""

HEAD = "0013"
"""The newest revision, which is the one that this release reads and writes."""
