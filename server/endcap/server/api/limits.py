"""The limits of messages on the wire; those of fields are ``endcap.catalog.fields.limits``."""

MAX_REQUEST_BYTES = 1024 * 1024
"""The largest message of most methods."""

MAX_INGEST_BYTES = 4 * 1024 * 1024
"""The largest message of the methods that take data in."""

_INGEST = ("RecordEvents", "BatchUpsertItems", "BatchUpsertUsers", "ImportItems", "ImportUsers")

MAX_METADATA_BYTES = 8192
"""The most metadata a call may carry."""


def takes_data_in(method: str) -> bool:
    """Return whether a method takes data in, which may come in floods.

    Args:
        method: The full name, ``/package.Service/Method``.
    """
    return method.endswith(_INGEST)
