"""``fsad pretrain``: make the embedded backbone's weights again."""

import logging
from pathlib import Path
from typing import Annotated

import typer


def pretrain(
    teacher: Annotated[
        Path, typer.Argument(help="Weights of torchvision's ResNet-18: safetensors or pth.")
    ],
    out: Annotated[Path, typer.Option(help="A new folder, or that of an interrupted pretraining.")],
    seed: Annotated[int, typer.Option(help="Seed of the network and of all images.")] = 0,
    epochs: Annotated[int, typer.Option(help="Epochs of 100 steps; a checkpoint after each.")] = 18,
    precision: Annotated[
        str, typer.Option(help="32-true, or bf16-mixed if the processor has bfloat16.")
    ] = "32-true",
    accelerator: Annotated[str, typer.Option(help="cpu or gpu.")] = "cpu",
    workers: Annotated[int, typer.Option(help="Processes that draw images.")] = 1,
) -> None:
    """Pretrain the embedded backbone `tiny` on generated images, by distillation.

    Every image is drawn by this program. The same seed, machine and number of threads give the same
    weights. Run it again with the same arguments to go on after an interruption.

    Example: fsad pretrain resnet18.safetensors --out pretrained
    """
    from fsad.pretrain.run import Recipe
    from fsad.pretrain.run import pretrain as run

    logging.basicConfig(format="%(levelname)s %(name)s: %(message)s")
    logging.getLogger("fsad").setLevel(logging.INFO)  # the losses of each epoch
    recipe = Recipe(seed=seed, epochs=epochs, precision=precision)
    typer.echo(f"wrote {run(teacher, out, recipe, workers, accelerator)}")
