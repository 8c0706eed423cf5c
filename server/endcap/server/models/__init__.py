"""The life of a bundle: registered, loaded, promoted, retrained."""
