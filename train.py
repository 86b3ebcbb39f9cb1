"""Train a captioner: python train.py [group=choice] [key=value] ...; python train.py --help."""

from captionlab.cli.hydra_main import hydra_main


@hydra_main
def main(config, overrides):
    """Run one experiment; everything heavy is imported here, so that --help stays quick."""
    from captionlab.cli.train import train

    return train(config, overrides)


if __name__ == "__main__":
    main()
