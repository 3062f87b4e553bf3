"""`caffepy upgrade-solver`: a solver's prototxt of an old format, in the current one."""

import click

from caffepy.cli.command import Subcommand
from caffepy.cli.tools.upgrade_net import tell, write_text
from caffepy.proto import prototxt
from caffepy.proto.caffe_pb2 import SolverParameter
from caffepy.proto.upgrade import upgrade_solver as upgrade


@click.command("upgrade-solver", cls=Subcommand)
@click.argument("source", metavar="IN")
@click.argument("target", metavar="OUT", required=False)
def upgrade_solver(source: str, target: str | None) -> None:
    """Bring a solver's prototxt to the current format: solver_type, a number, becomes type, a string.

    Nets written inside it are upgraded too. It is printed if there is no OUT. What was changed is told on stderr.
    """
    solver = prototxt.read(source, SolverParameter)
    tell(source, upgrade(solver))
    write_text(solver, target)
