"""``python -m chm_web.commands``: the ``chm`` command without its console script."""

from chm_web.commands import main

main()
