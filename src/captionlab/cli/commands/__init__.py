"""One module a command: its options, and what runs it. Each imports what it needs when it runs."""

from captionlab.cli.commands import (
    calibrate,
    compare,
    evaluate,
    explain,
    extract,
    inspect,
    models,
    predict,
)

# as ``captionlab --help`` lists them
COMMANDS = (models, inspect, extract, compare, evaluate, calibrate, predict, explain)
