"""``python -m endcap.cli`` is ``endcap``."""

from endcap.cli.main import main


main()
