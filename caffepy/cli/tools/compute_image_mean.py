"""`caffepy compute-image-mean`: the mean picture of a database."""

from functools import partial

import click

from caffepy.cli.command import Subcommand
from caffepy.cli.tools.convert_imageset import BACKEND
from caffepy.data.mean import compute_image_mean as compute
from caffepy.proto.files import replacing


@click.command("compute-image-mean", cls=Subcommand)
@click.argument("input_db", metavar="INPUT_DB")
@click.argument("output_file", metavar="[OUTPUT_FILE]", required=False)
@BACKEND
def compute_image_mean(input_db: str, output_file: str | None, backend: str) -> None:
    """Compute the mean picture of database INPUT_DB, show its channels, and write it as a .binaryproto file."""
    from tqdm import tqdm

    mean = compute(input_db, backend, progress=partial(tqdm, unit="record", disable=None, leave=False))
    click.echo(f"records  {mean.count}")
    click.echo(f"shape    {' x '.join(map(str, mean.values.shape))}")
    for channel, value in enumerate(mean.channels):
        click.echo(f"mean_value channel [{channel}]: {value:g}")
    if output_file is not None:
        with replacing(output_file) as beside, open(beside, "wb") as file:
            file.write(mean.blob().SerializeToString())
        click.echo(f"written  {output_file}")
