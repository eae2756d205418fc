"""The suite on deployments, for backends whose models answer only through one."""

from __future__ import annotations

import dataclasses

import pytest

from understudy.backend import Backend, Capabilities, SupportsDeploy, SupportsInfer
from understudy.errors import BackendError, InvalidData, NotFound, OutcomeUnknown
from understudy.model import (
    Absent,
    ChatRequest,
    DeploymentSpec,
    Found,
    Handle,
    JobSpec,
    ModelRef,
    RemoteState,
)
from understudy.testing._base import KEY, Base, need, raw_for, upload
from understudy.testing._guards import no_sleep
from understudy.testing._poll import rebuilt
from understudy.testing.provider import ProviderAdapter

__all__ = ["DeployTests"]

D_KEY = f"{KEY}.deploy.1"
_DELETE_BY = 1_999_999_999.0


def _ask(backend: Backend, model: str) -> str:
    assert isinstance(backend, SupportsInfer)
    request = ChatRequest(model=model, messages=({"role": "user", "content": "hello there"},))
    return str(backend.complete(request, timeout=30).message["role"])


def _settle(backend: SupportsDeploy, provider: ProviderAdapter, handle: Handle) -> RemoteState:
    """Look as the engine does, until nothing more happens by itself."""
    for _ in range(200):
        state = backend.poll_deployment(handle).state
        if state.terminal:
            return state
        provider.wait(30)
    pytest.fail(f"after two hundred looks {handle.id} is still {state.value}")


class DeployTests(Base):
    """One key, one deployment; nothing is left that nobody asked for."""

    @pytest.fixture
    def deployer(self, backend: Backend, capabilities: Capabilities) -> SupportsDeploy:
        """The backend, where it deploys."""
        need(capabilities.deploy)
        assert isinstance(backend, SupportsDeploy)
        return backend

    @pytest.fixture
    def trained(
        self, backend: Backend, provider: ProviderAdapter, capabilities: Capabilities, job: Handle
    ) -> ModelRef:
        """A model to deploy."""
        need(capabilities.deploy)
        provider.make_status(job, raw_for(provider, RemoteState.SUCCEEDED))
        return backend.model(job)

    @pytest.fixture
    def wanted(self, capabilities: Capabilities, trained: ModelRef) -> DeploymentSpec:
        """An evaluation's deployment of it."""
        return DeploymentSpec(
            name="understudy-conformance-1",
            model=trained.id,
            base_model=trained.base_model,
            purpose="evaluation",
            owner="conformance",
            sku=capabilities.default_skus.get("evaluation"),
            delete_by=_DELETE_BY,
        )

    @pytest.fixture
    def deployment(self, deployer: SupportsDeploy, wanted: DeploymentSpec) -> Handle:
        """It, started under ``D_KEY``."""
        return deployer.start_deployment(wanted, key=D_KEY)

    def test_deployment_is_one_paid_request_that_waits_for_nothing(
        self, deployer: SupportsDeploy, provider: ProviderAdapter, wanted: DeploymentSpec
    ) -> None:
        before = provider.paid_requests()
        with no_sleep() as slept:
            handle = deployer.start_deployment(wanted, key=D_KEY)
        assert provider.paid_requests() == before + 1
        assert provider.count_deployments() == 1
        assert handle.kind == "deployment"
        assert slept == []

    @pytest.mark.parametrize("fault", ["fail_after_deploy", "lose_deploy_reply"])
    def test_lost_reply_of_a_deployment_is_found_once(
        self,
        deployer: SupportsDeploy,
        provider: ProviderAdapter,
        wanted: DeploymentSpec,
        fault: str,
    ) -> None:
        before = provider.paid_requests()
        getattr(provider, fault)()
        with no_sleep() as slept, pytest.raises(OutcomeUnknown):
            deployer.start_deployment(wanted, key=D_KEY)
        assert slept == []
        assert provider.paid_requests() == before + 1
        provider.wait(provider.backend_spec.capabilities.list_lag + 1)
        fresh = provider.fresh_backend()
        assert isinstance(fresh, SupportsDeploy)
        found = fresh.find_deployment(wanted, key=D_KEY)
        assert isinstance(found, Found)
        assert _settle(fresh, provider, found.handle) is RemoteState.SUCCEEDED
        assert provider.count_deployments() == 1

    def test_deployment_started_twice_under_one_key_is_one(
        self,
        deployer: SupportsDeploy,
        provider: ProviderAdapter,
        wanted: DeploymentSpec,
        deployment: Handle,
    ) -> None:
        again = deployer.start_deployment(wanted, key=D_KEY)
        assert again.id == deployment.id
        assert provider.count_deployments() == 1

    def test_rate_limited_deployment_is_not_resent(
        self, deployer: SupportsDeploy, provider: ProviderAdapter, wanted: DeploymentSpec
    ) -> None:
        before = provider.paid_requests()
        provider.rate_limit(7)
        with no_sleep() as slept, pytest.raises(BackendError):
            deployer.start_deployment(wanted, key=D_KEY)
        assert provider.paid_requests() <= before + 1
        assert provider.count_deployments() == 0
        assert slept == []

    def test_deployment_of_another_key_is_not_found(
        self, deployer: SupportsDeploy, wanted: DeploymentSpec, deployment: Handle
    ) -> None:
        assert isinstance(deployer.find_deployment(wanted, key=D_KEY), Found), deployment.id
        assert isinstance(deployer.find_deployment(wanted, key=f"{D_KEY}-other"), Absent)

    def test_name_of_another_models_deployment_is_refused(  # noqa: PLR0917
        self,
        backend: Backend,
        deployer: SupportsDeploy,
        provider: ProviderAdapter,
        spec: JobSpec,
        wanted: DeploymentSpec,
        deployment: Handle,
    ) -> None:
        files = upload(backend, provider, spec, f"{KEY}-second")
        job = backend.create(spec, files, key=f"{KEY}-second")
        provider.make_status(job, raw_for(provider, RemoteState.SUCCEEDED))
        other = dataclasses.replace(wanted, model=backend.model(job).id)
        with pytest.raises(InvalidData):
            deployer.start_deployment(other, key=f"{D_KEY}-second")
        standing = {one.name: one.model for one in deployer.list_deployments()}
        assert standing[wanted.name] == wanted.model, deployment.id

    def test_unknown_sku_is_refused(
        self, deployer: SupportsDeploy, provider: ProviderAdapter, wanted: DeploymentSpec
    ) -> None:
        wrong = dataclasses.replace(wanted, sku="NoSuchSku")
        with pytest.raises(InvalidData):
            deployer.start_deployment(wrong, key=D_KEY)
        assert provider.count_deployments() == 0

    def test_poll_of_a_deployment_looks_once_and_never_sleeps(
        self, deployer: SupportsDeploy, provider: ProviderAdapter, deployment: Handle
    ) -> None:
        before = provider.requests()
        with no_sleep() as slept:
            status = deployer.poll_deployment(deployment)
        assert provider.requests() - before <= 1
        assert slept == []
        assert status.raw
        assert not status.state.terminal, "it cannot serve in the moment in which it was asked for"

    def test_model_answers_through_its_deployment_alone(
        self,
        backend: Backend,
        deployer: SupportsDeploy,
        provider: ProviderAdapter,
        trained: ModelRef,
        deployment: Handle,
    ) -> None:
        assert _settle(deployer, provider, deployment) is RemoteState.SUCCEEDED
        serves_as = deployer.poll_deployment(deployment).model
        assert serves_as
        assert _ask(backend, serves_as) == "assistant"
        deployer.stop_deployment(deployment)
        assert _settle(deployer, provider, deployment) is RemoteState.CANCELLED
        for name in (serves_as, trained.id):
            with pytest.raises(NotFound):
                _ask(backend, name)

    def test_failed_deployment_says_why(
        self, deployer: SupportsDeploy, provider: ProviderAdapter, deployment: Handle
    ) -> None:
        provider.make_deployment_fail(deployment)
        assert _settle(deployer, provider, deployment) is RemoteState.FAILED
        problem = deployer.poll_deployment(deployment).problem
        assert problem is not None
        assert problem.message

    def test_deployment_may_be_stopped_twice(
        self, deployer: SupportsDeploy, provider: ProviderAdapter, deployment: Handle
    ) -> None:
        _settle(deployer, provider, deployment)
        for _ in range(2):
            deployer.stop_deployment(deployment)
        assert _settle(deployer, provider, deployment) is RemoteState.CANCELLED
        deployer.stop_deployment(deployment)
        assert provider.count_deployments() == 0

    def test_list_tells_whose_deployment_it_is(
        self,
        deployer: SupportsDeploy,
        provider: ProviderAdapter,
        wanted: DeploymentSpec,
        deployment: Handle,
    ) -> None:
        provider.wait(provider.backend_spec.capabilities.list_lag + 1)
        (ours,) = [one for one in deployer.list_deployments() if one.name == wanted.name]
        assert ours.handle == deployment
        told = (ours.key, ours.owner, ours.purpose, ours.delete_by, ours.model)
        assert told == (D_KEY, "conformance", "evaluation", _DELETE_BY, wanted.model)
        assert ours.sku
        assert ours.capacity > 0
        assert ours.state is deployer.poll_deployment(deployment).state

    def test_deployment_can_be_scaled(
        self, deployer: SupportsDeploy, provider: ProviderAdapter, deployment: Handle
    ) -> None:
        _settle(deployer, provider, deployment)
        deployer.scale_deployment(deployment, 3)
        assert _settle(deployer, provider, deployment) is RemoteState.SUCCEEDED
        capacities = {one.handle.id: one.capacity for one in deployer.list_deployments()}
        assert capacities[deployment.id] == 3

    def test_deployments_handle_survives_json_and_a_new_process(
        self, deployer: SupportsDeploy, provider: ProviderAdapter, deployment: Handle
    ) -> None:
        assert rebuilt(deployment) == deployment
        fresh = provider.fresh_backend()
        assert isinstance(fresh, SupportsDeploy)
        assert _settle(fresh, provider, rebuilt(deployment)) is RemoteState.SUCCEEDED
        fresh.stop_deployment(rebuilt(deployment))
        assert _settle(deployer, provider, deployment) is RemoteState.CANCELLED
