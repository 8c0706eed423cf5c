"""A thin client: deadlines, retries, keepalive and the shop, set once for every call."""

from endcap.client.async_client import AsyncClient
from endcap.client.client import Client
from endcap.client.options import Options


__all__ = ["AsyncClient", "Client", "Options"]
