"""``python -m captionlab``: the command ``captionlab``, where its script is not on the PATH."""

from captionlab.cli.main import main

if __name__ == "__main__":
    main()
