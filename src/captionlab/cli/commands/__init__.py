"""One module a command: its options, and what runs it. Each imports what it needs when it runs."""

from captionlab.cli.commands import (
    calibrate,
    compare,
    evaluate,
    explain,
    export,
    extract,
    human_eval,
    inspect,
    label,
    models,
    predict,
    push,
    serve,
)

# as ``captionlab --help`` lists them
COMMANDS = (
    models,
    inspect,
    extract,
    compare,
    evaluate,
    predict,
    calibrate,
    explain,
    export,
    push,
    serve,
    label,
    human_eval,
)
