"""`hubwire app`: applications and managed identities of the local token issuer, their credentials and their roles."""

import re
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

import click

from hubwire.cli.control import NoServer, control
from hubwire.cli.faults import BadCommandLine, CommandFailed
from hubwire.cli.offline import StoredDirectory, read_offline_directory
from hubwire.cli.options import WholeNumber, as_json, data_folder, file_path
from hubwire.cli.output import print_document, print_rows, rows_of
from hubwire.cli.program import data_option, program
from hubwire.cli.text import printable
from hubwire.model.directory import Application

__all__ = ["app"]

_TITLES = {
    "tenantId": "tenant id",
    "clientId": "client id",
    "objectId": "object id",
    "clientSecret": "client secret",
    "secretId": "secret id",
    "idUris": "App ID URIs",
    "tokenVersion": "token version",
    "resourceId": "resource id",
    "principalId": "principal",
}

# No other dash in between: whatever follows a certificate that was cut short is not taken for a part of it.
_CERTIFICATE = re.compile(rb"-----BEGIN CERTIFICATE-----[A-Za-z0-9+/=\s]+-----END CERTIFICATE-----")


@click.group()
def app() -> None:
    """
    Show or change who can get tokens of the local issuer.

    APP is a client id, an object id, an App ID URI, or a name.
    """


@app.command("create")
@click.argument("name", required=False, default="")
@click.option("--name", "named", metavar="NAME", help="The same as the argument.")
@click.option(
    "--id-uri", "id_uris", multiple=True, metavar="URI", help="Name as a resource, such as api://orders; repeatable."
)
@click.option(
    "--token-version", type=click.Choice(("1", "2")), help="Of tokens for it. [2 by its id, 1 by an App ID URI]"
)
@click.option("--managed-identity", is_flag=True, help="An identity that this machine's programs can use.")
@click.option("--no-secret", is_flag=True, help="Without a first client secret.")
@as_json
@data_folder
def create(
    name: str,
    named: str | None,
    id_uris: tuple[str, ...],
    token_version: str | None,
    managed_identity: bool,
    no_secret: bool,
    data: Path,
    as_json: bool,
) -> None:
    """Make an application, and print its first secret. That is not shown again."""
    if name and named:
        raise BadCommandLine("the name is given twice")
    request: dict[str, Any] = {
        "name": name or named or "",
        "idUris": id_uris,
        "managedIdentity": managed_identity,
        "secret": not no_secret,
    }
    if token_version is not None:
        request["tokenVersion"] = int(token_version)
    document = control(data, "POST", "/control/apps", request)
    _show(document, as_json)
    if not as_json:
        if "clientSecret" in document:
            click.echo("hubwire: the client secret is not shown again", err=True)
        next_step = f"{program()} app assign {document['clientId']} --role owner{data_option(data)}"
        click.echo(f"hubwire: it has no role yet, so REST refuses it; to give it one: {next_step}", err=True)


@app.command("list")
@as_json
@data_folder
def list_apps(data: Path, as_json: bool) -> None:
    """Show all applications and managed identities."""
    try:
        apps: Sequence[Mapping[str, Any]] = control(data, "GET", "/control/apps")["value"]
    except NoServer:
        apps = read_offline_directory(data, _stored_apps)
    if as_json:
        print_document(apps, as_json)
        return
    width = max((len(str(document["name"])) for document in apps), default=0)
    for document in apps:
        uris = f"  {', '.join(document['idUris'])}" if document["idUris"] else ""
        line = f"{str(document['name']).ljust(width)}  {document['clientId']}  {document['kind']}{uris}"
        click.echo(printable(line))


@app.command("show")
@click.argument("app")
@as_json
@data_folder
def show(app: str, data: Path, as_json: bool) -> None:
    """Show one application, with its roles. Of its secrets only the beginning is known."""
    try:
        document = control(data, "GET", _path(app))
    except NoServer:
        document = read_offline_directory(data, partial(_stored_app, app))
        click.echo("hubwire: no server is running; credentials and roles are shown by one that does", err=True)
    _show(document, as_json)


@app.command("delete")
@click.argument("app")
@data_folder
def delete(app: str, data: Path) -> None:
    """Delete an application, with its roles. Tokens that it has are good until they end, and allow nothing."""
    control(data, "DELETE", _path(app))


@app.command("secret")
@click.argument("app")
@click.option("--days", type=WholeNumber(1, 36500), metavar="N", default=365, show_default=True, help="It is good for.")
@click.option("--remove", metavar="ID", help="Remove the secret with this id instead.")
@as_json
@data_folder
def secret(app: str, days: int, remove: str | None, data: Path, as_json: bool) -> None:
    """Add a client secret and print it. It is not shown again."""
    if remove is not None:
        _remove(data, app, remove, as_json)
    else:
        _show(control(data, "POST", f"{_path(app)}/:addSecret", {"days": days}), as_json)


@app.command("certificate")
@click.argument("app")
@click.argument("file", type=file_path, required=False)
@click.option("--remove", metavar="THUMBPRINT", help="Remove this certificate instead.")
@as_json
@data_folder
def certificate(app: str, file: str | None, remove: str | None, data: Path, as_json: bool) -> None:
    """Let an application prove itself with the private key of a certificate (a PEM file)."""
    if (file is None) == (remove is None):
        raise BadCommandLine("name a PEM file, or with --remove the thumbprint of a certificate")
    if remove is not None:
        _remove(data, app, remove, as_json)
        return
    # Only certificates are sent: a private key that stands beside one stays where it is.
    certificates = _CERTIFICATE.findall(Path(file or "").read_bytes())
    if not certificates:
        raise CommandFailed(f"there is no certificate in {file}; it must be a PEM file")
    pem = b"\n".join((*certificates, b"")).decode("ascii")
    _show(control(data, "POST", f"{_path(app)}/:addCertificate", {"pem": pem}), as_json)


@app.command("federated")
@click.argument("app")
@click.option("--issuer", metavar="URL", help="Who issues the tokens, as their claim iss has it.")
@click.option("--subject", metavar="TEXT", help="Their claim sub.")
@click.option("--audience", metavar="TEXT", default="api://AzureADTokenExchange", show_default=True, help="Their aud.")
@click.option("--remove", metavar="SUBJECT", help="Remove the one with this subject instead.")
@as_json
@data_folder
def federated(
    app: str, issuer: str | None, subject: str | None, audience: str, remove: str | None, data: Path, as_json: bool
) -> None:
    """Let an application prove itself by tokens of another issuer (workload identity)."""
    if remove is not None:
        _remove(data, app, remove, as_json)
        return
    if not issuer or not subject:
        raise BadCommandLine("name the --issuer and the --subject, or --remove with a subject")
    request = {"issuer": issuer, "subject": subject, "audience": audience}
    _show(control(data, "POST", f"{_path(app)}/:addFederated", request), as_json)


@app.command("assign")
@click.argument("app", required=False)
@click.option("--role", required=True, metavar="ROLE", help="owner, reader, or the full name of such a role.")
@click.option("--scope", metavar="SCOPE", help="Such as /subscriptions/ID. [the resource of this server]")
@click.option("--principal", metavar="OBJECT_ID", help="Instead of APP: a principal of a trusted tenant.")
@click.option("--tenant", metavar="TENANT", help="Whose principal that is: tenant id, or the issuer's URL.")
@click.option("--remove", is_flag=True, help="Take the role away instead.")
@as_json
@data_folder
def assign(
    app: str | None,
    role: str,
    scope: str | None,
    principal: str | None,
    tenant: str | None,
    remove: bool,
    data: Path,
    as_json: bool,
) -> None:
    """Give a role to an application: what it may do with the REST API. It holds at once."""
    if (app is None) == (principal is None):
        raise BadCommandLine("name an application, or with --principal an object id")
    given = {"app": app, "principalId": principal, "tenant": tenant, "role": role, "scope": scope}
    request = {name: value for name, value in given.items() if value is not None}
    answer = control(data, "POST", f"/control/assignments{'/:remove' if remove else ''}", request)
    if answer is not None:
        _show(answer, as_json)


@app.command("roles")
@as_json
@data_folder
def roles(data: Path, as_json: bool) -> None:
    """Show all roles that are assigned, those of principals of trusted tenants included."""
    assigned: Sequence[Mapping[str, str]] = control(data, "GET", "/control/assignments")["value"]
    if as_json:
        print_document(assigned, as_json)
        return
    for item in assigned:
        click.echo(printable("  ".join((item["principalId"], item["tenant"], item["role"], item["scope"]))))


@app.command("rotate-keys")
@click.option("--revoke", is_flag=True, help="Take back all keys: whatever they signed is refused from now on.")
@as_json
@data_folder
def rotate_keys(revoke: bool, data: Path, as_json: bool) -> None:
    """
    Let the next key sign tokens from now on.

    It has been published for some time. Twice within a day is too early for who keeps our keys that long.
    """
    _show(control(data, "POST", "/control/tokenKeys/:rotate", {"revoke": revoke}), as_json)


async def _stored_apps(directory: StoredDirectory) -> list[dict[str, Any]]:
    return [_stored(app) for app in directory.applications()]


async def _stored_app(text: str, directory: StoredDirectory) -> dict[str, Any]:
    return _stored(directory.find(text))


def _stored(app: Application) -> dict[str, Any]:
    return {
        "name": app.name,
        "clientId": app.app_id,
        "objectId": app.object_id,
        "kind": app.kind,
        "idUris": list(app.id_uris),
    }


def _path(app: str) -> str:
    if not app.strip():
        raise BadCommandLine("an application has a client id or a name")
    return f"/control/apps/{quote(app, safe='')}"


def _remove(data: Path, app: str, credential: str, as_json: bool) -> None:
    _show(control(data, "POST", f"{_path(app)}/:removeCredential", {"credential": credential}), as_json)


def _show(document: Mapping[str, Any], as_json: bool) -> None:
    """JSON, or a line for each value; of what there are several, a line for each of them."""
    if as_json:
        print_document(document, as_json)
        return
    rows: list[tuple[str, str]] = []
    for name, value in document.items():
        title = _TITLES.get(name, name)
        if isinstance(value, list) and value and isinstance(value[0], Mapping):
            rows += [("" if number else title, _in_a_line(item)) for number, item in enumerate(value)]
        else:
            rows += rows_of({title: value})
    print_rows(rows)


def _in_a_line(item: Mapping[str, Any]) -> str:
    """A secret, a certificate, a federated credential, a key or a role of what is shown."""
    if "role" in item:
        return f"{item['role']} at {item['scope']}"
    texts = [f"until {value}" if name == "expires" else str(value) for name, value in item.items()]
    return "  ".join(texts)
