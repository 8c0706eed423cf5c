"""Brings models into service and takes them out."""

import uuid

from endcap.catalog.bundles import get_model, list_models
from endcap.catalog.database import Database
from endcap.sdk.errors import NotFound
from endcap.server.convert import models as convert
from endcap.server.interceptors import Context, current_call
from endcap.server.limits import check_limit
from endcap.server.model_registry import Activation, ModelRegistry
from endcap.server.paging import page_token, read_page_size, read_page_token, request_digest
from endcap.server.shops import Shop, Shops
from endcap.v1 import model_service_pb2 as pb
from endcap.v1.model_service_pb2_grpc import ModelServiceServicer


class ModelServicer(ModelServiceServicer):
    """Answers the calls of ``ModelService``."""

    def __init__(self, shops: Shops, database: Database, registry: ModelRegistry) -> None:
        self._shops = shops
        self._database = database
        self._registry = registry

    async def GetModel(self, request: pb.GetModelRequest, context: Context) -> pb.GetModelResponse:
        """Return one model."""
        convert.check_model(request.model)
        check_limit("request_id", request.request_id)
        shop = self._shop()
        async with self._database.read() as connection:
            model = await get_model(connection=connection, shop=shop.id, model=request.model)
        return pb.GetModelResponse(model=convert.write_model(model))

    async def ListModels(self, request: pb.ListModelsRequest, context: Context) -> pb.ListModelsResponse:
        """Return a page of models."""
        check_limit("request_id", request.request_id)
        size = read_page_size(request.page_size)
        shop, now = self._shop(), current_call.get().time
        digest = request_digest(request, ("page_size", "page_token", "request_id"))
        after = ""
        if request.page_token:
            after = read_page_token(shop.token_key, digest, request.page_token, now)["after"]
        async with self._database.read() as connection:
            models = await list_models(connection=connection, shop=shop.id)
        rest = [model for model in models if model.name > after]
        page = rest[:size]
        more = len(rest) > len(page)
        return pb.ListModelsResponse(
            models=map(convert.write_model, page),
            next_page_token=page_token(shop.token_key, digest, {"after": page[-1].name}, now) if more else "",
            generation=shop.state.generation.id,
        )

    async def RegisterBundle(
        self, request: pb.RegisterBundleRequest, context: Context
    ) -> pb.RegisterBundleResponse:
        """Take a bundle in, or only check it."""
        request_id = _request_id(request.request_id)
        source = self._registry.find(convert.read_path(request.path))
        bundle = await self._registry.register(self._shop().id, source, validate_only=request.validate_only)
        return pb.RegisterBundleResponse(bundle=convert.write_bundle(bundle), request_id=request_id)

    async def ActivateBundle(
        self, request: pb.ActivateBundleRequest, context: Context
    ) -> pb.ActivateBundleResponse:
        """Serve with a bundle, or only load it."""
        convert.check_model(request.model, request.version, request.etag)
        request_id = _request_id(request.request_id)
        shop = self._shop()
        bundle = (shop.id, request.model, request.version)
        if request.validate_only:
            model, revision = await self._registry.check(*bundle, etag=request.etag), shop.revision
        else:
            activation = await self._registry.activate(*bundle, etag=request.etag)
            await self._serve(shop, activation)
            model, revision = activation.model, activation.revision
        return pb.ActivateBundleResponse(
            model=convert.write_model(model),
            generation=shop.state.generation.id,
            revision=revision,
            request_id=request_id,
        )

    async def RollBackModel(
        self, request: pb.RollBackModelRequest, context: Context
    ) -> pb.RollBackModelResponse:
        """Serve with the bundle that was active before."""
        convert.check_model(request.model, etag=request.etag)
        request_id = _request_id(request.request_id)
        shop = self._shop()
        activation = await self._registry.roll_back(shop.id, request.model, etag=request.etag)
        await self._serve(shop, activation)
        return pb.RollBackModelResponse(
            model=convert.write_model(activation.model),
            generation=shop.state.generation.id,
            revision=activation.revision,
            request_id=request_id,
        )

    async def DeleteBundle(
        self, request: pb.DeleteBundleRequest, context: Context
    ) -> pb.DeleteBundleResponse:
        """Delete a bundle that is not active."""
        convert.check_model(request.model, request.version)
        request_id = _request_id(request.request_id)
        shop = self._shop()
        try:
            await self._registry.delete(shop.id, request.model, request.version)
        except NotFound:
            if not request.allow_missing:
                raise
        return pb.DeleteBundleResponse(request_id=request_id)

    async def _serve(self, shop: Shop, activation: Activation) -> None:
        await self._shops.rebuild(shop, activation.revision)
        await self._registry.sweep(shop.id)

    def _shop(self) -> Shop:
        return self._shops.get(current_call.get().shop)


def _request_id(request_id: str) -> str:
    check_limit("request_id", request_id)
    return request_id or uuid.uuid4().hex
