"""The strategies that ship with Endcap, found through the same entry points as anybody else's."""
