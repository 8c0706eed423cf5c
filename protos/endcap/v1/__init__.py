"""The wire contract of Endcap, version 1: generated from the ``.proto`` files beside it."""
