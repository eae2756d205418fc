"""Who and where the sandbox's Azure is. All of it is public on purpose: it opens loopback only."""

from __future__ import annotations

from dataclasses import dataclass, field

TENANT = "11111111-1111-4111-8111-111111111111"
SUBSCRIPTION = "22222222-2222-4222-8222-222222222222"
CLIENT_ID = "33333333-3333-4333-8333-333333333333"
OBJECT_ID = "44444444-4444-4444-8444-444444444444"
CLIENT_SECRET = "understudy-sandbox-secret"  # noqa: S105 - public, as the key of the sandbox is
RESOURCE_GROUP = "understudy"
ACCOUNT = "understudy-sandbox"
DAY = 86_400.0

# Where the service trains; a resource elsewhere can only be given a model from another region.
TRAINS_IN = frozenset({"eastus2", "northcentralus", "swedencentral"})


@dataclass(frozen=True, slots=True, kw_only=True)
class AzureSettings:
    """Settings of the Azure face; times in sandbox seconds.

    Attributes:
        accounts: region of each resource by name; the first is the one at the server's root.
        deploy_seconds: from the request of a deployment to its being ready.
        delete_seconds: from the request of a deletion to its being gone.
        token_seconds: life of a token.
        quota: thousands of tokens a minute for each model and sku in a region.
        idle_seconds: unused fine-tuned deployments are deleted after this.
        developer_seconds: developer-tier deployments are deleted after this.
    """

    accounts: dict[str, str] = field(
        default_factory=lambda: {ACCOUNT: "swedencentral", f"{ACCOUNT}-west": "westus3"}
    )
    deploy_seconds: float = 30.0
    delete_seconds: float = 2.0
    token_seconds: float = 3600.0
    quota: int = 500
    idle_seconds: float = 15 * DAY
    developer_seconds: float = DAY

    def __post_init__(self) -> None:
        if not self.accounts:
            raise ValueError("the sandbox's Azure needs at least one account; give NAME=REGION")

    @property
    def main(self) -> str:
        """The resource at the server's root."""
        return next(iter(self.accounts))

    def account(self, name: str) -> str | None:
        """A resource's name as it was given, looked up without regard to case."""
        return next((a for a in self.accounts if a.lower() == name.lower()), None)
