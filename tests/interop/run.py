"""Real clients and servers with longwire between them. Words on the command line choose cases by name.

LONGWIRE names the binary. `tests/interop/install` brings what the cases need; `./test` does both.
"""

import asyncio
import importlib
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parent))
house = importlib.import_module("house")
for room in ("entry", "silence", "ends", "neighbours", "tools", "applications", "balance", "browser", "live", "traces"):
    importlib.import_module(f"cases.{room}")

sys.exit(asyncio.run(house.main()))
