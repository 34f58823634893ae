"""The command line: `homeroom`. What it prints goes to `out`, what it says of its work to `err`."""

from homeroom.cli.common import err as err
from homeroom.cli.common import out as out
from homeroom.cli.main import app as app
from homeroom.cli.main import main as main
