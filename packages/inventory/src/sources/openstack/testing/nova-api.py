"""The real Nova API, alone: SQLite, no Keystone, no conductor, no hypervisor. Argument: its configuration file."""

import sys

from nova.cmd.api import main

sys.argv = ["nova-api", "--config-file", sys.argv[1]]
main()
