"""The real Keystone, alone: SQLite, its keys and tables made here, one administrator. Arguments: its configuration
file, the port, the region, the URL of Neutron for the catalogue."""

import os
import sys
import uuid

from cryptography.fernet import Fernet
from keystone.common import sql
from keystone.common.provider_api import ProviderAPIs
from keystone.server.flask import core
from sqlalchemy import create_engine
from werkzeug.serving import run_simple

conf, port = os.path.abspath(sys.argv[1]), int(sys.argv[2])
region, network = sys.argv[3:]
keys = os.path.join(os.path.dirname(conf), "keys")
sys.argv = ["keystone"]

os.makedirs(keys, mode=0o700)
for name in "01":
    with open(os.path.join(keys, name), "wb") as file:
        file.write(Fernet.generate_key())

app = core.initialize_application(name="public", config_files=[conf])
sql.ModelBase.metadata.create_all(create_engine(core.CONF.database.connection))

# The bootstrapper makes the managers that the application has made already.
ProviderAPIs._clear_registry_instances()
from keystone.cmd import bootstrap  # noqa: E402

first = bootstrap.Bootstrapper()
first.admin_username = first.project_name = first.admin_role_name = "admin"
first.admin_password = "secret"
first.service_name = "keystone"
first.public_url = first.internal_url = first.admin_url = f"http://127.0.0.1:{port}/v3"
first.region_id = region
first.bootstrap()

# Not by the API: on SQLite a request that makes an endpoint locks itself out.
catalog = bootstrap.PROVIDERS.catalog_api
service = uuid.uuid4().hex
catalog.create_service(service, {"id": service, "type": "network", "name": "neutron", "enabled": True})
for interface in ("public", "internal"):
    endpoint = uuid.uuid4().hex
    catalog.create_endpoint(
        endpoint,
        {
            "id": endpoint, "service_id": service, "interface": interface, "region_id": region,
            "url": network, "enabled": True,
        },
    )
run_simple("127.0.0.1", port, app, threaded=False)
