"""
Wiring of communication services: those of this server, their table, and under which addresses they are reached.
"""

from urllib.parse import urlsplit

from hubwire.communication.kinds import OWNED
from hubwire.hosting import OwnPorts
from hubwire.model.listeners import listener_name
from hubwire.model.ports import Store
from hubwire.resources.catalog import Catalog
from hubwire.resources.communication_deployables import CommunicationTypes
from hubwire.resources.communication_documents import DEFAULT_SERVICE, StoredService
from hubwire.resources.communication_services import CommunicationServices
from hubwire.resources.directory import Directory
from hubwire.rest.communication_services import CommunicationServiceTable
from hubwire.rest.operation import Operation
from hubwire.rest.ports import Managers

__all__ = ["Communication", "load_communication"]


async def load_communication(store: Store, catalog: Catalog, directory: Directory) -> CommunicationServices:
    """
    The stored communication services.

    Raises:
        StartFailed: what is stored is damaged.
    """
    return await CommunicationServices.load(store, catalog, directory.tenant.tenant_id, OWNED)


class Communication:
    """
    The communication services of a server.

    Args:
        main: URL of the main port, over HTTPS if that is served: clients take a connection string for nothing else.

    Attributes:
        types: their resource type in templates.
        own: ports of services but the first one; None until they are opened.
    """

    def __init__(self, services: CommunicationServices, main: str) -> None:
        self.services = services
        self.types = CommunicationTypes(services)
        self.own: OwnPorts | None = None
        self._main = main.rstrip("/")
        services.place = self.endpoint

    def endpoint(self, service: StoredService) -> str:
        """
        Base URL of a service: of its own HTTPS port if that is served. While it has no ports that are open, the URL is
        that of those it had, or its name on the main port.
        """
        if service.name == DEFAULT_SERVICE:
            return self._main
        urls = () if self.own is None else self.own.urls(listener_name("communication", service.name))
        if urls:
            return urls[0]
        plain, secure = service.ports
        if secure or plain:
            return f"https://localhost:{secure}" if secure else f"http://localhost:{plain}"
        url = urlsplit(self._main)
        port = "" if url.port is None else f":{url.port}"
        return f"{url.scheme}://{service.name.lower()}.communication.localhost{port}"

    def operations(self, managers: Managers) -> tuple[Operation, ...]:
        """All rows that have to do with the services as resources."""
        return CommunicationServiceTable(self.services, managers).operations()

    def announced(self) -> dict[str, str]:
        """What a program needs to know of the first service; a secret is in it."""
        first = self.services.named(DEFAULT_SERVICE)
        assert first is not None, "it is made when it is not there, and cannot be deleted"
        found = self.services.keys_document(first)
        return {
            "communicationEndpoint": self.endpoint(first),
            "communicationConnectionString": found["primaryConnectionString"],
        }
