"""Brings models into service and takes them out."""

from endcap.catalog.configuration.bundles import get_model, list_models
from endcap.catalog.database.engine import Database
from endcap.server.admin.going_live import go_live
from endcap.server.api.call import RpcContext, caller_and_shop
from endcap.server.api.convert import models as convert
from endcap.server.api.paging import ListPage
from endcap.server.models.registry import ModelRegistry
from endcap.server.serving.shops import Shops
from endcap.v1 import model_service_pb2 as pb
from endcap.v1.model_service_pb2_grpc import ModelServiceServicer


class ModelServicer(ModelServiceServicer):
    """Answers the calls of ``ModelService``."""

    def __init__(self, shops: Shops, database: Database, registry: ModelRegistry) -> None:
        self._shops = shops
        self._database = database
        self._registry = registry

    async def GetModel(self, request: pb.GetModelRequest, context: RpcContext) -> pb.GetModelResponse:
        """Return one model."""
        convert.check_model(request.model)
        _, shop = caller_and_shop(self._shops)
        async with self._database.read() as connection:
            model = await get_model(connection=connection, shop=shop.id, model=request.model)
        return pb.GetModelResponse(model=convert.write_model(model))

    async def ListModels(self, request: pb.ListModelsRequest, context: RpcContext) -> pb.ListModelsResponse:
        """Return a page of models."""
        caller, shop = caller_and_shop(self._shops)
        page = ListPage.read(request, key=shop.token_key, now=caller.time)
        async with self._database.read() as connection:
            found = await list_models(connection=connection, shop=shop.id)
        rest = [model for model in found if model.name > page.cursor.get("after", "")]
        models, token = page.cut(rest, lambda last: {"after": last.name})
        return pb.ListModelsResponse(
            models=map(convert.write_model, models),
            next_page_token=token,
            generation=shop.state.generation.id,
        )

    async def RegisterBundle(
        self, request: pb.RegisterBundleRequest, context: RpcContext
    ) -> pb.RegisterBundleResponse:
        """Take a bundle in, or only check it."""
        caller, shop = caller_and_shop(self._shops)
        source = self._registry.find(convert.read_path(request.path))
        bundle = await self._registry.register(shop.id, source, validate_only=caller.validate_only)
        return pb.RegisterBundleResponse(bundle=convert.write_bundle(bundle), request_id=caller.request_id)

    async def ActivateBundle(
        self, request: pb.ActivateBundleRequest, context: RpcContext
    ) -> pb.ActivateBundleResponse:
        """Serve with a bundle, or only load it."""
        convert.check_model(request.model, request.version, request.etag)
        caller, shop = caller_and_shop(self._shops)
        activate = self._registry.check if caller.validate_only else self._registry.activate
        activation = await activate(shop.id, request.model, request.version, etag=request.etag)
        revision = await go_live(self._shops, caller, activation.revision)
        return pb.ActivateBundleResponse(
            model=convert.write_model(activation.model),
            generation=shop.state.generation.id,
            revision=revision,
            request_id=caller.request_id,
        )

    async def RollBackModel(
        self, request: pb.RollBackModelRequest, context: RpcContext
    ) -> pb.RollBackModelResponse:
        """Serve with the bundle that was active before."""
        convert.check_model(request.model, etag=request.etag)
        caller, shop = caller_and_shop(self._shops)
        activation = await self._registry.roll_back(shop.id, request.model, etag=request.etag)
        revision = await go_live(self._shops, caller, activation.revision)
        return pb.RollBackModelResponse(
            model=convert.write_model(activation.model),
            generation=shop.state.generation.id,
            revision=revision,
            request_id=caller.request_id,
        )

    async def DeleteBundle(
        self, request: pb.DeleteBundleRequest, context: RpcContext
    ) -> pb.DeleteBundleResponse:
        """Delete a bundle that is not active."""
        convert.check_model(request.model, request.version)
        caller, shop = caller_and_shop(self._shops)
        await self._registry.delete(
            shop.id, request.model, request.version, allow_missing=request.allow_missing
        )
        return pb.DeleteBundleResponse(request_id=caller.request_id)
