"""The real Neutron, alone: ML2 on SQLite, no Keystone, no agents. Argument: its configuration file."""

import sys

from neutron.cmd.eventlet.server import main
from neutron.db.migration.models import head
from oslo_config import cfg
from sqlalchemy import create_engine


def connection(path):
    parser = cfg.ConfigOpts()
    parser.register_opts([cfg.StrOpt("connection")], group="database")
    parser(["--config-file", path])
    return parser.database.connection


# Neutron's migrations are for MariaDB and PostgreSQL; its own tests make SQLite's tables of the models as well.
head.model_base.BASEV2.metadata.create_all(create_engine(connection(sys.argv[1])))
sys.argv = ["neutron-server", "--config-file", sys.argv[1]]
main()
