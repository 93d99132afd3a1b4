"""Stands in for Nova's conductor and hypervisor, which cannot run here: makes the tables, then creates and destroys
instances in them by Nova's own objects, as those two do. Argument: Nova's configuration file. Reads lines of JSON
on standard input ({"create": {...}} or {"destroy": id}) and answers each with a line; the first says it is ready."""

import json
import sys

from nova import config, context, objects
from nova.db.api import models as api_models
from nova.db.main import models as main_models
from nova.network.model import NetworkInfo
from oslo_utils import timeutils
from sqlalchemy import create_engine

CELL = "22222222-2222-2222-2222-222222222222"
FLAVOR = dict(
    id=1, flavorid="1", name="m1.tiny", memory_mb=64, vcpus=1, root_gb=1, ephemeral_gb=0, swap=0,
    rxtx_factor=1.0, vcpu_weight=0, disabled=False, is_public=True, extra_specs={},
)


def make_tables(conf):
    main_models.BASE.metadata.create_all(create_engine(conf.database.connection))
    main_models.BASE.metadata.create_all(create_engine(conf.database.connection + ".cell0"))
    api_models.BASE.metadata.create_all(create_engine(conf.api_database.connection))
    admin = context.get_admin_context()
    objects.CellMapping(
        admin, uuid=objects.CellMapping.CELL0_UUID, name="cell0", transport_url="none:///",
        database_connection=conf.database.connection + ".cell0",
    ).create()
    objects.CellMapping(
        admin, uuid=CELL, name="cell1", transport_url="none:///",
        database_connection=conf.database.connection,
    ).create()


def create(uuid, name, project, metadata):
    admin = context.RequestContext("admin", project, is_admin=True)
    cell = objects.CellMapping.get_by_uuid(admin, CELL)
    with context.target_cell(admin, cell) as target:
        objects.Instance(
            target, uuid=uuid, project_id=project, user_id="user", display_name=name, hostname=name,
            vm_state="active", power_state=1, metadata=metadata, flavor=objects.Flavor(**FLAVOR),
            old_flavor=None, new_flavor=None, image_ref="", system_metadata={}, host="host1",
            node="host1", launched_at=timeutils.utcnow(),
            info_cache=objects.InstanceInfoCache(instance_uuid=uuid, network_info=NetworkInfo()),
        ).create()
    objects.InstanceMapping(
        admin, instance_uuid=uuid, cell_mapping=cell, project_id=project, user_id="user"
    ).create()


def destroy(uuid):
    admin = context.get_admin_context()
    cell = objects.CellMapping.get_by_uuid(admin, CELL)
    with context.target_cell(admin, cell) as target:
        objects.Instance.get_by_uuid(target, uuid).destroy()


def main():
    config.parse_args(["nova", "--config-file", sys.argv[1]])
    objects.register_all()
    make_tables(config.CONF)
    print("{}", flush=True)
    for line in sys.stdin:
        order = json.loads(line)
        if "create" in order:
            create(**order["create"])
        else:
            destroy(order["destroy"])
        print("{}", flush=True)


main()
